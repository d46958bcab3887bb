"""Figures as Prometheus reads them: its text format, 0.0.4. Pure.

Law: each metric is one block, with its help and type before it, whoever counted it. The buckets of
a histogram are cumulative here and nowhere else, and its count is their sum: they always agree.

Most of what a scrape tells has not changed since the last one, so each label set's lines are kept:
a thousand sites are twenty thousand lines.
"""

from collections.abc import Iterable
from itertools import accumulate

from .metrics import METRICS, Metric
from .steps import Steps
from .tally import Key, Kind, Series

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Figure = tuple[Series, list[int]]
# A millisecond or two, where all of them are histograms that have changed.
_FIGURES_AT_ONCE = 50
_BY_NAME = {metric.name: metric for metric in METRICS}


class Exposition:
    """Tells figures, and remembers how it told them the last time."""

    def __init__(self) -> None:
        self._told: dict[Key, tuple[list[int], str]] = {}

    def text(self, figures: Iterable[Figure]) -> Steps[str]:
        """All `figures` whose metric is known here, in the order of METRICS."""
        blocks: dict[str, list[str]] = {metric.name: [] for metric in METRICS}
        for number, (series, values) in enumerate(figures, 1):
            block = blocks.get(series.key[0])
            if block is not None:
                told = self._told.get(series.key)
                if told is None or told[0] != values:
                    told = self._tell(series, values)
                block.append(told[1])
            if not number % _FIGURES_AT_ONCE:
                yield
        return "".join(
            [
                line
                for metric in METRICS
                if blocks[metric.name]
                for line in (_heading(metric), *blocks[metric.name])
            ]
        )

    def _tell(self, series: Series, values: list[int]) -> tuple[list[int], str]:
        metric = _BY_NAME[series.key[0]]
        # Another version of hopward may have counted it in another shape.
        fits = series.width == metric.width and len(series.key) == 1 + len(metric.labels)
        text = _lines(metric, series.key[1:], values) if fits else ""
        self._told[series.key] = told = (values, text)
        return told


def _heading(metric: Metric) -> str:
    counts = metric.kind is Kind.COUNTER
    kind = "histogram" if metric.bounds else "counter" if counts else "gauge"
    help_ = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {metric.name} {help_}\n# TYPE {metric.name} {kind}\n"


def _lines(metric: Metric, labels: Key, values: list[int]) -> str:
    pairs = [
        f'{name}="{_escaped(value)}"' for name, value in zip(metric.labels, labels, strict=True)
    ]
    if not metric.bounds:
        said = "{" + ",".join(pairs) + "}" if pairs else ""
        return f"{metric.name}{said} {_number(values[0], metric.scale)}\n"
    *buckets, total = values
    counts = list(accumulate(buckets))
    before = "".join(f"{pair}," for pair in pairs)
    lines = [
        f'{metric.name}_bucket{{{before}le="{bound}"}} {count}\n'
        for bound, count in zip((*map(_bound, metric.bounds), "+Inf"), counts, strict=True)
    ]
    said = "{" + ",".join(pairs) + "}" if pairs else ""
    lines.append(f"{metric.name}_sum{said} {_number(total, metric.scale)}\n")
    lines.append(f"{metric.name}_count{said} {counts[-1]}\n")
    return "".join(lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _bound(bound: float) -> str:
    # OpenMetrics wants these to be floats by their looks.
    return repr(float(bound))


def _number(value: int, scale: int) -> str:
    return str(value) if scale == 1 else repr(value / scale)
