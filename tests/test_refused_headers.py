"""Malformed PROXY headers, told now and then."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from proxy.counts import Counts
from proxy.log import Log
from proxy.refused_headers import PAUSE_SECONDS, RefusedHeaders
from proxy.tally import Tally

Told = list[tuple[str, Mapping[str, object]]]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Told:
    told: Told = []
    monkeypatch.setattr(
        Log, "_write", lambda _log, _level, event, fields: told.append((event, fields))
    )
    return told


@pytest.fixture
def refused(events: Told) -> RefusedHeaders:
    return RefusedHeaders(Counts(Tally.alone()), Log("debug"))


def test_the_first_is_told_at_the_next_tick(refused: RefusedHeaders, events: Told) -> None:
    refused.met("10.0.0.1", "malformed")
    assert events == []
    refused.ticked(100.0)
    fields = {"peer": "10.0.0.1", "reason": "malformed", "count": 1}
    assert events == [("proxy-header-refused", fields)]


def test_however_many_come_they_are_told_in_one_line_after_a_pause(
    refused: RefusedHeaders, events: Told
) -> None:
    ticks = [100.0 + tick / 4 for tick in range(round(4 * PAUSE_SECONDS))]
    for now in ticks:
        for _ in range(1000):
            refused.met("10.0.0.1", "timeout")
        refused.ticked(now)
    assert [fields["count"] for _, fields in events] == [1000]
    refused.ticked(100.0 + PAUSE_SECONDS)
    assert [fields["count"] for _, fields in events] == [1000, 1000 * (len(ticks) - 1)]


def test_where_nothing_is_wrong_nothing_is_told(refused: RefusedHeaders, events: Told) -> None:
    refused.met("10.0.0.1", "malformed")
    for now in range(1000):
        refused.ticked(float(now))
    assert len(events) == 1
