"""An upgrade, asked for and granted (RFC 9110 §7.8)."""

from __future__ import annotations

from tests.e2e.wire.client import HOST, Client, Dial
from tests.http_client import get
from tests.scripted_origin import Call, ScriptedOrigin

UPGRADE = b"Connection: Upgrade"


def upgrade(protocol: bytes, *fields: bytes, connection: bytes = UPGRADE) -> bytes:
    return get(b"/live", HOST, connection, b"Upgrade: " + protocol, *fields)


def switching(protocol: bytes, *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 101 Switching Protocols", UPGRADE, b"Upgrade: " + protocol, *fields]
    return b"\r\n".join([*lines, b"", b""])


def asked(dial: Dial, origin: ScriptedOrigin, request: bytes) -> tuple[Client, Call]:
    """A client whose request's head has reached the origin."""
    client = dial()
    client.send(request)
    call = origin.accept()
    call.head()
    return client, call


def tunnel(
    dial: Dial, origin: ScriptedOrigin, protocol: bytes = b"custom/1"
) -> tuple[Client, Call]:
    """Both ends of a tunnel."""
    client, call = asked(dial, origin, upgrade(protocol))
    call.send(switching(protocol))
    assert client.head().status == 101
    return client, call


def carries(client: Client, call: Call) -> bool:
    """Whether bytes pass both ways."""
    client.send(b"there")
    call.send(b"back")
    return call.exactly(5) == b"there" and client.exactly(4) == b"back"
