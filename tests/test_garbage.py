"""Connections that have ended are gone at once: none waits for the garbage collector.

Workers let the collector come seldom, and of what has lived long it looks at least; each connection
in a cycle would keep OpenSSL's memory until then.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from proxy.config import Config
from proxy.downstream import Downstream
from proxy.listener import Listener
from proxy.routing import Table
from proxy.tls import Base, site_context
from tests.authority import Authority

HOST = "a.example"
TRUSTING = ssl.create_default_context()
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Life = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An origin: /half is answered by half, /never not at all, /live with a switch."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b" /live" in head:
                writer.write(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            elif b" /half" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                break
            elif b" /never" not in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    writer.close()


@asynccontextmanager
async def downstreams(authority: Authority) -> AsyncIterator[tuple[int, list[weakref.ref[object]]]]:
    """A proxy's port, and weak references to its connections and their record layers."""
    pair = authority.pair(HOST)
    context = site_context(pair.cert.read_bytes(), pair.key.read_bytes())
    origin = await asyncio.start_server(answer, "127.0.0.1", 0)
    to = f"http://127.0.0.1:{origin.sockets[0].getsockname()[1]}"
    config = Config.model_validate({"sites": {HOST: to}, "timeouts": {"drain": "100ms"}})
    base = Base()
    base.choose = {HOST: context}.get
    listener = Listener(config, Table(config.sites), base, workers=1)
    seen: list[weakref.ref[object]] = []

    class Seen(Downstream):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            seen.append(weakref.ref(self))
            seen.append(weakref.ref(self._layer._engine))

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Seen(listener), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()
        origin.close()
        await listener.drain()


async def ask(target: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    upgrade = b"Connection: Upgrade\r\nUpgrade: echo\r\n" if target == b"/live" else b""
    writer.write(b"GET %b HTTP/1.1\r\nHost: a.example\r\n%b\r\n" % (target, upgrade))
    return await reader.readuntil(b"\r\n\r\n")


async def nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Leave after the handshake."""


async def often(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for _ in range(5):
        await ask(b"/", reader, writer)
        assert await reader.readexactly(2) == b"ok"


async def malformed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\nHost: a.example\r\n\r\n")
    assert b" 400 " in await reader.readuntil(b"\r\n\r\n")


async def unanswered(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /never HTTP/1.1\r\nHost: a.example\r\n\r\n")
    await writer.drain()


async def half_answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert b" 200 " in await ask(b"/half", reader, writer)
    with suppress(ConnectionError):
        await reader.read()


async def tunnelling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert b" 101 " in await ask(b"/live", reader, writer)


async def dialled(port: int, host: str) -> Streams:
    return await asyncio.open_connection("127.0.0.1", port, ssl=TRUSTING, server_hostname=host)


@pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "aborted"])
@pytest.mark.parametrize("life", [nothing, often, malformed, unanswered, half_answered, tunnelling])
def test_a_connection_that_has_ended_leaves_nothing_to_the_collector(
    authority: Authority, life: Life, abruptly: bool
) -> None:
    async def scene() -> None:
        async with downstreams(authority) as (port, seen):
            reader, writer = await dialled(port, HOST)
            await life(reader, writer)
            writer.transport.abort() if abruptly else writer.close()
            await gone(seen)

    without_collector(scene)


def test_a_handshake_that_failed_leaves_nothing_to_the_collector(authority: Authority) -> None:
    async def scene() -> None:
        async with downstreams(authority) as (port, seen):
            with pytest.raises(ssl.SSLError):
                await dialled(port, "unknown.example")
            await gone(seen)

    without_collector(scene)


async def gone(seen: list[weakref.ref[object]]) -> None:
    assert seen
    async with asyncio.timeout(10):
        while any(each() is not None for each in seen):
            await asyncio.sleep(0.01)


def without_collector(scene: Callable[[], Awaitable[None]]) -> None:
    async def played() -> None:
        async with asyncio.timeout(30):
            await scene()

    gc.collect()
    gc.disable()
    try:
        uvloop.run(played())
    finally:
        gc.enable()
