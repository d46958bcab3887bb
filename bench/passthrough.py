"""The limit: TLS ended by uvloop and the standard library, the same bytes passed on unread.

What no proxy on this loop can be cheaper than, unless its TLS or its system calls are. Each client
has one upstream connection, nothing is parsed, counted or timed.
"""

import asyncio
import ssl
import sys
from typing import cast

import uvloop


class Side(asyncio.Protocol):
    """One of two connections that hand each other what they read."""

    def __init__(self, other: "Side | None" = None) -> None:
        self.other, self.early = other, b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclasses of asyncio's
        self.transport = cast(asyncio.Transport, transport)
        if self.other is None:
            self.connecting = asyncio.ensure_future(self._connect())
        else:
            self.other.other = self
            self.transport.write(self.other.early)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: Side(self), "127.0.0.1", int(sys.argv[2]))

    def data_received(self, data: bytes) -> None:
        if self.other:
            self.other.transport.write(data)
        else:
            self.early += data

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other:
            self.other.transport.resume_reading()


async def main() -> None:
    """Serve until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        Side, "127.0.0.1", int(sys.argv[1]), ssl=context, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
