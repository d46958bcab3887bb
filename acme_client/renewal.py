"""When a certificate is due, and how long to wait after a failure.

Law: pure. The clock is an argument, chance is an argument, nothing is remembered here.

Two promises hold for every lifetime from seconds to years, whatever the authority or the clock
says (`tests/test_acme_renewal.py` states them as properties):

- *in time*: no certificate is planned to be renewed later than a quarter of its lifetime before
  its end;
- *no storm*: between two attempts lies at least a wait from the tables below, or, for lifetimes
  of minutes, a twentieth of the lifetime.

A wait remembers when it was begun. A clock that is set back makes that lie in the future; then the
wait is begun anew instead of lasting for as long as the clock was wrong.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

# Below ten days half of the lifetime is left for trouble, otherwise a third: what Let's Encrypt
# asks of clients without renewal information.
SHORT_LIFETIME = 10 * DAY
# A fleet that got its certificates at one moment must not come back at one moment.
JITTER = 1 / 100
LONGEST_JITTER = 12 * HOUR
# RFC 9773 §4.3.2 wants limits to Retry-After on both sides.
ARI_POLL = (MINUTE, 12 * HOUR)
ARI_POLL_DEFAULT = 6 * HOUR
DANGER = 1 / 6
FAILING_FOR_TOO_LONG = DAY
SHORTEST_WAIT = timedelta(seconds=0.5)


class Failure(StrEnum):
    """Kinds of failed attempts, each with its own table of waits."""

    UNREACHABLE = "unreachable"
    TRANSIENT = "transient"
    VALIDATION = "validation"
    UNUSABLE = "unusable"
    REFUSED = "refused"
    NAMED = "named"
    STORE = "store"
    PREMATURE = "premature"


# The n-th wait after n failures in a row; the last one is repeated.
WAITS: dict[Failure, tuple[timedelta, ...]] = {
    # A directory that does not answer is only looked for, at most once a minute, so that hosts
    # without a certificate get one as soon as it is back.
    Failure.UNREACHABLE: tuple(timedelta(seconds=each) for each in (1, 2, 5, 10, 20, 30, 60)),
    Failure.TRANSIENT: tuple(each * MINUTE for each in (1, 2, 5, 15, 30, 60)),
    # Let's Encrypt allows five failed validations per name and hour, each attempt is up to two.
    Failure.VALIDATION: (MINUTE, 10 * MINUTE, 100 * MINUTE),
    # Each may have cost an issuance.
    Failure.UNUSABLE: (MINUTE, 10 * MINUTE, 100 * MINUTE, 6 * HOUR, DAY),
    Failure.REFUSED: (DAY,),
    # A full disk: looking costs nobody anything.
    Failure.STORE: tuple(timedelta(seconds=each) for each in (10, 30, 60)),
    # At least this, however soon the time is that the authority names.
    Failure.NAMED: tuple(each * MINUTE for each in (1, 2, 5, 15, 30, 60)),
    # A new certificate that is due at once: its authority says so (a revocation), or the clock is
    # wrong. Once is right; then, with the ones before, five in seven days: Let's Encrypt's limit
    # for one set of names.
    Failure.PREMATURE: (timedelta(0), DAY, 3 * DAY),
}
# After the table of validations: an eighth of what is left, in these bounds.
VALIDATION_LATER = (15 * MINUTE, DAY)
VALIDATION_LATER_WITHOUT_CERTIFICATE = 6 * HOUR


@dataclass(frozen=True)
class Validity:
    """The dates of a certificate (RFC 5280 §4.1.2.5)."""

    not_before: datetime
    not_after: datetime

    @property
    def lifetime(self) -> timedelta:
        """Never negative."""
        return max(self.not_after - self.not_before, timedelta(0))

    def remaining(self, now: datetime) -> timedelta:
        """What is left at `now`; never negative."""
        return max(self.not_after - now, timedelta(0))


@dataclass(frozen=True)
class Window:
    """A suggested renewal window (RFC 9773 §4.2), and the time once drawn in it."""

    start: datetime
    end: datetime
    chosen: datetime

    @classmethod
    def draw(cls, start: datetime, end: datetime, chance: float) -> Window:
        """A window with a time in it; `chance` is uniform in [0, 1). Raises ValueError when the
        end is not after the start, which RFC 9773 §4.2 wants treated as no answer."""
        if end <= start:
            raise ValueError("the renewal window ends before it starts")
        return cls(start, end, start + (end - start) * chance)

    def same(self, start: datetime, end: datetime) -> bool:
        """Whether the authority still suggests this one."""
        return (self.start, self.end) == (start, end)


@dataclass(frozen=True)
class Wait:
    """A time in which an authority is not asked for a host."""

    begun: datetime
    ends: datetime

    def seen_at(self, now: datetime) -> Wait:
        """This wait, or the same length from `now` when the clock was set back."""
        return self if self.begun <= now else Wait(now, now + (self.ends - self.begun))

    def over(self, now: datetime) -> bool:
        """Whether asking is allowed again."""
        return now >= self.ends


def due(validity: Validity, name: str, window: Window | None = None) -> datetime:
    """When the certificate of `name` is to be renewed.

    The time drawn in the authority's window where there is one; otherwise with a third of the
    lifetime left, or half when it is under ten days, and a little later by name. Never later than
    a quarter of the lifetime before the end.
    """
    latest = validity.not_after - validity.lifetime / 4
    return min(latest, _planned(validity, name) if window is None else window.chosen)


def _planned(validity: Validity, name: str) -> datetime:
    lifetime = validity.lifetime
    elapsed = lifetime / 2 if lifetime < SHORT_LIFETIME else lifetime * 2 / 3
    jitter = min(lifetime * JITTER, LONGEST_JITTER) * (zlib.crc32(name.encode()) / 2**32)
    return validity.not_before + elapsed + jitter


def in_danger(validity: Validity, now: datetime) -> bool:
    """Whether less than a sixth of the lifetime is left."""
    return validity.remaining(now) < validity.lifetime * DANGER


def wait(
    kind: Failure, failures: int, validity: Validity | None = None, now: datetime | None = None
) -> timedelta:
    """How long to wait after that many failures of a kind in a row (at least one).

    For lifetimes of minutes and seconds never more than a twentieth of the lifetime, since the
    tables would outlast the certificate; after a premature renewal half of it, when a certificate
    as short is due anyway.
    """
    table = WAITS[kind]
    if kind is Failure.VALIDATION and failures > len(table):
        planned = _validation_later(validity, now)
    else:
        planned = table[min(failures, len(table)) - 1]
    if validity is None:
        return planned
    share = 2 if kind is Failure.PREMATURE else 20
    return min(planned, max(SHORTEST_WAIT, validity.lifetime / share))


def _validation_later(validity: Validity | None, now: datetime | None) -> timedelta:
    if validity is None or now is None:
        return VALIDATION_LATER_WITHOUT_CERTIFICATE
    shortest, longest = VALIDATION_LATER
    return min(longest, max(shortest, validity.remaining(now) / 8))


def next_poll(named: datetime | None, now: datetime) -> datetime:
    """When to ask for renewal information again: by Retry-After, in our own bounds."""
    shortest, longest = ARI_POLL
    wanted = ARI_POLL_DEFAULT if named is None else named - now
    return now + min(longest, max(shortest, wanted))


def jumped(wall: timedelta, elapsed: timedelta) -> bool:
    """Whether the wall clock was set while `elapsed` went by on the monotonic one.

    A sleeping machine counts as a jump too: what was planned has to be looked at anew.
    """
    return abs(wall - elapsed) > MINUTE
