"""One attempt at a certificate: every authority in order, and what is remembered of how it went.

Law: an attempt never raises but Stopped; its outcome is in the host's memory, on the disk and told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from .errors import (
    AcmeError,
    BadCertificate,
    GiveUp,
    RetryLater,
    SettingsError,
    Stopped,
    StoreError,
    TooManyFailed,
    Unreachable,
    ValidationFailed,
)
from .issuer import Desk
from .memory import Memory
from .pair import Pair, validity
from .renewal import Failure, Validity, Wait, wait
from .state import State, Trouble
from .times import to_text


class Event(StrEnum):
    """What is told to whoever listens, with the members of its details."""

    ISSUED = "issued"  # directory, not_before, not_after
    FAILED = "failed"  # error, next_attempt
    DANGER = "danger"  # reason, not_after, error
    WELL = "well"  # not_after
    SET_ASIDE = "set-aside"  # files
    STORE_TROUBLE = "store-trouble"  # error
    STORE_WELL = "store-well"
    CLOCK_SET = "clock-set"  # seconds


Tell = Callable[[str, str, Mapping[str, Any]], None]
"""(event, host or "", details ready for JSON)"""

# A certificate replaced before an eighth of its lifetime was premature: see `Failure.PREMATURE`.
_YOUNG = 1 / 8

_KINDS: tuple[tuple[type[AcmeError], Failure], ...] = (
    (Unreachable, Failure.UNREACHABLE),
    (ValidationFailed, Failure.VALIDATION),
    (BadCertificate, Failure.UNUSABLE),
    (GiveUp, Failure.REFUSED),
    (StoreError, Failure.STORE),
    (SettingsError, Failure.REFUSED),
)


class Attempts:
    """Makes attempts, and knows when the next one may be made."""

    def __init__(self, desk: Desk, tell: Tell) -> None:
        self._desk = desk
        self._tell = tell
        # Whether an authority answers at all is one question, not one per host.
        self._outages: dict[str, Trouble] = {}
        # By host; not written down, since a disk that is repaired is used again at a restart.
        self._store_troubles: dict[str, Trouble] = {}

    def allowed_at(self, memory: Memory, present: Pair | None, now: datetime) -> datetime:
        """When the first of the authorities may be asked for this host; never before `now`."""
        directories = self._desk.settings.directories
        asked = min(self._asked_at(memory, each, now) for each in directories)
        return max(asked, _pause_ends(memory.state, present) or asked)

    def outage(self) -> str | None:
        """The words of the present outage, when no authority can be reached. One whose wait is over
        may be over too: whoever asks next will know."""
        now, directories = self._desk.clock(), self._desk.settings.directories
        found = [self._outages.get(each) for each in directories]
        present = [each.error for each in found if each is not None and not each.wait.over(now)]
        return present[0] if len(present) == len(directories) else None

    def clock_set(self) -> None:
        """Forget what was planned on a clock that has been set since."""
        self._outages.clear()
        self._store_troubles.clear()

    def run(self, memory: Memory, present: Pair | None, *, forced: bool = False) -> str | None:
        """Get a certificate for the host; the error that says why not, or None.

        `forced` disregards waits of our own making, never a time that an authority named. Raises
        Stopped.
        """
        errors: list[str] = []
        for directory in self._desk.settings.directories:
            trouble = self._holding_back(memory, directory, forced=forced)
            if trouble is not None:
                errors.append(trouble.error)
                continue
            error = self._ask(directory, memory, present)
            if error is None:
                return None
            errors.append(str(error))
            if isinstance(error, StoreError):
                break
        return self._failed(memory, present, "; ".join(dict.fromkeys(errors)))

    # ---- one authority

    def _troubles(self, memory: Memory, directory: str) -> list[Trouble]:
        found = (
            memory.state.troubles.get(directory),
            self._outages.get(directory),
            self._store_troubles.get(memory.host),
        )
        return [each for each in found if each is not None]

    def _asked_at(self, memory: Memory, directory: str, now: datetime) -> datetime:
        return max([now, *(each.wait.ends for each in self._troubles(memory, directory))])

    def _holding_back(self, memory: Memory, directory: str, *, forced: bool) -> Trouble | None:
        """Why the authority is not to be asked now, if it is not."""
        now = self._desk.clock()
        for trouble in self._troubles(memory, directory):
            if not trouble.wait.over(now) and (not forced or trouble.kind is Failure.NAMED):
                return trouble
        return None

    def _ask(self, directory: str, memory: Memory, present: Pair | None) -> Exception | None:
        try:
            pair = self._desk.issue(directory, memory, present)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - one host's surprise must not end all renewals
            self._remember(directory, memory, present, error)
            return error
        self._outages.pop(directory, None)
        self._store_troubles.pop(memory.host, None)
        self._succeeded(directory, memory, pair)
        return None

    def _remember(
        self, directory: str, memory: Memory, present: Pair | None, error: Exception
    ) -> None:
        """Begin the wait that follows."""
        if isinstance(error, StoreError):
            before = self._store_troubles.get(memory.host)
            self._store_troubles[memory.host] = self._trouble(error, before, present)
            return
        if isinstance(error, Unreachable):
            before = self._outages.get(directory)
            # Hosts that found out at the same time found out once.
            if before is None or before.wait.over(self._desk.clock()):
                self._outages[directory] = self._trouble(error, before, present)
            return
        self._outages.pop(directory, None)
        trouble = self._trouble(error, memory.state.troubles.get(directory), present)
        memory.note(memory.state.with_trouble(directory, trouble))

    def _trouble(self, error: Exception, before: Trouble | None, present: Pair | None) -> Trouble:
        now, kind = self._desk.clock(), _kind(error)
        failures = before.failures + 1 if before is not None and before.kind is kind else 1
        ends = now + wait(kind, failures, validity(present), now)
        if isinstance(error, RetryLater | TooManyFailed):
            ends = max(ends, error.not_before)
        return Trouble(kind, failures, Wait(now, ends), _in_words(error))

    # ---- how it went

    def _succeeded(self, directory: str, memory: Memory, pair: Pair) -> None:
        now, state = self._desk.clock(), memory.state
        dates = Validity(pair.not_before, pair.not_after)
        premature = state.premature + 1 if _was_young(state, dates, now) else 0
        pause = wait(Failure.PREMATURE, premature + 1, dates)
        fresh = State(
            in_danger=state.in_danger,
            directory=directory,
            issued=now,
            premature=premature,
            pause=Wait(now, now + pause) if pause else None,
            challenge=state.challenge,
            failed_validations=state.failed_validations,
        )
        memory.note(fresh)
        details = {
            "directory": directory,
            "not_before": to_text(pair.not_before),
            "not_after": to_text(pair.not_after),
        }
        self._tell(Event.ISSUED, memory.host, details)

    def _failed(self, memory: Memory, present: Pair | None, error: str) -> str:
        now, state = self._desk.clock(), memory.state
        since = state.failing_since
        since = now if since is None or since > now else since
        again = self.allowed_at(memory, present, now)
        memory.note(replace(state, last_error=error, failing_since=since, next_renewal=again))
        self._tell(Event.FAILED, memory.host, {"error": error, "next_attempt": to_text(again)})
        return error


def _kind(error: Exception) -> Failure:
    if isinstance(error, RetryLater):
        return Failure.NAMED
    found = (kind for sort, kind in _KINDS if isinstance(error, sort))
    return next(found, Failure.TRANSIENT)


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, AcmeError) else f"{type(error).__name__}: {error}"


def _pause_ends(state: State, present: Pair | None) -> datetime | None:
    """When the pause after a premature renewal ends. With nothing to serve it is the one after a
    certificate that could not be used, which is shorter: each has cost an issuance too."""
    pause = state.pause
    if pause is None:
        return None
    shorter = pause.begun + wait(Failure.UNUSABLE, state.premature)
    return pause.ends if present is not None else min(pause.ends, shorter)


def _was_young(state: State, dates: Validity, now: datetime) -> bool:
    """Whether the certificate just replaced had been issued a moment ago, or would have been
    replaced earlier but for the pause after it."""
    if state.issued is None or now < state.issued:
        return False
    since = state.issued if state.pause is None else max(state.issued, state.pause.ends)
    return now - since < dates.lifetime * _YOUNG
