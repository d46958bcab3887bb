"""What the wire tests share: a scripted origin, and clients that speak to the proxy before it.

One proxy lasts for a test module; no connection lasts longer than its test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.message_stream import Stream
from tests.programs import Hopward
from tests.scripted_origin import ScriptedOrigin
from tests.tls_client import PlainClient, TLSClient

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


@pytest.fixture(scope="module")
def listening() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    """The proxy of a module that needs nothing configured but where the origin is."""
    return front({HOST: listening.url})


@pytest.fixture
def origin(listening: ScriptedOrigin) -> Iterator[ScriptedOrigin]:
    yield listening
    listening.hang_up()


@pytest.fixture
def dial(proxy: Hopward, origin: ScriptedOrigin, authority: Authority) -> Iterator[Dial]:
    with ExitStack() as connections:

        def connect(host: str = HOST) -> Client:
            wire = TLSClient(proxy.https, host, cafile=authority.pem)
            return Client(connections.enter_context(wire))

        yield connect
