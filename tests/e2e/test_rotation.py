"""Session tickets are sealed with keys that have their day, in a proxy whose days are short."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.e2e.test_tls import finished
from tests.http_client import exchange, get
from tests.origins import Listener, answer_ok
from tests.programs import Hopward, wait_for
from tests.tls_client import TLSClient

HOST = "app.example.com"


def echo(connection: socket.socket) -> None:
    """Answer the first request with a switch, and send back whatever comes then."""
    connection.recv(65536)
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    )
    while octets := connection.recv(65536):
        connection.sendall(octets)


@pytest.fixture(scope="module")
def proxy(
    configured: Callable[..., dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hopward]:
    folder: Path = tmp_path_factory.mktemp("hopward")
    with Listener(answer_ok) as plain, Listener(echo) as live:
        to = {"/": f"http://127.0.0.1:{plain.port}", "/live": f"http://127.0.0.1:{live.port}"}
        site = {"to": to["/"], "routes": {"/live": to["/live"]}}
        config = configured({HOST: site}, workers=2, store=str(folder / "store"))
        with Hopward(folder, config, module="tests.short_days") as running:
            yield running


def test_a_session_of_days_ago_is_not_resumed(proxy: Hopward, trusting: ssl.SSLContext) -> None:
    with finished(proxy.https, trusting, None, HOST) as first:
        session = first.session

    def refused() -> bool:
        with finished(proxy.https, trusting, session, HOST) as client:
            return not client.session_reused

    wait_for(refused, what="a full handshake")


def test_workers_that_run_out_of_keys_are_replaced_and_nobody_notices(
    proxy: Hopward, authority: Authority
) -> None:
    before = set(proxy.workers())
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as tunnel:
        tunnel.send(get(b"/live", HOST, b"Connection: Upgrade", b"Upgrade: echo"))
        assert tunnel.recv().startswith(b"HTTP/1.1 101 ")

        def replaced() -> bool:
            with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
                assert exchange(client, get(b"/", HOST)).content == b"ok"
            # One of the two may live on: it has the tunnel.
            return len(before & set(proxy.workers())) <= 1

        wait_for(replaced, what="new workers")
        tunnel.send(b"still there")
        assert tunnel.recv() == b"still there"
    assert proxy.says('"event": ?"renewing-workers"')
