"""A client's end of a dialogue."""

from __future__ import annotations

from typing import Protocol

from tests.message_stream import Stream
from tests.tls_client import PlainClient

HOST = "app.example.com"


class Client(Stream):
    """A client's connection to the proxy; `wire` is the connection itself."""

    def __init__(self, wire: PlainClient) -> None:
        super().__init__(wire.recv)
        self.wire = wire

    def send(self, octets: bytes) -> None:
        self.wire.send(octets)


class Dial(Protocol):
    """Opens a connection to the proxy that lasts as long as the test."""

    def __call__(self, host: str = HOST) -> Client: ...
