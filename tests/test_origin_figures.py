"""How the origins fare, as Prometheus is told."""

from __future__ import annotations

from proxy.admin import with_origins
from proxy.config import Origin
from proxy.health import OriginState
from proxy.metrics import UPSTREAM_HEALTHY, WORKERS
from proxy.steps import at_once

A = Origin("http", "127.0.0.1", 1)
GAUGE = UPSTREAM_HEALTHY.series("a.example.com", str(A))
OTHER = WORKERS.series("serving")


def told(*counted: tuple[object, list[int]], healthy: bool) -> dict[object, list[int]]:
    state = OriginState("a.example.com", A, healthy, None, "")
    return dict(at_once(with_origins(counted, [state])))  # type: ignore[arg-type]


def test_an_origin_is_told_before_anybody_had_anything_to_do_with_it() -> None:
    assert told(healthy=True) == {GAUGE: [1]}


def test_of_what_requests_and_checks_say_the_worse_is_told() -> None:
    assert told((GAUGE, [0]), healthy=True) == {GAUGE: [0]}
    assert told((GAUGE, [1]), healthy=False) == {GAUGE: [0]}
    assert told((GAUGE, [1]), healthy=True) == {GAUGE: [1]}


def test_an_origin_of_a_site_that_is_gone_is_told_no_more() -> None:
    gone = UPSTREAM_HEALTHY.series("gone.example.com", str(A))
    assert told((gone, [0]), healthy=True) == {GAUGE: [1]}


def test_other_figures_are_left_as_they_are() -> None:
    assert told((OTHER, [2]), healthy=True) == {OTHER: [2], GAUGE: [1]}
