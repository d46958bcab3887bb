"""`python letter_origin.py PORT LETTER`: an origin that answers every request with its letter."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

PAUSE = 0.005  # so that requests are under way at any moment


class Letter(asyncio.Protocol):
    """One connection; requests have no body, or one that comes with their head."""

    def __init__(self, letter: bytes) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + letter
        self.ahead = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.ahead += data
        while b"\r\n\r\n" in self.ahead:
            _, _, self.ahead = self.ahead.partition(b"\r\n\r\n")
            asyncio.get_running_loop().call_later(PAUSE, self.transport.write, self.answer)


async def serve(port: int, letter: bytes) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Letter(letter), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2].encode()))
