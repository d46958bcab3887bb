"""What of an exchange speaks against its origin."""

from __future__ import annotations

import time
from typing import Any

import pytest

from proxy.findings import Finding, Findings
from proxy.health import FAILURES
from tests.playbook import on_stage, settled, stage
from tests.scene import GET, OK, Scene, post, reply

PAIR = ["http://127.0.0.1:1", "http://127.0.0.2:2"]
CHECKED = {"health": {"path": "/health"}}
SWITCHED = b"HTTP/1.1 101 .\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


def marked(scene: Scene) -> bool:
    origin = scene.config.sites["a"].to[0]
    standing = scene.listener.pools.standing(origin)
    return standing is not None and standing.marked


async def ended_by(scene: Scene, end: str, request: bytes = GET) -> None:
    """A request on a connection of its own, and how its origin ends it."""
    await scene.asks(request)
    wire = scene.upstream
    if end == "reset":
        wire.lost()
    elif end == "close":
        wire.ends()
    else:
        wire.says(end.encode())
    await settled()


@pytest.mark.parametrize("end", ["reset", "close", "garbage\r\n\r\n", "HTTP/1.1 101 .\r\n\r\n"])
@on_stage
async def test_no_answer_or_garbage_speaks_against_an_origin(end: str) -> None:
    scene = Scene()
    for _ in range(FAILURES):
        assert not marked(scene)
        await ended_by(scene, end)
    assert marked(scene)


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"Content-Length: 0", status=b"500 Internal Server Error"),
        reply(b"Content-Length: 0", status=b"503 Service Unavailable"),
    ],
)
@on_stage
async def test_an_answer_of_any_status_is_an_answer(answer: bytes) -> None:
    scene = Scene()
    for _ in range(FAILURES * 2):
        await scene.asks(GET)
        scene.upstream.says(answer)
    assert not marked(scene)


@on_stage
async def test_a_response_that_breaks_off_after_its_head_is_no_sign_of_an_origin_that_is_away() -> (
    None
):
    scene = Scene()
    for _ in range(FAILURES * 2):
        await ended_by(scene, OK[:-1].decode())
        scene.upstream.lost()
    assert not marked(scene)


@on_stage
async def test_a_kept_connection_that_proves_stale_is_no_fault_of_its_origin() -> None:
    scene = Scene()
    for _ in range(FAILURES * 2):
        wire = await scene.warm()
        await scene.asks(post(b"Content-Length: 0"))
        wire.lost()
        assert scene.client.ends == ["answered"]
    assert not marked(scene)


@on_stage
async def test_a_slow_answer_is_no_sign_of_an_origin_that_is_away() -> None:
    scene = Scene()
    for _ in range(FAILURES * 2):
        exchange = await scene.asks(GET)
        exchange.expired()
        assert scene.client.error is not None
        assert scene.client.error.status == 504
    assert not marked(scene)


@on_stage
async def test_a_client_that_leaves_says_nothing_of_the_origin() -> None:
    scene = Scene()
    for _ in range(FAILURES * 2):
        (await scene.asks(GET)).client_left()
    assert not marked(scene)


@on_stage
async def test_an_upgrade_is_an_answer() -> None:
    scene = Scene()
    for _ in range(FAILURES - 1):
        await ended_by(scene, "reset")
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    await ended_by(scene, SWITCHED.decode(), upgrade)
    await ended_by(scene, "reset")
    assert not marked(scene)


# ---- where checks say that somebody is not well


def checked(*healthy: bool, **site: Any) -> Scene:
    """A scene in which checks have found this of its origins."""
    findings = Findings()
    scene = Scene(to=PAIR[: len(healthy)], site={**CHECKED, **site}, findings=findings)
    for check, well in zip(scene.route.checks, healthy, strict=True):
        findings.write(check, Finding(time.monotonic(), time.time(), well))
    return scene


@on_stage
async def test_requests_go_to_the_origins_that_checks_found_well() -> None:
    scene = checked(False, True)
    for _ in range(4):
        await scene.asks(GET)
    assert {wire.peer for wire in scene.wires} == {"127.0.0.2:2"}


@on_stage
async def test_where_the_checks_found_no_origin_well_a_request_is_503() -> None:
    scene = checked(False, False)
    await scene.asks(GET)
    assert scene.client.error is not None
    assert (scene.client.error.status, scene.client.persist) == (503, True)
    assert scene.wires == []


@on_stage
async def test_where_the_one_that_is_well_refuses_the_other_is_not_asked() -> None:
    scene = checked(True, False)
    stage().unreachable.add("127.0.0.1")
    await scene.asks(GET)
    assert scene.client.error is not None
    assert scene.client.error.status == 502
    assert scene.wires == []


@on_stage
async def test_a_retry_finds_nobody_well_any_more() -> None:
    findings = Findings()
    scene = Scene(site=CHECKED, findings=findings)
    wire = await scene.warm()
    await scene.asks(GET)
    [check] = scene.route.checks
    findings.write(check, Finding(time.monotonic(), time.time(), False))
    wire.lost()
    assert scene.client.error is not None
    assert scene.client.error.status == 503
