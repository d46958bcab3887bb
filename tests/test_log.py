"""What the proxy says of itself: one event a line, for programs and for people."""

from __future__ import annotations

import json
import os
import tty
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.log import LEVELS, Log


def read_by_a_person(tell: Callable[[Log], None]) -> str:
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as reader, os.fdopen(theirs, "wb", buffering=0) as end:
        tty.setraw(theirs)
        tell(Log("info", end.fileno()))
        return reader.read(65536).decode()


def read_by_a_program(tell: Callable[[Log], None], *, least: str = "info") -> list[dict[str, Any]]:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as reader:
        with os.fdopen(theirs, "wb", buffering=0) as end:
            tell(Log(least, end.fileno()))
        return [json.loads(line) for line in reader]


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


def test_in_the_background_events_are_told_as_well() -> None:
    def tell(log: Log) -> None:
        log.info("before")
        with log.in_background():
            log.info("meanwhile")
        log.info("after")

    assert [event["event"] for event in read_by_a_program(tell)] == ["before", "meanwhile", "after"]


def test_a_closed_stderr_harms_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as end:
        log = Log("info", end.fileno())
        log.info("one")
        with log.in_background():
            log.info("two")


def test_an_stderr_that_nobody_reads_keeps_nobody_waiting_and_what_was_lost_is_told_later() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as read, os.fdopen(writer, "wb", buffering=0) as end:
        log = Log("info", end.fileno())
        for number in range(200):
            log.info("filling", number=number, words="x" * 1000)
        seen = [json.loads(line) for line in read.read(65536).splitlines()]
        log.info("next")
        lost, following = [json.loads(line) for line in read.read(65536).splitlines()]
    assert [each["number"] for each in seen] == list(range(len(seen)))
    assert (lost["event"], lost["lost"]) == ("log-recovered", 200 - len(seen))
    assert following["event"] == "next"
