"""An echo server on wsproto, as a program: called with a port.

It answers event after event, so its answers never depend on how the bytes were cut on their way.
"""

from __future__ import annotations

import asyncio
import sys

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import RemoteProtocolError


class Echo(asyncio.Protocol):
    def __init__(self) -> None:
        self._websocket = WSConnection(ConnectionType.SERVER)
        self._text: list[str] = []
        self._bytes = bytearray()
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        try:
            self._websocket.receive_data(data)
            for event in self._websocket.events():
                self._answer(event)
        except RemoteProtocolError as error:
            if error.event_hint is not None:
                self._send(error.event_hint)
            self._part()

    def _answer(self, event: Event) -> None:
        if isinstance(event, Request):
            self._send(AcceptConnection(extensions=[PerMessageDeflate()]))
        elif isinstance(event, TextMessage):
            self._text.append(event.data)
            if event.message_finished:
                self._send(TextMessage("".join(self._text)))
                self._text.clear()
        elif isinstance(event, BytesMessage):
            self._bytes += event.data
            if event.message_finished:
                self._send(BytesMessage(bytes(self._bytes)))
                self._bytes.clear()
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, CloseConnection):
            self._send(event.response())
            self._part()

    def _part(self) -> None:
        # closing at once would reset a client that is still sending, and lose it the Close
        self._over = True
        self._transport.write_eof()

    def _send(self, event: Event) -> None:
        self._transport.write(self._websocket.send(event))


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
