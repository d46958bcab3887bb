"""How often one client may ask: a bucket of tokens for each, shared by all workers.

Law: a client is granted what its quota says, and by chance one request more for each further worker
when its bucket was full and one when it is empty. Nobody waits for another worker, and none that
dies or is stopped leaves anything locked, for there are no locks.

Theory (GCRA, ITU-T I.371). Each request that is let on moves the time at which the client's bucket
is full again by `interval`; one that would move it further than `burst` intervals ahead of now is
refused. Several processes cannot move one number without losing a move now and then. So nobody
moves it: each worker counts in a column of its own what it has let on, and the time is
`start + interval * (sum of the counts)`. Only when a bucket is full is `start` set anew, so that
the time is now; then it does not matter who of several is the last to do so. What two workers let
on at the very same moment both may miss of the other; but it stands in the counts, and is waited
for before the next.

The table has a fixed size. A client's place is one of WAYS that a keyed hash names, so that nobody
can aim at another's; when all are taken, the bucket that is full again soonest makes room.
"""

import hashlib
import mmap
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from .addresses import client_network
from .berths import BERTHS, Berths

SETS = 8192
WAYS = 8
_SLOTS = SETS * WAYS
_WORD = 8
_SECOND = 1_000_000_000


class Quota(NamedTuple):
    """A bucket of `burst` tokens into which one falls every `interval` nanoseconds.

    Quotas with one name and the same figures are one, before and after a reload.
    """

    name: bytes
    interval: int
    burst: int

    @classmethod
    def of(cls, name: str, *, requests: int, per: float, burst: int) -> "Quota":
        """`requests` in `per` seconds, `burst` at once."""
        interval = max(1, round(per * _SECOND / requests))
        return cls(f"{name}\0{interval}\0{burst}\0".encode(), interval, burst)


class Quotas:
    """The buckets of all clients and quotas; made before the workers are forked.

    `clock` tells nanoseconds, to all workers the same.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._berths = Berths("hopward-quotas")
        # Pages that are never touched take no memory; of the counts, that is most of them.
        self._marks = _words(_SLOTS)
        self._starts = _words(_SLOTS)
        self._full_at = _words(_SLOTS)
        self._counts = _words(_SLOTS * BERTHS)
        self._column = 0

    def join(self) -> None:
        """Say in a worker, before its first question, that it is one."""
        # Where all berths are taken two count in one column and may lose a count: that is bearable.
        self._column = (self._berths.take() or 0) * _SLOTS

    def seconds_to_wait(self, quota: Quota, address: str) -> int:
        """0: the client may ask now, and has. Else after how many seconds it may ask again.

        `address` is a plain one; of an IPv6 address the first 64 bits count.
        """
        now = self._clock()
        slot, known = self._slot(quota, address)
        interval = quota.interval
        counted = sum(self._counts[slot : self._berths.used * _SLOTS : _SLOTS])
        full_at = self._starts[slot] + interval * counted
        if not known or full_at <= now or self._absurd(full_at, quota):
            self._starts[slot] = now - interval * counted
            full_at = now
        full_at += interval
        too_early = full_at - now - quota.burst * interval
        if too_early > 0:
            return -(-too_early // _SECOND)
        self._counts[self._column + slot] += 1
        self._full_at[slot] = full_at
        return 0

    def _absurd(self, full_at: int, quota: Quota) -> bool:
        """Whether this is no time, but words of two clients that were given one place at once."""
        # Further ahead than all workers together can have moved it; asked anew what time it is, for
        # a worker may have been stopped since it looked.
        furthest = (quota.burst + BERTHS) * quota.interval
        return full_at > self._clock() + furthest

    def _slot(self, quota: Quota, address: str) -> tuple[int, bool]:
        """A client's place, and whether it was there already."""
        digest = hashlib.blake2b(
            quota.name + client_network(address), digest_size=10, key=self._secret
        ).digest()
        first = int.from_bytes(digest[8:], "little") % SETS * WAYS
        # Never 0, which is a place that nobody has had yet.
        mark = int.from_bytes(digest[:8], "little") >> 1 | 1
        marks = self._marks[first : first + WAYS].tolist()
        if mark in marks:
            return first + marks.index(mark), True
        full_at = self._full_at[first : first + WAYS].tolist()
        slot = first + full_at.index(min(full_at))
        self._marks[slot] = mark
        return slot, False


def _words(count: int) -> memoryview:
    return memoryview(mmap.mmap(-1, count * _WORD)).cast("q")
