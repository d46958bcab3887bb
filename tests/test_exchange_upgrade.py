"""An exchange that ends in a tunnel, or does not (RFC 9110 §7.8)."""

from __future__ import annotations

import pytest

from tests.playbook import on_stage
from tests.scene import GET, Scene, reply

UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
)  # fmt: skip


@on_stage
async def test_a_101_hands_both_connections_over_with_what_came_early() -> None:
    scene = Scene()
    await scene.asks(UPGRADE)
    scene.upstream.says(SWITCH + b"early")
    assert scene.client.take() == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert scene.client.switched is not None
    upstream, early, protocols = scene.client.switched
    assert (upstream.transport, early, protocols) == (scene.upstream, b"early", [b"websocket"])


@on_stage
async def test_an_origin_may_answer_an_upgrade_like_any_request() -> None:
    scene = Scene()
    await scene.asks(UPGRADE)
    scene.upstream.says(reply(b"Content-Length: 5", body=b"hello", status=b"403 Forbidden"))
    assert scene.client.take().endswith(b"\r\n\r\nhello")
    assert scene.client.persist


@pytest.mark.parametrize(
    ("asked", "switch"),
    [
        (GET, SWITCH),
        (UPGRADE, SWITCH.replace(b"websocket", b"h2c")),
        (UPGRADE, SWITCH.replace(b"Upgrade: websocket\r\n", b"")),
        (UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"), SWITCH),
    ],
    ids=["not asked", "another protocol", "no protocol", "from HTTP/1.0"],
)
@on_stage
async def test_a_101_that_was_not_asked_for_is_502(asked: bytes, switch: bytes) -> None:
    scene = Scene()
    await scene.asks(asked)
    scene.upstream.says(switch)
    assert scene.client.error is not None
    assert scene.client.error.status == 502
    assert scene.upstream.aborted
