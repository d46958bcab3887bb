"""`python -m bench.bulk`: CPU time of what passes on, through OpenSSL and without the kernel.

A record of 16 KiB of an upload and of a WebSocket's frames, each within a read of 256,000 bytes, as
uvloop makes it; an event; a message of 64 bytes over a WebSocket and its echo.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from OpenSSL import SSL

from bench.exchange import Wire
from bench.openssl import HOST, Client, certified
from bench.origin import CHUNK, ECHOED, SMALL, STREAMED
from bench.timing import Task, show
from proxy.config import Config
from proxy.downstream import Downstream
from proxy.engine import ROOM
from proxy.listener import Listener
from proxy.routing import Table
from proxy.upstream import Upstream

RECORD, READ = 16 * 1024, 256_000
UPLOAD = f"PUT /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {1 << 40}\r\n\r\n"
EVENTS = f"GET /events HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = (
    f"GET /live HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Sink(Wire):
    """A connection whose kernel takes everything; `written` is what went by the transport."""

    family = socket.AF_UNIX

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.protocol: Any = None
        self._null = os.open(os.devnull, os.O_WRONLY)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self if name == "socket" else super().get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def fileno(self) -> int:
        """Where bytes are lost."""
        return self._null

    def write(self, data: Any) -> None:
        self.written = data

    def close(self) -> None:
        os.close(self._null)


class Stage:
    """A client's connection with a request under way, and the upstream that has it."""

    def __init__(self, request: str, answer: bytes) -> None:
        config = Config.model_validate({"sites": {HOST: "http://127.0.0.1:1"}})
        listener = Listener(config, Table(config.sites), certified(), workers=1)
        pool = listener.pools.choose(config.sites[HOST].to)
        assert pool is not None
        self.wires = Sink(), Sink()
        self.client, self.downstream, self.upstream = Client(), Downstream(listener), Upstream(pool)
        self.upstream.connection_made(self.wires[0])
        pool.keep(self.upstream)
        self.downstream.connection_made(self.wires[1])
        self.hears(self.client.hello())
        self.hears(self.client.ask(self.wires[1].written, request.encode()))
        if answer:
            self.upstream.data_received(answer)

    def says(self, plain: bytes) -> bytes:
        """The client's ciphertext."""
        self.client.tls.sendall(plain)
        parts = []
        with suppress(SSL.WantReadError):
            while True:
                parts.append(self.client.tls.bio_read(READ))
        return b"".join(parts)

    def hears(self, cipher: bytes) -> float:
        """The proxy reads it; seconds of CPU."""
        ROOM[: len(cipher)] = cipher
        began = time.thread_time()
        self.downstream.buffer_updated(len(cipher))
        return time.thread_time() - began

    def says_much(self, plain: bytes) -> float:
        """The proxy reads it, in bulk once it has come to that; seconds of CPU."""
        bulk = self.wires[0].protocol
        if bulk is not None:
            ROOM[: len(plain)] = plain
        began = time.thread_time()
        if bulk is None:
            self.upstream.data_received(plain)
        else:
            bulk.buffer_updated(len(plain))
        return time.thread_time() - began

    def end(self) -> None:
        """Both ends are gone."""
        self.downstream.connection_lost(None)
        self.upstream.connection_lost(None)
        for wire in self.wires:
            wire.close()


async def _upload(records: int) -> float:
    stage, took, plain = Stage(UPLOAD, b""), 0.0, bytes(RECORD)
    waiting = b""
    for _ in range(records):
        waiting += stage.says(plain)
        if len(waiting) >= READ:
            took += stage.hears(waiting[:READ])
            waiting = waiting[READ:]
    took += stage.hears(waiting)
    stage.end()
    return took / records


async def _stream(records: int) -> float:
    stage, took = Stage(UPGRADE, SWITCHED), 0.0
    frames = STREAMED * 16
    reads = [frames[at : at + READ] for at in range(0, len(frames), READ)]
    for _ in range(max(1, records * RECORD // len(frames))):
        for read in reads:
            took += stage.says_much(read)
    stage.end()
    return took / (max(1, records * RECORD // len(frames)) * len(frames) / RECORD)


async def _events(events: int) -> float:
    stage = Stage(EVENTS, BEGUN)
    began = time.thread_time()
    for _ in range(events):
        stage.upstream.data_received(CHUNK)
    took = time.thread_time() - began
    stage.end()
    return took / events


async def _echoes(echoes: int) -> float:
    stage, took, answer = Stage(UPGRADE, SWITCHED), 0.0, b"\x82\x40" + b"e" * SMALL
    for _ in range(echoes):
        took += stage.hears(stage.says(ECHOED))
        began = time.thread_time()
        stage.upstream.data_received(answer)
        took += time.thread_time() - began
    stage.end()
    return took / echoes


def _run(measure: Callable[[int], Awaitable[float]], units: int) -> float:
    async def run() -> float:
        return await measure(units)

    return asyncio.run(run())


TASKS: dict[str, Task] = {
    "16 KiB of an upload": partial(_run, _upload),
    "16 KiB of a WebSocket's frames to the client": partial(_run, _stream),
    "an event": partial(_run, _events),
    "64 bytes over a WebSocket and their echo": partial(_run, _echoes),
}

if __name__ == "__main__":
    show(TASKS)
