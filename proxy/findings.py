"""What the checks of origins have found, where every worker can read it.

Law: one process writes, the one that holds the lock on this memory; it loses the lock with its
life. A finding is read whole or not at all, and one that has grown old says nothing.

The memory belongs to the supervisor, so it outlives workers and reloads: who is started later knows
at once what is known. A finding lies in a slot of fixed size, with the key of its check.
"""

import fcntl
import mmap
import os
import struct
from typing import NamedTuple

from .health import DIGEST_BYTES, Check
from .memory_file import memory_file

SLOTS = 4096
# How many slots were ever used, and how often one was given to another check.
_HEADER = struct.Struct("=QQ")
# The version is odd while the slot is written. Then key, when checked (monotonic), since when it is
# so (Unix time), healthy, reason.
_VERSION = struct.Struct("=Q")
_SLOT = struct.Struct(f"={DIGEST_BYTES}sdd?79s")
_STRIDE = _VERSION.size + _SLOT.size
_REASON_BYTES = 79
# A slot is written within microseconds; a writer that was killed in between is not waited for.
_ATTEMPTS = 100


class Finding(NamedTuple):
    """What is known of an origin. `checked` is by the monotonic clock, `since` in Unix time."""

    checked: float
    since: float
    healthy: bool
    reason: str = ""


class Findings:
    """All findings of one hopward, by the checks' keys."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        self._descriptor = memory_file("hopward-findings")
        size = _HEADER.size + slots * _STRIDE
        os.ftruncate(self._descriptor, size)
        self._memory = mmap.mmap(self._descriptor, size)
        self._places: dict[bytes, int] = {}
        self._seen = (0, 0)

    def lead(self) -> bool:
        """Whether this process is the one that checks; when no other is, it is from now on."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def follow(self) -> None:
        """Leave the checks to another process."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def read(self, check: Check, now: float) -> Finding | None:
        """What is known of a check's origin; None where nothing is, or nothing that still holds."""
        place = self._place(check.key)
        found = None if place is None else self._read(place, check.key)
        return found if found and now - found.checked <= check.stale_after() else None

    def healthy(self, check: Check, now: float) -> bool:
        """Whether nothing speaks against an origin; what nobody has checked is taken for well."""
        found = self.read(check, now)
        return found is None or found.healthy

    def write(self, check: Check, finding: Finding) -> None:
        """Put a finding in its place. Only for who leads."""
        place, header = self._place(check.key), self._header()
        if place is None:
            place, header = self._new_place(*header)
        [version] = _VERSION.unpack_from(self._memory, place)
        checked, since, healthy, reason = finding
        said = reason.encode("utf-8", "replace")[:_REASON_BYTES]
        slot = _SLOT.pack(check.key, checked, since, healthy, said)
        _VERSION.pack_into(self._memory, place, version | 1)
        self._memory[place + _VERSION.size : place + _STRIDE] = slot
        _VERSION.pack_into(self._memory, place, (version | 1) + 1)
        # Last, so that who looks for a new key because of it finds it.
        _HEADER.pack_into(self._memory, 0, *header)

    def _read(self, place: int, key: bytes) -> Finding | None:
        for _ in range(_ATTEMPTS):
            stretch = self._memory[place : place + _STRIDE]
            [version] = _VERSION.unpack_from(stretch)
            if version % 2 == 0 and self._memory[place : place + _VERSION.size] == stretch[:8]:
                owner, checked, since, healthy, reason = _SLOT.unpack_from(stretch, _VERSION.size)
                if owner != key:
                    return None
                said = reason.rstrip(b"\0").decode("utf-8", "replace")
                return Finding(checked, since, healthy, said)
        return None

    def _place(self, key: bytes) -> int | None:
        place = self._places.get(key)
        header = self._header()
        if header == self._seen:
            return place
        self._seen = header
        places = [_HEADER.size + _STRIDE * slot for slot in range(header[0])]
        self._places = {self._owner(place): place for place in places}
        return self._places.get(key)

    def _owner(self, place: int) -> bytes:
        start = place + _VERSION.size
        return self._memory[start : start + DIGEST_BYTES]

    def _header(self) -> tuple[int, int]:
        used, given_away = _HEADER.unpack_from(self._memory)
        return used, given_away

    def _new_place(self, used: int, given_away: int) -> tuple[int, tuple[int, int]]:
        if used < self._slots:
            return _HEADER.size + _STRIDE * used, (used + 1, given_away)
        # The one whose check is gone for longest.
        return min(self._places.values(), key=self._checked), (used, given_away + 1)

    def _checked(self, place: int) -> float:
        checked: float = _SLOT.unpack_from(self._memory, place + _VERSION.size)[1]
        return checked
