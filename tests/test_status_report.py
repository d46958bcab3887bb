"""The status as one document: what its parts say."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from proxy.config import Origin
from proxy.health import OriginState
from proxy.running import Record
from proxy.status.figures import Mark, Traffic
from proxy.status.outlook import Outlook
from proxy.status.report import Comparison, json_text, plain_origin, plain_outlook, plain_reload
from proxy.steps import at_once

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ORIGIN = Origin("http", "o", 80)


def test_before_there_is_anything_to_compare_with_nothing_is_recent() -> None:
    assert Comparison({"a": Traffic(5)}, {}, None).site("a")["recent"] is None


def test_rates_are_of_what_came_since_then() -> None:
    none = (0,) * 16
    now, before = Traffic(30, 12, 3, none), Traffic(10, 2, 3, none)
    recent = Comparison({"a": now}, {"a": before}, 10.0).site("a")["recent"]
    assert recent == {
        "requests_per_second": 2.0,
        "errors_4xx_per_second": 1.0,
        "errors_5xx_per_second": 0.0,
        "latency": None,
    }


def test_a_site_that_nobody_asked_for_yet_has_counted_nothing() -> None:
    assert Comparison({}, {}, 10.0).site("a")["requests"] == 0


def test_the_total_is_that_of_all_sites_and_of_none() -> None:
    total = Comparison({"a": Traffic(5), "b": Traffic(2), "": Traffic(1)}, {}, None).total()
    assert total["requests"] == 8


def test_an_origin_nothing_speaks_against_is_healthy() -> None:
    state = OriginState("a", ORIGIN, True, None, "")
    assert plain_origin(state, {}) == {
        "origin": "http://o",
        "healthy": True,
        "since": None,
        "reason": None,
    }


def test_an_origin_that_another_worker_speaks_against_is_not() -> None:
    state = OriginState("a", ORIGIN, True, None, "")
    marks = {("a", "http://o"): Mark(NOON.timestamp(), "refused")}
    origin = plain_origin(state, marks)
    assert origin["healthy"] is False
    assert (origin["since"], origin["reason"]) == ("2026-06-01T12:00:00Z", "refused")


def test_what_this_worker_found_itself_comes_before_what_others_say() -> None:
    state = OriginState("a", ORIGIN, False, NOON.timestamp(), "status 503")
    marks = {("a", "http://o"): Mark(0.0, "refused")}
    origin = plain_origin(state, marks)
    assert origin["reason"] == "status 503"


def test_a_certificate_that_has_ended_has_less_than_no_days_left() -> None:
    ended = NOON.replace(day=1, hour=0)
    outlook = Outlook("a", "files", "danger", "CN=x", ended, ended, None, None, False)
    plain = plain_outlook(outlook, NOON)
    assert (plain["days_left"], plain["not_after"]) == (-0.5, "2026-06-01T00:00:00Z")


def test_before_the_first_reload_there_is_none_to_tell_of() -> None:
    assert plain_reload(Record("/etc/x.yml", False)) is None
    assert plain_reload(None) is None


def test_a_reload_that_failed_says_why() -> None:
    record = Record("/etc/x.yml", False, 1, "failure", "x.yml:1:1: no", "2026-06-01T12:00:00.000Z")
    assert plain_reload(record) == {
        "time": "2026-06-01T12:00:00.000Z",
        "result": "failure",
        "error": "x.yml:1:1: no",
    }


def test_the_document_is_the_same_text_in_however_many_steps_it_is_made() -> None:
    document = {"a": None, "sites": [{"site": str(number)} for number in range(60)], "b": {"c": 1}}
    assert at_once(json_text(document)) == json.dumps(document, separators=(",", ":"))
    assert len(list(json_text(document))) == 2
