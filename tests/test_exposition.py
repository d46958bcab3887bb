"""Figures as Prometheus reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.exposition import Exposition
from proxy.metrics import (
    CONNECTIONS,
    CPU_SECONDS,
    METRICS,
    REQUEST_SECONDS,
    REQUESTS,
    RESTARTS,
    SECONDS,
)
from proxy.steps import at_once
from proxy.tally import Series

DOCS = Path(__file__).parent.parent / "docs" / "metrics.md"


def lines(*figures: tuple[Series, list[int]]) -> list[str]:
    text = at_once(Exposition().text(figures))
    assert text.endswith("\n")
    return [line for line in text.splitlines() if not line.startswith("# HELP")]


def test_a_counter_is_one_line_for_each_label_set_behind_its_type() -> None:
    assert lines(
        (REQUESTS.series("a", "GET", "200"), [3]), (REQUESTS.series("b", "PUT", "404"), [1])
    ) == [
        "# TYPE hopward_requests_total counter",
        'hopward_requests_total{site="a",method="GET",code="200"} 3',
        'hopward_requests_total{site="b",method="PUT",code="404"} 1',
    ]


def test_without_labels_there_are_no_braces() -> None:
    assert lines((RESTARTS.series(), [2]))[1] == "hopward_worker_restarts_total 2"


def test_label_sets_of_one_metric_stand_together_whoever_counted_them() -> None:
    told = lines(
        (CONNECTIONS.series("http"), [1]),
        (REQUESTS.series("a", "GET", "200"), [3]),
        (CONNECTIONS.series("admin"), [2]),
    )
    assert [line.split(" ")[0] for line in told if line.startswith("hopward_connections")] == [
        'hopward_connections{kind="http"}',
        'hopward_connections{kind="admin"}',
    ]
    assert len([line for line in told if line.startswith("# TYPE")]) == 2


def test_a_histogram_is_cumulative_and_its_count_is_its_last_bucket() -> None:
    values = [1] * len(SECONDS) + [4, 2_500_000_000]
    told = lines((REQUEST_SECONDS.series("a"), values))
    buckets = [line for line in told if "_bucket{" in line]
    assert buckets[0] == 'hopward_request_seconds_bucket{site="a",le="0.001"} 1'
    assert buckets[1].endswith('le="0.0025"} 2')
    assert buckets[-1] == f'hopward_request_seconds_bucket{{site="a",le="+Inf"}} {len(SECONDS) + 4}'
    assert told[-2:] == [
        'hopward_request_seconds_sum{site="a"} 2.5',
        f'hopward_request_seconds_count{{site="a"}} {len(SECONDS) + 4}',
    ]


def test_what_is_counted_in_nanoseconds_is_told_in_seconds() -> None:
    assert lines((CPU_SECONDS.series(), [1_250_000_000]))[1] == "process_cpu_seconds_total 1.25"


@pytest.mark.parametrize(
    ("label", "told"), [('a"b', r"a\"b"), ("a\\b", r"a\\b"), ("a\nb", r"a\nb"), ("ü", "ü")]
)
def test_labels_are_escaped(label: str, told: str) -> None:
    assert lines((CONNECTIONS.series(label), [1]))[1] == f'hopward_connections{{kind="{told}"}} 1'


def test_a_figure_that_has_changed_is_told_anew() -> None:
    exposition = Exposition()
    series = CONNECTIONS.series("https")
    texts = [at_once(exposition.text([(series, [value])])) for value in (1, 1, 2, 1)]
    told = [text.splitlines()[-1] for text in texts]
    assert [line.rpartition(" ")[2] for line in told] == ["1", "1", "2", "1"]


@pytest.mark.parametrize(
    "strange",
    [
        Series(("hopward_from_another_version_total", "a")),
        Series(("hopward_requests_total", "fewer")),
        Series(("hopward_request_seconds", "a"), width=3),
    ],
)
def test_what_another_version_counted_differently_is_left_out(strange: Series) -> None:
    text = at_once(Exposition().text([(strange, [1] * strange.width)]))
    assert [line for line in text.splitlines() if not line.startswith("#")] == []


def test_every_metric_is_described_in_the_documentation() -> None:
    page = DOCS.read_text("utf-8")
    assert [metric.name for metric in METRICS if f"`{metric.name}`" not in page] == []


def test_every_label_is_described_in_the_documentation() -> None:
    page = DOCS.read_text("utf-8")
    for metric in METRICS:
        said = ", ".join(f"`{label}`" for label in metric.labels)
        assert f"| `{metric.name}` | {said} |".replace("|  |", "| |") in page
