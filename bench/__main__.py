"""`make bench`: announces through hopward and its peers, interleaved; prints a table."""

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import subjects
from bench.certificate import write_pair
from bench.subjects import Place, Subject, running

# Work by name: wrk's further arguments. A field that closes makes each request a new connection.
WORK = {
    "announce, keep-alive": [],
    "announce, fresh connection": ["-H", "Connection: close"],
}
TARGET = "/announce?info_hash=%00%FF%AA%12&peer_id=-qB4600-abcdefghijkl&port=6881&left=0&compact=1"
FIELDS = ["User-Agent: qBittorrent/4.6.0", "Accept: */*", "Accept-Encoding: gzip"]
LOAD_CORE, SUBJECT_CORE = 1, 0


def main() -> int:
    """Measure and print; returns the exit code."""
    options = _options()
    if missing := subjects.missing():
        for name in missing:
            print(f"{name} is missing: {subjects.INSTALL[name]}", file=sys.stderr)
        return 1
    if len(os.sched_getaffinity(0)) < 2:
        print("the subject and the load need a core each", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        results = _measure(Path(folder), options.rounds, options.seconds)
    _show(results, options)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--seconds", type=int, default=4, help="load per measurement")
    return parser.parse_args()


def _measure(folder: Path, rounds: int, seconds: int) -> dict[str, dict[str, list[float]]]:
    """Work -> subject -> CPU µs per request, one figure a round."""
    certificate, key = write_pair(folder)
    upstream = subjects.free_port()
    results: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        enter(running("", subjects.upstream_command(folder, upstream), upstream, LOAD_CORE))
        started = []
        for name, command in {"hopward": subjects.hopward, **subjects.PEERS}.items():
            place = Place(folder / name, subjects.free_port(), upstream, certificate, key)
            place.folder.mkdir()
            started.append(enter(running(name, command(place), place.port, SUBJECT_CORE)))
        for _ in range(rounds):
            for work, arguments in WORK.items():
                for subject in started:
                    figure = _cpu_per_request(subject, seconds, arguments)
                    results.setdefault(work, {}).setdefault(subject.name, []).append(figure)
    return results


def _cpu_per_request(subject: Subject, seconds: int, arguments: Sequence[str]) -> float:
    """Microseconds. Raises RuntimeError where a request failed: then no figure counts."""
    fields = [word for field in FIELDS for word in ("-H", field)]
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", "-c32", f"-d{seconds}", *fields]
    url = f"https://{subjects.HOST}:{subject.port}{TARGET}"
    before = subject.cpu_seconds()
    report = subprocess.run(
        [*command, *arguments, url], check=True, capture_output=True, text=True
    ).stdout
    spent = subject.cpu_seconds() - before
    requests = re.search(r"(\d+) requests in", report)
    if requests is None or "Non-2xx" in report or "Socket errors" in report:
        raise RuntimeError(f"{subject.name} failed requests:\n{report}")
    return spent / int(requests[1]) * 1e6


def _show(results: dict[str, dict[str, list[float]]], options: argparse.Namespace) -> None:
    print(f"CPU µs per request, medians of {options.rounds} rounds of {options.seconds} s; in")
    print("brackets hopward's as a multiple of it, median of the rounds' ratios\n")
    for work, figures in results.items():
        own = figures["hopward"]
        print(work)
        for name, values in figures.items():
            ratio = statistics.median(mine / its for mine, its in zip(own, values, strict=True))
            print(f"  {name:10} {statistics.median(values):8.1f}   [{ratio:.2f}]")


if __name__ == "__main__":
    sys.exit(main())
