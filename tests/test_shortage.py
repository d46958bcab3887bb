"""Memory that cannot be had, told once."""

from __future__ import annotations

import pytest

from proxy.log import Log
from proxy.shortage import QUIET_TICKS, MemoryShortage


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(Log, "_write", lambda _log, _level, event, _fields: told.append(event))
    return told


def test_a_shortage_is_told_once_however_much_it_costs(events: list[str]) -> None:
    shortage = MemoryShortage(Log("debug"))
    for _ in range(3 * QUIET_TICKS):
        shortage.met()
        shortage.met()
        shortage.ticked()
    assert events == ["memory-short"]


def test_its_end_is_told_once_after_a_while_without_a_failure(events: list[str]) -> None:
    shortage = MemoryShortage(Log("debug"))
    shortage.met()
    for _ in range(QUIET_TICKS):
        shortage.ticked()
    assert events == ["memory-short"]
    for _ in range(QUIET_TICKS):
        shortage.ticked()
    assert events == ["memory-short", "memory-enough"]


def test_where_nothing_ever_failed_nothing_is_told(events: list[str]) -> None:
    shortage = MemoryShortage(Log("debug"))
    for _ in range(2 * QUIET_TICKS):
        shortage.ticked()
    assert events == []
