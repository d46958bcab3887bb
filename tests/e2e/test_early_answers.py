"""What an origin said before it left reaches the client, though the client was still sending."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.websocket import BINARY, CLOSE, FIN, Frame, RawEcho, frame, open_websocket
from tests.http_client import get, read_answer
from tests.origins import Listener
from tests.programs import Hopward
from tests.tls_client import TLSClient

UPLOADS, TUNNELS = "uploads.example.com", "live.example.com"
REFUSAL = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n"
PIECE = bytes(100_000)


def refuse(connection: socket.socket) -> None:
    """Answer the head and leave: the kernel resets the connection over what was never read."""
    connection.recv(1000)
    connection.sendall(REFUSAL)


class ClosingOrigin(RawEcho):
    """Says Close 1002 to the first frame, and leaves as `refuse` does."""

    def serve(self, connection: socket.socket) -> None:
        self._accept_websocket(connection)
        connection.recv(10)
        connection.sendall(frame(FIN | CLOSE, b"\x03\xea", key=None))


@pytest.fixture(scope="module")
def proxy(front: Front) -> Iterator[Hopward]:
    with Listener(refuse) as uploads, ClosingOrigin() as tunnels:
        origins = {UPLOADS: uploads, TUNNELS: tunnels}
        yield front({name: f"http://127.0.0.1:{each.port}" for name, each in origins.items()})


@pytest.mark.parametrize("attempt", range(10))
def test_a_refusal_reaches_a_client_that_is_still_uploading(
    proxy: Hopward, authority: Authority, attempt: int
) -> None:
    with TLSClient(proxy.https, UPLOADS, cafile=authority.pem) as client:
        fields = b"Content-Length: %d" % (100 * len(PIECE))
        client.send(get(b"/%d" % attempt, UPLOADS, fields, method=b"POST"))
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                client.send(PIECE)
        answer = read_answer(client, b"POST")
    assert (answer.status, answer.content) == (413, b"big\n")


@pytest.mark.parametrize("attempt", range(10))
def test_a_close_reaches_a_client_that_is_still_sending_frames(
    proxy: Hopward, authority: Authority, attempt: int
) -> None:
    with TLSClient(proxy.https, TUNNELS, cafile=authority.pem) as client:
        _, stream = open_websocket(client, TUNNELS, f"/{attempt}")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                client.send(frame(FIN | BINARY, bytes(1000)))
        assert stream.next() == Frame(FIN | CLOSE, False, b"\x03\xea")
