"""Alerts: what is told, when, to whom, and what happens when nobody listens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_client.attempt import Event
from acme_client.state import State
from acme_client.store import Store
from proxy.alert_sinks import DeliveryError
from proxy.alerts import (
    IN_DANGER,
    REPEATED_AFTER,
    WELL,
    Alerts,
    Condition,
    Message,
    Told,
    changed,
    compose,
    due,
)
from proxy.log import Log
from tests.programs import wait_for

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = NOW + timedelta(days=4.2)
HOST = "api.example.com"
LAST = "z.example.com"
DANGER = Condition(True, END, "no answer from the authority")
FINE = Condition(False, END)


# ---- when


def test_a_danger_that_nobody_heard_of_is_told() -> None:
    assert due(DANGER, None, NOW)


def test_a_certificate_that_was_never_in_danger_is_not_worth_a_word() -> None:
    assert not due(FINE, None, NOW)


def test_a_danger_is_told_once_a_day_while_it_lasts() -> None:
    told = Told(IN_DANGER, NOW)
    assert not due(DANGER, told, NOW + REPEATED_AFTER - timedelta(seconds=1))
    assert due(DANGER, told, NOW + REPEATED_AFTER)


def test_that_all_is_well_again_is_told_to_whom_the_danger_was() -> None:
    assert due(FINE, Told(IN_DANGER, NOW), NOW)


def test_that_all_is_well_again_is_told_once() -> None:
    assert not due(FINE, Told(WELL, NOW), NOW + 10 * REPEATED_AFTER)


def test_the_next_danger_is_told_at_once() -> None:
    assert due(DANGER, Told(WELL, NOW), NOW)


def test_a_clock_that_was_wrong_silences_no_danger() -> None:
    assert due(DANGER, Told(IN_DANGER, NOW + timedelta(days=100)), NOW)


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 3 * 86400)), max_size=30))
def test_whatever_happens_no_two_messages_of_one_day_say_the_same(
    steps: list[tuple[bool, int]],
) -> None:
    told, now, sent = None, NOW, list[Told]()
    for in_danger, seconds in steps:
        now += timedelta(seconds=seconds)
        condition = DANGER if in_danger else FINE
        if due(condition, told, now):
            told = Told(IN_DANGER if in_danger else WELL, now)
            sent.append(told)
    for one, next_one in pairwise(sent):
        assert one.event != next_one.event or next_one.at - one.at >= REPEATED_AFTER
    assert all(one.event == IN_DANGER for one in sent[:1])


# ---- what the certificate process tells


def test_a_danger_is_known_by_its_end_and_its_error() -> None:
    details = {"reason": "soon over", "error": "rate limited", "not_after": "2026-03-05T16:48:00Z"}
    assert changed(None, Event.DANGER, details, known_end=None) == Condition(
        True, END, "rate limited"
    )


def test_a_danger_without_an_error_is_known_by_its_reason() -> None:
    found = changed(None, Event.DANGER, {"reason": "soon over", "error": None}, known_end=END)
    assert found == Condition(True, END, "soon over")


def test_a_failure_is_no_danger_by_itself() -> None:
    assert changed(FINE, Event.FAILED, {"error": "refused"}, known_end=END) == FINE


def test_the_next_failure_is_what_the_next_reminder_tells_of() -> None:
    found = changed(DANGER, Event.FAILED, {"error": "CAA forbids it"}, known_end=END)
    assert found == Condition(True, END, "CAA forbids it")


# ---- in which words


def test_a_danger_is_told_in_one_sentence_with_its_end_and_reason() -> None:
    assert compose(HOST, DANGER, NOW).text == (
        "The certificate of api.example.com ends on 2026-03-05 at 16:48 UTC (4.2 days left) "
        "and is not renewed: no answer from the authority."
    )


def test_an_expired_certificate_is_called_so() -> None:
    text = compose(HOST, DANGER, END + timedelta(hours=5)).text
    assert "ended on 2026-03-05 at 16:48 UTC (expired 5.0 hours ago)" in text


def test_a_host_that_never_had_a_certificate_is_told_of_without_a_date() -> None:
    message = compose(HOST, Condition(True, None, "DNS\nfails."), NOW)
    assert message.text == "api.example.com has no certificate, and none can be had: DNS fails."
    assert (message.not_after, message.days_left) == (None, None)


def test_a_danger_says_what_to_do() -> None:
    assert "hopward renew api.example.com" in compose(HOST, DANGER, NOW).body


def test_programs_get_the_same_as_fields() -> None:
    assert compose(HOST, DANGER, NOW).as_json() == {
        "event": "certificate-in-danger",
        "host": HOST,
        "not_after": "2026-03-05T16:48:00Z",
        "days_left": 4.2,
        "last_error": "no answer from the authority",
        "text": compose(HOST, DANGER, NOW).text,
    }


@given(error=st.text(max_size=5000), days=st.floats(-400, 400))
def test_no_error_whatever_it_holds_breaks_a_message(error: str, days: float) -> None:
    message = compose(HOST, Condition(True, NOW + timedelta(days=days), error), NOW)
    json.dumps(message.as_json())
    assert message.text.isprintable() or not error.isprintable()
    assert len(message.text) < 600
    assert "\n" not in message.subject


# ---- by which courier


class Sink:
    """Takes messages, unless it is away."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.away = False
        self.tries = 0
        self.open = threading.Event()
        self.open.set()

    def __call__(self, message: Message) -> None:
        self.tries += 1
        assert self.open.wait(30)
        if self.away:
            raise DeliveryError("away")
        self.taken.append(message)

    def events(self) -> list[tuple[str, str]]:
        return [(message.event, message.host) for message in self.taken]


