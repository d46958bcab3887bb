"""Whether an origin is well: what its failures, its answers and its checks mean. Pure.

Law: an origin is judged by what it did itself. What a client did, and what only a kept connection
suffered, is no evidence. The clock is an argument, in seconds.

Theory. There are two witnesses. A worker's own connections and requests are one: by them an origin
is *marked*, which only means that others are preferred, because a worker sees little and an origin
may be back any moment. Where all are marked, all are tried. The checks that the operator asked for
are the other: they alone can say that there is nobody to send a request to.
"""

from hashlib import blake2b
from typing import NamedTuple

from .config import Origin
from .config import Route as WrittenRoute

# Failures in a row of requests that had reached the origin. One or two may be the request's own
# fault; Envoy's consecutive_gateway_failure is 5, nginx's max_fails 1 (with any failure counting).
FAILURES = 3
# How long a marked origin is left alone, the first time, the second, …: nginx's fail_timeout is
# 10 s throughout, Envoy's base_ejection_time grows from 30 s to 300 s. A service that is started
# anew takes a second or two, so the first pauses are shorter than either.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# A mark that no request came to lift is forgotten this long after its pause.
FORGOTTEN_SECONDS = 60.0

# Failed checks in a row that take an origin out; the first check of all decides at once, and one
# that is well brings it back. HAProxy: fall 3, rise 2, the first decides; Caddy: 1 and 1.
FALL = 2
# A failed check is followed by another this soon (HAProxy's fastinter).
CONFIRM_SECONDS = 1.0
# How far checks stray from their interval, so that many do not fall into step.
SPREAD = 0.1
# What a check says of an origin holds for so many intervals; then nobody has checked.
STALE_INTERVALS = 3
STALE_SECONDS = 10.0

DIGEST_BYTES = 16


class Standing:
    """What one worker's connections and requests say of an origin.

    `failures`: those since its last answer. `marked` means that others go first; `reason` is why,
    `since` from when on. Its pause over, one trial decides: a connection where it was
    `unreachable`, else a request.
    """

    __slots__ = (
        "_pauses",
        "_tried",
        "_until",
        "failures",
        "marked",
        "reason",
        "since",
        "unreachable",
    )

    def __init__(self) -> None:
        self.marked = False
        self.unreachable = False
        self.reason = ""
        self.since = 0.0
        self.failures = 0
        self._pauses = 0
        self._until = 0.0
        self._tried = False

    def failed(self, now: float, reason: str, *, unreachable: bool) -> bool:
        """Count a failure: no connection (`unreachable`), or no answer to a request that was sent.

        Returns whether the origin is marked by it that was not. What fails during a pause, tried
        for want of a better one, makes the pause no longer.
        """
        self.failures += 1
        if now < self._until or not (unreachable or self.failures >= FAILURES):
            return False
        was_marked, self.marked = self.marked, True
        self.unreachable, self.reason = unreachable, reason
        self._until = now + PAUSES[min(self._pauses, len(PAUSES) - 1)]
        self._pauses += 1
        self._tried = False
        if not was_marked:
            self.since = now
        return not was_marked

    def connected(self, now: float) -> bool:
        """A connection was opened; returns whether that lifts the mark."""
        return self.unreachable and self._lift(now)

    def answered(self, now: float) -> bool:
        """A request was answered; returns whether that lifts the mark."""
        self.failures = self._pauses = 0
        return self._lift(now)

    def forgotten(self, now: float) -> bool:
        """Lift a mark that no request has put to the test for long; returns whether it was."""
        overdue = now >= self._until + FORGOTTEN_SECONDS
        return overdue and not self.unreachable and self._lift(now)

    def preferred(self, now: float) -> bool:
        """Whether a request may as well go here: not marked, or due for the one that decides."""
        return not self.marked or (self.due(now) and not self.unreachable)

    def due(self, now: float) -> bool:
        """Whether the pause of a marked origin is over and its trial has not begun."""
        return self.marked and now >= self._until and not self._tried

    def tried(self, now: float) -> None:
        """If a trial is due it has begun; until it ends there is no other."""
        self._tried = self._tried or self.due(now)

    def _lift(self, now: float) -> bool:
        was_marked, self.marked = self.marked, False
        self.unreachable = self._tried = False
        self._until = 0.0
        if was_marked:
            self.since = now
        return was_marked


class Check(NamedTuple):
    """What one origin is asked, how often (seconds), and as which host.

    `key` is the same in every process and after every reload, as long as the question is.
    """

    origin: Origin
    host: str
    path: str
    every: float
    key: bytes

    @classmethod
    def of_route(cls, route: WrittenRoute, site: str) -> "tuple[Check, ...]":
        """The checks of a route, one for each of its origins in their order; none without `health`.

        A wildcard site has no one name of its own, so its origins are asked by theirs.
        """
        if route.health is None:
            return ()
        path, every = route.health.path, route.health.every
        own_name = route.host_header == "upstream" or site.startswith("*.")
        return tuple(
            cls(origin, host, path, every, _digest(f"{origin!r} {host} {path} {every}"))
            for origin in route.to
            for host in [origin.authority if own_name else site]
        )

    def stale_after(self) -> float:
        """Seconds after which a finding says nothing more."""
        return STALE_INTERVALS * self.every + STALE_SECONDS


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=DIGEST_BYTES).digest()


class Course:
    """What a row of checks of one origin comes to. `healthy` is None before the first."""

    __slots__ = ("failures", "healthy")

    def __init__(self, healthy: bool | None) -> None:
        self.healthy = healthy
        self.failures = 0

    def went(self, *, well: bool) -> bool:
        """One check more; returns whether `healthy` is another than before."""
        before = self.healthy
        self.failures = 0 if well else self.failures + 1
        if well or before is None or self.failures >= FALL:
            self.healthy = well
        return self.healthy is not before

    def pause(self, every: float, random: float) -> float:
        """Seconds until the next check; `random` is from 0 to 1."""
        if self.healthy and self.failures:
            every = min(every, CONFIRM_SECONDS)
        return every * (1 - SPREAD + 2 * SPREAD * random)


class OriginState(NamedTuple):
    """How an origin of a site fares, as seen by one worker.

    `since` is in Unix time, None while nothing has ever changed; `reason` is why it is not healthy.
    """

    site: str
    origin: Origin
    healthy: bool
    since: float | None
    reason: str
