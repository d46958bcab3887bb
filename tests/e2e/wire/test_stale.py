"""Servers that end kept connections at awkward moments: no client pays for it with a 502.

POST, because it must not be sent twice: what is stale has to be known beforehand.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.wire.client import Client
from tests.http_client import get
from tests.message_stream import Stream, StreamEndedError
from tests.origins import Listener
from tests.programs import Hopward
from tests.scripted_origin import OK
from tests.tls_client import TLSClient

FORGETFUL, TIRED = "forgetful.example.com", "tired.example.com"
# Longer than what the proxy takes for fresh, and than a shared machine's hiccups.
TIRES_AFTER = 0.9
CLIENTS = 8


class Forgetful(Listener):
    """Ends each connection right after the third answer, without having said so."""

    def serve(self, connection: socket.socket) -> None:
        stream = Stream(lambda: connection.recv(65536))
        with suppress(StreamEndedError):
            for _ in range(3):
                stream.head()
                connection.sendall(OK)


class Tired(Listener):
    """Ends a connection after some silence, and tells the test just before."""

    def __init__(self) -> None:
        super().__init__()
        self.ending = threading.Semaphore(0)

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(TIRES_AFTER)
        stream = Stream(lambda: connection.recv(65536))
        with suppress(StreamEndedError):
            while True:
                try:
                    stream.head()
                except TimeoutError:
                    self.ending.release()
                    return
                connection.sendall(OK)


@pytest.fixture(scope="module")
def tired() -> Iterator[Tired]:
    with Tired() as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(tired: Tired, front: Front) -> Iterator[Hopward]:
    with Forgetful() as forgetful:
        yield front(
            {
                FORGETFUL: f"http://127.0.0.1:{forgetful.port}",
                TIRED: f"http://127.0.0.1:{tired.port}",
            }
        )


@pytest.fixture
def clients(proxy: Hopward, authority: Authority) -> Iterator[list[Client]]:
    with ExitStack() as connections:
        yield [
            Client(connections.enter_context(TLSClient(proxy.https, host, cafile=authority.pem)))
            for host in (FORGETFUL, TIRED)
            for _ in range(CLIENTS)
        ]


def post(client: Client, host: str) -> int:
    client.send(get(b"/", host, b"Content-Length: 0", method=b"POST"))
    return client.message().status


def test_a_post_never_meets_the_end_of_a_connection_whose_server_gave_no_word_of_it(
    clients: list[Client],
) -> None:
    """Not the very first: nothing could tell that this server is like that."""
    seen: list[int] = []

    def go_on(client: Client) -> None:
        seen.extend(post(client, FORGETFUL) for _ in range(100))

    for _ in range(3):
        post(clients[0], FORGETFUL)
    threads = [threading.Thread(target=go_on, args=(each,)) for each in clients[:CLIENTS]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [200] * 100 * CLIENTS


def test_a_post_at_the_moment_at_which_its_server_tires_of_the_connection_is_answered(
    clients: list[Client], tired: Tired
) -> None:
    for client in clients[CLIENTS:]:
        client.send(get(b"/", TIRED, b"Content-Length: 0", method=b"POST"))
    answered = [client.message().status for client in clients[CLIENTS:]]
    for client in clients[CLIENTS:]:
        assert tired.ending.acquire(timeout=10)
        answered.append(post(client, TIRED))
    assert answered == [200] * 2 * CLIENTS
