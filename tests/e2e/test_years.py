"""What happens to a proxy over years, within a minute: under load, and nobody notices."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority
from tests.e2e.wire.reloading import SOON
from tests.programs import Hopward, alive, wait_for

HOST = "app.example.com"
WEBSOCKETS = 50
LOAD = ("--keep-alive", "8", "--fresh", "4", "--websockets", str(WEBSOCKETS))
# How long what was under way on a killed worker may take to be seen as broken, on a busy machine.
IN_FLIGHT = 5.0
CLIENTS = 12

Configured = Callable[..., dict[str, object]]


class Years:
    """A proxy of two workers under load by another process."""

    def __init__(self, folder: Path, configured: Configured, authority: Authority) -> None:
        self.load = subprocess.Popen(
            [sys.executable, "-m", "tests.load", *LOAD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self.load.stdout is not None
        origin = f"http://127.0.0.1:{int(self.load.stdout.readline())}"
        listen = {"https": "127.0.0.1:0", "http": False, "admin": "127.0.0.1:0"}
        config = configured({HOST: origin}, listen=listen, workers=2, store=str(folder / "store"))
        self.proxy = Hopward(folder, config)
        self._authority = authority
        self.kills: list[float] = []

    def begin(self) -> None:
        """Start the load, and wait until all of it is there."""
        assert self.load.stdin is not None
        self.load.stdin.write(f"{self.proxy.https} {HOST} {self._authority.pem}\n")
        self.load.stdin.flush()
        wait_for(lambda: self.figure("hopward_websockets") == WEBSOCKETS, what="the WebSockets")

    def report(self) -> dict[str, Any]:
        """End the load; what came of it."""
        out, _ = self.load.communicate(timeout=SOON * 2)
        report: dict[str, Any] = json.loads(out)
        return report

    def tell(self, number: signal.Signals, event: str) -> None:
        """Send the signal, and wait for one more event of that name."""
        mark = f'"event": "{event}"'
        before = self.proxy.stderr_text().count(mark)
        self.proxy.process.send_signal(number)
        wait_for(lambda: self.proxy.stderr_text().count(mark) > before, what=event)

    def kill_worker(self) -> None:
        """Kill one of the workers that take clients, and wait for its successor."""
        before = self.figure("hopward_worker_restarts_total")
        [*_, worker] = self.proxy.workers()
        os.kill(worker, signal.SIGKILL)
        self.kills.append(time.monotonic())
        wait_for(lambda: not alive(worker), what="its end")
        if self.figure("hopward_worker_restarts_total") == before:
            wait_for(self._restarted_since(before), what="its successor")

    def _restarted_since(self, before: float) -> Callable[[], bool]:
        return lambda: self.figure("hopward_worker_restarts_total") > before

    def figure(self, name: str, **labels: str) -> float:
        """The sum of a metric over all label sets that have these labels."""
        total = 0.0
        for line in self._metrics().splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found and all(
                f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()
            ):
                total += float(found[2])
        return total

    def served(self) -> float:
        """How many requests were answered 200, by the proxy's own count."""
        return self.figure("hopward_requests_total", site=HOST, code="200")

    def _metrics(self) -> str:
        admin = self.proxy.ready()["admin"][0]
        for _ in range(20):
            try:
                with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as answer:
                    text: str = answer.read().decode()
                    return text
            except OSError:
                # The worker that answers may be the one that was killed.
                time.sleep(0.1)
        raise AssertionError("no figures")

    def end(self) -> None:
        """Leave no process behind."""
        self.load.kill()
        self.load.communicate()
        self.proxy.end()


@pytest.fixture
def years(tmp_path: Path, configured: Configured, authority: Authority) -> Iterator[Years]:
    under_load = Years(tmp_path, configured, authority)
    try:
        yield under_load
    finally:
        under_load.end()


def test_ten_reloads_and_two_upgrades_fail_no_request_and_end_no_websocket(years: Years) -> None:
    years.begin()
    for number in range(10):
        years.tell(signal.SIGHUP, "reloaded")
        if number % 5 == 2:
            years.tell(signal.SIGUSR2, "ready")
    report = years.report()
    assert report["failures"] == []
    assert report["drops"] == []
    assert set(report["responses"]) == {"200"}


def test_figures_are_exact_over_reloads_and_upgrades(years: Years) -> None:
    years.begin()
    for _ in range(2):
        years.tell(signal.SIGHUP, "reloaded")
        years.tell(signal.SIGUSR2, "ready")
    report = years.report()
    responses = report["responses"]["200"]
    wait_for(lambda: years.served() >= responses, what="the last request")
    assert years.served() == responses
    assert years.figure("hopward_requests_total", code="101") == report["switches"] == WEBSOCKETS
    assert years.figure("hopward_request_seconds_count") == responses + WEBSOCKETS


def test_ten_killed_workers_cost_what_was_under_way_on_them_and_nothing_else(
    years: Years,
) -> None:
    years.begin()
    for _ in range(10):
        years.kill_worker()
    report = years.report()
    ended = [at for at, _ in report["failures"]] + report["drops"]
    assert len(report["failures"]) <= CLIENTS * len(years.kills)
    assert all(any(0 <= at - kill < IN_FLIGHT for kill in years.kills) for at in ended)
    assert set(report["responses"]) == {"200"}
    assert years.figure("hopward_worker_restarts_total") == 10
    # What was sent but not yet counted when the worker was killed, and what was counted last.
    uncounted = report["responses"]["200"] - years.served()
    assert abs(uncounted) <= len(report["failures"]) + 10
