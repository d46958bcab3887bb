"""What the proxy says of itself: one event a line, for programs and for people."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.log import LEVELS, Log


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def read_by_a_person(tell: Callable[[Log], None]) -> str:
    with redirect_stderr(Screen()) as screen:
        tell(Log("info"))
    return screen.getvalue()


def read_by_a_program(tell: Callable[[Log], None], *, least: str = "info") -> list[dict[str, Any]]:
    with redirect_stderr(io.StringIO()) as pipe:
        tell(Log(least))
    return [json.loads(line) for line in pipe.getvalue().splitlines()]


def test_for_a_program_an_event_is_a_line_of_json() -> None:
    [event] = read_by_a_program(lambda log: log.info("ready", https=["[::]:443"], workers=2))
    assert event.pop("time")
    assert event == {"level": "info", "event": "ready", "https": ["[::]:443"], "workers": 2}


def test_an_events_time_is_iso_8601_in_utc() -> None:
    [event] = read_by_a_program(lambda log: log.info("ready"))
    assert event["time"].endswith("Z")
    assert datetime.fromisoformat(event["time"]).utcoffset() == timedelta(0)


def test_for_a_person_an_event_is_words() -> None:
    line = read_by_a_person(lambda log: log.info("ready", https=["[::]:443", "b"], workers=2))
    assert line.endswith("event=ready https=[::]:443,b workers=2\n")


@pytest.mark.parametrize("odd", ["a\nb", "a b", "", "a\x1b[2Jb", "a\rb", "a\x00b", "a\u2028b"])
def test_whatever_a_value_holds_a_person_reads_one_line(odd: str) -> None:
    line = read_by_a_person(lambda log: log.info("x", error=odd))
    assert line.endswith(f"event=x error={json.dumps(odd)}\n")
    assert line[:-1].isprintable()


@pytest.mark.parametrize("odd", ["a\nb", 'a"b', "a\x1bb", "\ud800"])
def test_whatever_a_value_holds_a_program_reads_it_back(odd: str) -> None:
    [event] = read_by_a_program(lambda log: log.info("x", error=odd))
    assert event["error"] == odd


def test_a_value_of_any_type_can_be_told() -> None:
    [event] = read_by_a_program(lambda log: log.info("x", file=Path("/a")))
    assert event["file"] == "/a"


def say_one_of_each(log: Log) -> None:
    for tell in (log.debug, log.info, log.warning, log.error):
        tell("x")


@pytest.mark.parametrize("least", LEVELS)
def test_events_below_the_level_are_not_told(least: str) -> None:
    told = [event["level"] for event in read_by_a_program(say_one_of_each, least=least)]
    assert told == list(LEVELS[LEVELS.index(least) :])
