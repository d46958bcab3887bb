"""What is remembered of a host between attempts and restarts: `<host>.json`.

Law: nothing in it is needed to serve. A state that is lost or corrupt costs a repeated question to
an authority, never a certificate; so reading it never fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from .renewal import Failure, Wait, Window
from .times import from_text, to_text

VALIDATION_WINDOW = timedelta(hours=1)
# Let's Encrypt's limit per name and hour.
MOST_FAILED_VALIDATIONS = 5
_PERSONAL = (Failure.REFUSED, Failure.VALIDATION)


@dataclass(frozen=True)
class Trouble:
    """Failures in a row of one host at one authority."""

    kind: Failure
    failures: int
    wait: Wait
    error: str


@dataclass(frozen=True)
class PlacedOrder:
    """An order under way whose private key lies in `<host>.key.new`."""

    directory: str
    url: str
    disappointments: int = 0
    """How often it could not be completed."""


@dataclass(frozen=True)
class State:
    """Everything remembered of one host."""

    next_renewal: datetime | None = None
    """When the certificate is due, or the next attempt while attempts fail."""
    last_error: str | None = None
    failing_since: datetime | None = None
    in_danger: bool = False
    """Whether an alert was raised that has not been taken back."""
    directory: str | None = None
    """The one that issued the present certificate."""
    issued: datetime | None = None
    premature: int = 0
    """How many certificates in a row were due again when they came."""
    pause: Wait | None = None
    """Between premature renewals."""
    settings: str | None = None
    """Which settings the troubles were met with: others are worth another try."""
    challenge: str | None = None
    """The one that is tried first."""
    window: Window | None = None
    suggested_for: str | None = None
    """The serial number of the certificate that the window is for."""
    next_poll: datetime | None = None
    polled: datetime | None = None
    replaceable: bool = True
    """False once the authority said that this certificate has been replaced already."""
    order: PlacedOrder | None = None
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    """By directory."""
    failed_validations: tuple[datetime, ...] = ()

    def with_trouble(self, directory: str, trouble: Trouble | None) -> State:
        """The state after an attempt at `directory`."""
        troubles = {key: value for key, value in self.troubles.items() if key != directory}
        if trouble is not None:
            troubles[directory] = trouble
        return replace(self, troubles=troubles)

    def forgiven(self) -> State:
        """The state without the troubles that only a person could end: a person has been at work.

        A time that an authority named stays, and so does what it cost.
        """
        kept = {key: each for key, each in self.troubles.items() if each.kind not in _PERSONAL}
        return replace(self, troubles=kept)

    def window_of(self, serial: str) -> Window | None:
        """What was suggested for this certificate: what was for another one says nothing of it."""
        return self.window if self.suggested_for == serial else None

    def validations_left(self, now: datetime) -> int:
        """How many may fail yet within the hour."""
        return MOST_FAILED_VALIDATIONS - len(self._recent(now))

    def validation_allowed_at(self, now: datetime) -> datetime:
        """When the next one may be tried."""
        recent = sorted(self._recent(now))
        if len(recent) < MOST_FAILED_VALIDATIONS:
            return now
        return recent[-MOST_FAILED_VALIDATIONS] + VALIDATION_WINDOW

    def with_failed_validation(self, now: datetime) -> State:
        """The state after one more."""
        return replace(self, failed_validations=(*self._recent(now), now))

    def _recent(self, now: datetime) -> tuple[datetime, ...]:
        # A time in the future was written by a clock that was wrong.
        ages = ((each, now - each) for each in self.failed_validations)
        return tuple(each for each, age in ages if timedelta(0) <= age < VALIDATION_WINDOW)

    def to_json(self) -> bytes:
        """Text for a file that people read too."""
        return (json.dumps(_plain(self), indent=2, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> State:
        """The reverse. Raises ValueError for what is no state."""
        try:
            return _parsed(json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"no state: {error}") from error


def _plain(state: State) -> dict[str, Any]:
    return {
        "next_renewal": _moment(state.next_renewal),
        "last_error": state.last_error,
        "failing_since": _moment(state.failing_since),
        "in_danger": state.in_danger,
        "directory": state.directory,
        "issued": _moment(state.issued),
        "premature": state.premature,
        "pause": _plain_wait(state.pause),
        "settings": state.settings,
        "challenge": state.challenge,
        "window": _plain_window(state.window),
        "suggested_for": state.suggested_for,
        "next_poll": _moment(state.next_poll),
        "polled": _moment(state.polled),
        "replaceable": state.replaceable,
        "order": None if state.order is None else vars(state.order),
        "troubles": {key: _plain_trouble(each) for key, each in state.troubles.items()},
        "failed_validations": [to_text(each) for each in state.failed_validations],
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else to_text(moment)


def _plain_wait(wait: Wait | None) -> dict[str, str] | None:
    return None if wait is None else {"begun": to_text(wait.begun), "ends": to_text(wait.ends)}


def _plain_window(window: Window | None) -> dict[str, str] | None:
    if window is None:
        return None
    return {name: to_text(moment) for name, moment in vars(window).items()}


def _plain_trouble(trouble: Trouble) -> dict[str, Any]:
    return {**vars(trouble), "wait": _plain_wait(trouble.wait)}


def _parsed(found: dict[str, Any]) -> State:
    """A field that an earlier version did not write has its default."""
    plain = {**_plain(State()), **found}
    window, order, pause = plain["window"], plain["order"], plain["pause"]
    return State(
        next_renewal=_optional(plain["next_renewal"]),
        last_error=_text(plain["last_error"]),
        failing_since=_optional(plain["failing_since"]),
        in_danger=bool(plain["in_danger"]),
        directory=_text(plain["directory"]),
        issued=_optional(plain["issued"]),
        premature=_count(plain["premature"]),
        pause=None if pause is None else _wait(pause),
        settings=_text(plain["settings"]),
        challenge=_text(plain["challenge"]),
        window=None if window is None else _window(window),
        suggested_for=_text(plain["suggested_for"]),
        next_poll=_optional(plain["next_poll"]),
        polled=_optional(plain["polled"]),
        replaceable=bool(plain["replaceable"]),
        order=None if order is None else _order(order),
        troubles={str(key): _trouble(each) for key, each in plain["troubles"].items()},
        failed_validations=tuple(_required(each) for each in plain["failed_validations"]),
    )


def _window(plain: dict[str, Any]) -> Window:
    return Window(*(_required(plain[name]) for name in ("start", "end", "chosen")))


def _wait(plain: dict[str, Any]) -> Wait:
    return Wait(_required(plain["begun"]), _required(plain["ends"]))


def _order(plain: dict[str, Any]) -> PlacedOrder:
    return PlacedOrder(str(plain["directory"]), str(plain["url"]), _count(plain["disappointments"]))


def _trouble(plain: dict[str, Any]) -> Trouble:
    kind, failures = Failure(plain["kind"]), _count(plain["failures"])
    return Trouble(kind, failures, _wait(plain["wait"]), str(plain["error"]))


def _required(text: object) -> datetime:
    moment = from_text(text)
    if moment is None:
        raise ValueError(f"{text!r} is no time")
    return moment


def _optional(text: object) -> datetime | None:
    return None if text is None else _required(text)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
