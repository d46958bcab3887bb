"""`python -m tests.load`: constant load on the proxy, and an exact account of what came of it.

A process of its own, so that the test has its hands free. It serves as origin too: any request is
answered 200, any upgrade becomes an echo. It prints the origin's port first; when its stdin ends it
finishes what is under way and prints its `Report` as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import ssl
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCH = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
# A masked text frame with one letter; the origin sends it back as it is.
FRAME = b"\x81\x81\x00\x00\x00\x00x"
BROKEN = (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError)


@dataclass
class Report:
    """What came of the load; times are seconds of time.monotonic()."""

    responses: Counter[str] = field(default_factory=Counter)
    """Whole responses by status."""
    failures: list[tuple[float, str]] = field(default_factory=list)
    """When a request got no whole response, and why."""
    drops: list[float] = field(default_factory=list)
    """When a WebSocket ended that nobody had ended."""
    switches: int = 0
    """WebSockets opened."""


class Load:
    """Clients of one site, until they are stopped."""

    def __init__(self, port: int, host: str, cafile: str) -> None:
        self.port, self.host = port, host
        self.context = ssl.create_default_context(cafile=cafile)
        self.report, self.stopping = Report(), asyncio.Event()

    async def keep_alive(self) -> None:
        """One client after the other, each with as many requests as its connection takes."""
        while not self.stopping.is_set():
            with contextlib.suppress(*BROKEN):
                reader, writer = await self._dial()
                try:
                    while not self.stopping.is_set() and await self._ask(reader, writer):
                        pass
                finally:
                    writer.close()

    async def fresh(self) -> None:
        """A new connection for each request."""
        while not self.stopping.is_set():
            with contextlib.suppress(*BROKEN):
                reader, writer = await self._dial()
                try:
                    await self._ask(reader, writer, b"Connection: close\r\n")
                finally:
                    writer.close()

    async def websocket(self) -> None:
        """One WebSocket that says something five times a second."""
        while not self.stopping.is_set():
            with contextlib.suppress(*BROKEN):
                reader, writer = await self._dial()
                try:
                    await self._talk(reader, writer)
                finally:
                    writer.close()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=self.context, server_hostname=self.host
            )
        except BROKEN as error:
            self._failed("connect", error)
            raise

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, field: bytes = b""
    ) -> bool:
        """One exchange; whether another may follow."""
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (self.host.encode(), field))
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        except BROKEN as error:
            self._failed("request", error)
            raise
        self.report.responses[head[9:12].decode()] += 1
        return b"connection: close" not in head.lower()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(
                b"GET /live HTTP/1.1\r\nHost: %b\r\n"
                b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % self.host.encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
        except BROKEN as error:
            self._failed("upgrade", error)
            raise
        assert head[9:12] == b"101", head
        self.report.switches += 1
        while not self.stopping.is_set():
            try:
                writer.write(FRAME)
                assert await reader.readexactly(len(FRAME)) == FRAME
            except BROKEN:
                self.report.drops.append(time.monotonic())
                raise
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 0.2)

    def _failed(self, what: str, error: BaseException) -> None:
        self.report.failures.append((time.monotonic(), f"{what}: {error!r}"))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The origin's side of one connection."""
    with contextlib.suppress(*BROKEN), contextlib.closing(writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"\r\nUpgrade:" not in head:
                writer.write(OK)
                continue
            writer.write(SWITCH)
            while octets := await reader.read(65536):
                writer.write(octets)
            return


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep-alive", type=int, default=0)
    parser.add_argument("--fresh", type=int, default=0)
    parser.add_argument("--websockets", type=int, default=0)
    options = parser.parse_args()
    origin = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(origin.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    port, host, cafile = (await loop.run_in_executor(None, sys.stdin.readline)).split()
    load = Load(int(port), host, cafile)
    clients = [asyncio.create_task(load.keep_alive()) for _ in range(options.keep_alive)]
    clients += [asyncio.create_task(load.fresh()) for _ in range(options.fresh)]
    clients += [asyncio.create_task(load.websocket()) for _ in range(options.websockets)]
    await loop.run_in_executor(None, sys.stdin.read)
    load.stopping.set()
    await asyncio.gather(*clients)
    print(json.dumps(vars(load.report)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