class Scene:
    """Alerts with a sink and a clock of one's own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.sink = folder, NOW, Sink()
        self.store = Store(folder)
        self.alerts = self.begin()

    def begin(self) -> Alerts:
        alerts = Alerts(
            {"sink": self.sink}, self.folder, Log("error"), clock=lambda: self.now, pauses=[0.01]
        )
        alerts.follow(self.store, [HOST, "other.example.com"])
        alerts.start()
        return alerts

    def restart(self) -> None:
        self.alerts.close(30)
        self.alerts = self.begin()

    def danger(self, host: str = HOST) -> None:
        self.alerts.tell(Event.DANGER, host, {"error": "it fails", "not_after": None})

    def remember_danger(self) -> None:
        """As the certificate process does, for its next start."""
        assert self.store.take_lock()
        self.store.save_state(HOST, State(in_danger=True, last_error="it fails"))
        self.store.release_lock()

    def well(self, host: str = HOST) -> None:
        self.alerts.tell(Event.WELL, host, {"not_after": "2026-05-30T00:00:00Z"})

    def hears(self, *events: tuple[str, str]) -> None:
        """These and nothing else: hosts come in order, so what is told of the last one is last."""
        self.danger(LAST)
        wait_for(lambda: self.sink.events()[-1:] == [(IN_DANGER, LAST)], what=f"{events}")
        assert self.sink.events()[:-1] == [*events]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.sink.open.set()
    scene.alerts.close(30)


def test_a_danger_and_its_end_are_heard_once_each(scene: Scene) -> None:
    scene.danger()
    scene.danger()
    wait_for(lambda: scene.sink.taken)
    scene.well()
    scene.well()
    wait_for(lambda: len(scene.sink.taken) > 1)
    scene.hears((IN_DANGER, HOST), (WELL, HOST))


def test_a_sink_that_was_away_hears_of_what_is_so_now(scene: Scene) -> None:
    scene.sink.away = True
    scene.danger()
    scene.danger("other.example.com")
    wait_for(lambda: scene.sink.tries > 2)
    scene.well()
    scene.sink.away = False
    scene.hears((IN_DANGER, "other.example.com"))


def test_a_sink_that_is_away_is_asked_ever_more_seldom(tmp_path: Path) -> None:
    sink = Sink()
    sink.away = True
    alerts = Alerts({"sink": sink}, tmp_path, Log("error"), pauses=[0.01, 3600])
    alerts.start()
    alerts.tell(Event.DANGER, HOST, {"error": "it fails"})
    wait_for(lambda: sink.tries >= 2)
    alerts.tell(Event.DANGER, LAST, {"error": "it fails"})
    alerts.close(30)
    assert sink.tries == 2


def test_telling_waits_for_no_sink(scene: Scene) -> None:
    scene.sink.open.clear()
    scene.danger()
    wait_for(lambda: scene.sink.tries)
    for number in range(10_000):
        scene.alerts.tell(Event.FAILED, HOST, {"error": f"failure {number}"})
    assert scene.sink.taken == []
    scene.sink.open.set()
    scene.hears((IN_DANGER, HOST))


def test_closing_waits_no_longer_than_it_is_told(scene: Scene) -> None:
    scene.sink.open.clear()
    scene.danger()
    wait_for(lambda: scene.sink.tries)
    scene.alerts.close(0.01)
    assert scene.sink.taken == []


def test_a_restart_repeats_nothing(scene: Scene) -> None:
    scene.remember_danger()
    scene.danger()
    wait_for(lambda: (scene.folder / ".alerts.json").exists())
    scene.restart()
    scene.hears((IN_DANGER, HOST))


def test_a_danger_that_was_not_delivered_before_a_restart_is_delivered_after_it(
    scene: Scene,
) -> None:
    scene.sink.away = True
    scene.danger()
    scene.remember_danger()
    wait_for(lambda: scene.sink.tries)
    scene.alerts.close(30)
    scene.sink.away = False
    scene.restart()
    scene.hears((IN_DANGER, HOST))
    assert scene.sink.taken[0].last_error == "it fails"


def test_what_became_well_while_nobody_told_is_told_at_the_next_start(scene: Scene) -> None:
    scene.danger()
    wait_for(lambda: (scene.folder / ".alerts.json").exists())
    scene.restart()
    scene.hears((IN_DANGER, HOST), (WELL, HOST))


def test_a_danger_that_lasts_is_heard_of_again_on_the_next_day(scene: Scene) -> None:
    scene.remember_danger()
    scene.danger()
    wait_for(lambda: (scene.folder / ".alerts.json").exists())
    scene.now += REPEATED_AFTER
    scene.restart()
    scene.hears((IN_DANGER, HOST), (IN_DANGER, HOST))


def test_a_host_that_was_taken_out_is_heard_of_no_more(scene: Scene) -> None:
    scene.danger()
    wait_for(lambda: (scene.folder / ".alerts.json").exists())
    scene.now += REPEATED_AFTER
    scene.alerts.follow(scene.store, ["other.example.com"])
    scene.danger("other.example.com")
    scene.hears((IN_DANGER, HOST), (IN_DANGER, "other.example.com"))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"sink": {"a": 1}}', b"\xff"])
def test_a_damaged_memory_costs_a_repetition_at_most(scene: Scene, content: bytes) -> None:
    scene.alerts.close(30)
    (scene.folder / ".alerts.json").write_bytes(content)
    scene.restart()
    scene.danger()
    scene.hears((IN_DANGER, HOST))


def test_what_was_told_is_nobody_elses_to_read(scene: Scene) -> None:
    scene.danger()
    file = scene.folder / ".alerts.json"
    wait_for(file.exists)
    assert file.stat().st_mode & 0o777 == 0o600
