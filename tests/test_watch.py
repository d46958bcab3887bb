"""How the origins fare, told in the log and to whoever asks."""

from __future__ import annotations

import json
import time

import pytest

from proxy.findings import Finding, Findings
from proxy.health import FAILURES, OriginState
from proxy.log import Log
from proxy.watch import Watch
from tests.playbook import on_stage, settled, stage
from tests.scene import GET, Scene

PAIR = ["http://127.0.0.1:1", "http://127.0.0.2:2"]
CHECKED = {"health": {"path": "/health"}}


class Watched:
    """A scene with its watch."""

    def __init__(self, **scene: object) -> None:
        self.findings = Findings()
        self.scene = Scene(findings=self.findings, **{"to": PAIR, **scene})
        self.watch = Watch(self.scene.listener, self.findings, Log("info"))

    def states(self) -> dict[str, OriginState]:
        return {str(state.origin): state for state in self.watch.states()}

    def find(self, number: int, *, healthy: bool, reason: str = "") -> None:
        check = self.scene.route.checks[number]
        self.findings.write(check, Finding(time.monotonic(), 5.0, healthy, reason))


def told(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


@on_stage
async def test_what_nobody_knows_better_of_is_well() -> None:
    states = Watched().states()
    assert states == {url: OriginState("a", states[url].origin, True, None, "") for url in PAIR}


@on_stage
async def test_an_origin_that_requests_found_away_is_not_well() -> None:
    watched = Watched()
    stage().unreachable.add("127.0.0.1")
    await watched.scene.asks(GET)
    first, second = (watched.states()[url] for url in PAIR)
    assert (first.healthy, first.reason) == (False, "refused")
    assert first.since == pytest.approx(time.time(), abs=10)
    assert second.healthy


@on_stage
async def test_an_origin_that_checks_found_ill_is_not_well() -> None:
    watched = Watched(site=CHECKED)
    watched.find(0, healthy=True)
    watched.find(1, healthy=False, reason="status 503")
    first, second = (watched.states()[url] for url in PAIR)
    assert (first.healthy, first.since) == (True, 5.0)
    assert (second.healthy, second.since, second.reason) == (False, 5.0, "status 503")


@on_stage
async def test_an_origin_that_is_ill_for_one_route_is_told_as_ill() -> None:
    site = {"routes": {"/x/": {"to": PAIR[1], "health": {"path": "/x/"}}}}
    watched = Watched(site=site)
    _, route = next(iter(watched.scene.listener.table.sites["a"].prefixes))
    [check] = route.checks
    watched.findings.write(check, Finding(time.monotonic(), 5.0, False, "timeout"))
    assert [state.healthy for state in watched.states().values()] == [True, False]


def test_word_of_an_origin_that_goes_and_comes(capfd: pytest.CaptureFixture[str]) -> None:
    @on_stage
    async def goes_and_comes() -> None:
        watched = Watched()
        for _ in range(FAILURES * 3):
            await watched.scene.asks(GET)
            if watched.scene.upstream.peer == "127.0.0.1:1":
                watched.scene.upstream.lost()
            else:
                watched.scene.upstream.says(b"HTTP/1.1 200 .\r\nContent-Length: 0\r\n\r\n")
        stage().now += 1000
        watched.scene.listener.pools.ticked(stage().now)
        await settled()

    goes_and_comes()
    about = {"sites": ["a"], "origin": PAIR[0], "seen_by": "requests"}
    assert told(capfd) == [
        {"level": "warning", "event": "upstream-down", **about, "reason": "reset"},
        {"level": "info", "event": "upstream-up", **about},
    ]
