"""Word to people when a certificate is in danger, and when it is well again.

Law: whoever tells this room something never waits and never fails for it; and every sink hears of
the state that is, not of each step that led to it.

There is no queue that could overflow. For each host stands here what is so, and for each sink what
it was told last; what is due follows from the two (`due`, which is pure). A sink that was away for
a day gets one message for each host, the right one. What was told is kept in a file, so a restart
neither repeats an alert nor loses one.

The certificate process decides what danger is: under a sixth of the lifetime, or no renewal for a
day (`acme_client.keeper`).
"""

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from acme_client import files
from acme_client.attempt import Event
from acme_client.errors import StoreError
from acme_client.names import normal
from acme_client.store import Store
from acme_client.times import Clock, from_text, to_text, utc_now

from . import config
from .alert_sinks import Mail, Webhook
from .log import Log

IN_DANGER, WELL = "certificate-in-danger", "certificate-well"
REPEATED_AFTER = timedelta(days=1)
# Seconds between attempts at a sink that does not take anything; the last one is repeated.
PAUSES = (10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
FILE = ".alerts.json"
"""In the store's folder: what each sink was told last. No host's file begins with a dot."""
# How often the wall clock is looked at: it can be set while a thread sleeps.
_GLANCE = 60.0
_LONGEST_ERROR = 2000
_LONGEST_ERROR_IN_TEXT = 300

_WHAT_TO_DO = (
    "What to do, on the server: `hopward renew {host}` tries again now and says what is wrong\n"
    "(often a name that does not point here, or port 80 or 443 closed to the outside);\n"
    "`hopward certs` shows every certificate. What is served now stays served meanwhile.\n"
    "This message comes once a day until the certificate is well."
)


@dataclass(frozen=True)
class Condition:
    """How it is with a host's certificate."""

    in_danger: bool
    not_after: datetime | None = None
    """None: there is no certificate yet."""
    last_error: str | None = None


@dataclass(frozen=True)
class Told:
    """The last that a sink heard of a host."""

    event: str
    at: datetime


@dataclass(frozen=True)
class Message:
    """One alert; `as_json` is what a webhook gets."""

    event: str
    host: str
    not_after: datetime | None
    days_left: float | None
    last_error: str | None
    text: str
    subject: str
    body: str

    def as_json(self) -> dict[str, object]:
        """event, host, not_after (ISO 8601 UTC or null), days_left, last_error, text."""
        return {
            "event": self.event,
            "host": self.host,
            "not_after": None if self.not_after is None else to_text(self.not_after),
            "days_left": self.days_left,
            "last_error": self.last_error,
            "text": self.text,
        }


Sink = Callable[[Message], None]
"""Delivers, or raises; takes as long as its own deadline says."""


# ---- decisions: pure


def changed(
    before: Condition | None, event: str, details: Mapping[str, Any], *, known_end: datetime | None
) -> Condition | None:
    """How it is with a host after the certificate process told `event` of it."""
    end = from_text(details.get("not_after")) or known_end
    error = details.get("error")
    match event:
        case Event.DANGER:
            return Condition(True, end, error or details.get("reason"))
        case Event.WELL:
            return Condition(False, end)
        case Event.FAILED if before is not None and before.in_danger:
            return replace(before, last_error=error)
        case Event.ISSUED if before is not None and before.in_danger:
            return replace(before, not_after=end)
    return before


def due(condition: Condition, told: Told | None, now: datetime) -> bool:
    """Whether a sink that was last told `told` is to be told of `condition` now."""
    if not condition.in_danger:
        return told is not None and told.event == IN_DANGER
    if told is None or told.event != IN_DANGER:
        return True
    # A time in the future was written by a clock that was wrong.
    return not timedelta(0) <= now - told.at < REPEATED_AFTER


def compose(host: str, condition: Condition, now: datetime) -> Message:
    """The message that tells people of a condition at `now`."""
    left = None if condition.not_after is None else condition.not_after - now
    error = condition.last_error and _encodable(condition.last_error[:_LONGEST_ERROR])
    if condition.in_danger:
        event, text = IN_DANGER, _danger_in_words(host, condition.not_after, left, error)
        subject = f"{host}: certificate in danger, {_left_in_words(left)}"
        body = "\n\n".join([text, _WHAT_TO_DO.format(host=host)])
    else:
        event, text = WELL, f"The certificate of {host} is well again: {_left_in_words(left)}."
        subject = f"{host}: certificate well again"
        body = f"{text}\n\nNothing is left to do."
    days = None if left is None else round(left / timedelta(days=1), 3)
    return Message(event, host, condition.not_after, days, error, text, subject, f"{body}\n")


def _encodable(text: str) -> str:
    """Without lone surrogates: an authority's JSON can hold them, a mail cannot."""
    return text.encode("utf-8", "replace").decode()


def _danger_in_words(
    host: str, end: datetime | None, left: timedelta | None, error: str | None
) -> str:
    why = " ".join((error or "the reason is not known").split()).rstrip(".")
    why = why if len(why) <= _LONGEST_ERROR_IN_TEXT else f"{why[:_LONGEST_ERROR_IN_TEXT]}…"
    if end is None or left is None:
        return f"{host} has no certificate, and none can be had: {why}."
    ends = "ended" if left < timedelta(0) else "ends"
    return (
        f"The certificate of {host} {ends} on {end:%Y-%m-%d at %H:%M} UTC "
        f"({_left_in_words(left)}) and is not renewed: {why}."
    )


def _left_in_words(left: timedelta | None) -> str:
    if left is None:
        return "none there yet"
    seconds = abs(left.total_seconds())
    units = ((172800, 86400, "days"), (7200, 3600, "hours"), (0, 60, "minutes"))
    number, unit = next((seconds / size, name) for least, size, name in units if seconds >= least)
    return (
        f"expired {number:.1f} {unit} ago" if left < timedelta(0) else f"{number:.1f} {unit} left"
    )


# ---- the couriers


class Alerts:
    """Tells every sink of every host, each from a thread of its own."""

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        folder: Path,
        log: Log,
        *,
        clock: Clock = utc_now,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._sinks = sinks
        self._file = folder / FILE
        self._log = log
        self._clock = clock
        self._pauses = pauses
        self._conditions: dict[str, Condition] = {}
        self._told = _read(self._file, sinks)
        self._news = threading.Condition()
        self._writing = threading.Lock()
        self._closed = False
        self._couriers = [
            threading.Thread(target=self._carry, args=(name,), name=f"alerts-{name}", daemon=True)
            for name in sinks
        ]

    @classmethod
    def configured(cls, alerts: config.Alerts, folder: Path, log: Log) -> "Alerts":
        """Those the configuration asks for; `folder` is the store's."""
        sinks: dict[str, Sink] = {}
        if alerts.webhook is not None:
            sinks["webhook"] = Webhook(alerts.webhook)
        if alerts.smtp is not None:
            sinks["smtp"] = Mail(alerts.smtp)
        return cls(sinks, folder, log)

    def start(self) -> None:
        """Begin to send."""
        for courier in self._couriers:
            courier.start()

    def close(self, patience: float = 1.0) -> None:
        """Send nothing more; what is under way gets `patience` seconds. The rest follows at the
        next start."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        for courier in self._couriers:
            if courier.is_alive():
                courier.join(patience)

    def follow(self, store: Store, hosts: Iterable[str]) -> None:
        """Take up what the store remembers of these hosts, and forget all others.

        For the start, where nobody tells what had been told before, and for each reload.
        """
        found = {normal(host): _condition(store, normal(host)) for host in hosts}
        with self._news:
            self._conditions = found
            for told in self._told.values():
                for host in told.keys() - found.keys():
                    del told[host]
            self._news.notify_all()

    def tell(self, event: str, host: str, details: Mapping[str, Any]) -> None:
        """Hear of an `acme_client.attempt.Event`; for `acme_client.keeper.Keeper`'s `tell`."""
        with self._news:
            before = self._conditions.get(host)
            end = None if before is None else before.not_after
            after = changed(before, event, details, known_end=end)
            if after is not None and after != before:
                self._conditions[host] = after
                self._news.notify_all()

    # ---- in a courier's thread

    def _carry(self, name: str) -> None:
        failures = 0
        while (message := self._next(name)) is not None:
            error = self._deliver(name, message)
            if error is None:
                failures = 0
                self._note(name, message)
                continue
            pause = self._pauses[min(failures, len(self._pauses) - 1)]
            failures += 1
            self._log.warning(
                "alert-failed", sink=name, host=message.host, error=error, next_attempt_in=pause
            )
            self._rest(pause)

    def _next(self, name: str) -> Message | None:
        """The next message that is due, waited for; None at the end."""
        with self._news:
            while not self._closed:
                now, told = self._clock(), self._told[name]
                for host, condition in sorted(self._conditions.items()):
                    if due(condition, told.get(host), now):
                        return compose(host, condition, now)
                self._news.wait(_GLANCE)
        return None

    def _rest(self, seconds: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self._closed, seconds)

    def _deliver(self, name: str, message: Message) -> str | None:
        try:
            self._sinks[name](message)
        except Exception as error:  # noqa: BLE001 - a courier that dies would be missed by nobody
            return str(error) or type(error).__name__
        return None

    def _note(self, name: str, message: Message) -> None:
        with self._news:
            if message.host in self._conditions:
                self._told[name][message.host] = Told(message.event, self._clock())
        self._log.info("alert-sent", sink=name, host=message.host, alert=message.event)
        with self._writing, suppress(StoreError), files.failures_named():
            # Where it cannot be written, the memory of this process has to do.
            with self._news:
                content = _written(self._told)
            files.replace(self._file, content)


def _condition(store: Store, host: str) -> Condition:
    pair, state = store.load(host), store.state(host)
    end = None if pair is None else pair.not_after
    return Condition(state.in_danger, end, state.last_error if state.in_danger else None)


def _written(told: Mapping[str, Mapping[str, Told]]) -> bytes:
    plain = {
        sink: {host: {"event": each.event, "at": to_text(each.at)} for host, each in hosts.items()}
        for sink, hosts in told.items()
    }
    return (json.dumps(plain, indent=2, sort_keys=True) + "\n").encode()


def _read(file: Path, sinks: Iterable[str]) -> dict[str, dict[str, Told]]:
    """What was written, as far as it can be read: at worst an alert is repeated."""
    told: dict[str, dict[str, Told]] = {sink: {} for sink in sinks}
    with suppress(ValueError, RecursionError, AttributeError, KeyError, TypeError):
        plain = json.loads(files.read(file) or b"{}")
        for sink in told.keys() & plain.keys():
            for host, each in plain[sink].items():
                if (at := from_text(each["at"])) is not None:
                    told[sink][host] = Told(str(each["event"]), at)
    return told
