"""What was measured, as tables for the terminal and for bench/RESULTS.md. Pure: figures to text."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.harness import Figure
from bench.peers import BASELINE, OWN
from bench.works import Promise, Single, Work

BUSY = 0.85  # of its core: beyond it the load may have been what waited
Row = Mapping[str, Sequence[Figure]]


class Measured(NamedTuple):
    """A work with its figures by subject, one a round; `faults`: by whom it was not done right."""

    work: Work | Single
    row: dict[str, list[Figure]]
    faults: dict[str, str]


def median(figures: Sequence[Figure]) -> float:
    """The median of the values."""
    return statistics.median(figure.value for figure in figures)


def ratios(row: Row, name: str, than: str) -> list[float]:
    """Round by round, what one took as a multiple of the other; empty where one is missing."""
    pairs = zip(row.get(name, ()), row.get(than, ()), strict=False)
    return [mine.value / its.value for mine, its in pairs if its.value]


def table(measured: Sequence[Measured], names: Mapping[str, str]) -> str:
    """Works by subjects: the median, in brackets the median of the ratios to the baseline."""
    shown = [name for name in names if any(name in each.row for each in measured)]
    lines = [
        f"| work | unit | {' | '.join(names[name] for name in shown)} |",
        "|---|---" + "|---" * len(shown) + "|",
    ]
    for work, row, _ in measured:
        cells = " | ".join(_cell(row, name) for name in shown)
        lines.append(f"| {work.name} | {work.unit} | {cells} |")
    return "\n".join(lines)


def faults(measured: Sequence[Measured]) -> str:
    """Who has no figure for a work, and why, in one line; empty where all went right."""
    told = [
        f"- {work.name}, {name}: {why.strip().splitlines()[-1]}"
        for work, _, wrong in measured
        for name, why in wrong.items()
    ]
    return "\n".join(["## What went wrong", "", *told, "", ""]) if told else ""


def _cell(row: Row, name: str) -> str:
    if not row.get(name):
        return "–"
    shown = _number(median(row[name]))
    compared = ratios(row, name, BASELINE)
    if name == OWN:
        shown = f"**{shown}**"
    if name == BASELINE or not compared:
        return shown
    return f"{shown} ({statistics.median(compared):.2f})"


def promises(measured: Sequence[Measured], names: Mapping[str, str]) -> str:
    """What hopward promises of each work beside what was measured."""
    lines = ["| work | must | | reach for | |", "|---|---|---|---|---|"]
    for work, row, _ in measured:
        must = _verdicts(work.must, row, names)
        reach = _verdicts(work.reach, row, names)
        lines.append(f"| {work.name} | {must} | {reach} |")
    return "\n".join(lines)


def _verdicts(asked: Sequence[Promise], row: Row, names: Mapping[str, str]) -> str:
    words, found = [], []
    for promise in asked:
        words.append(str(promise._replace(than=names.get(promise.than, promise.than))))
        if not row.get(OWN) or (promise.than and not row.get(promise.than)):
            found.append("not measured")
            continue
        reached = statistics.median(ratios(row, OWN, promise.than)) if promise.than else None
        value = median(row[OWN]) if reached is None else reached
        found.append(f"{value:.2f} {'✓' if promise.kept(value, 1) else '✗'}")
    return f"{'; '.join(words)} | {'; '.join(found)}"


def spread(measured: Sequence[Measured], names: Mapping[str, str]) -> str:
    """How far the rounds lie apart, and how busy the load's core was."""
    lines = [
        "| work | rounds | hopward: least – most | ratio to baseline: least – most"
        " | load's core, at most |",
        "|---|---|---|---|---|",
    ]
    for work, row, _ in measured:
        own = [figure.value for figure in row.get(OWN, ())]
        if not own:
            continue
        compared = ratios(row, OWN, BASELINE)
        range_of_ratios = f"{min(compared):.2f} – {max(compared):.2f}" if compared else "–"
        lines.append(
            f"| {work.name} | {len(own)} | {_number(min(own))} – {_number(max(own))}"
            f" | {range_of_ratios} | {_busy(row, names)} |"
        )
    return "\n".join(lines)


def _busy(row: Row, names: Mapping[str, str]) -> str:
    shares = {
        name: statistics.median(f.load_share for f in figures)
        for name, figures in row.items()
        if figures
    }
    most = max(shares.values(), default=0.0)
    if not most:
        return "–"
    over = [names.get(name, name) for name, share in shares.items() if share > BUSY]
    return f"{most:.0%}" + (f" (over {BUSY:.0%}: {', '.join(over)})" if over else "")


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
