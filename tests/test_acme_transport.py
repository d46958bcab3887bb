"""One exchange with an authority: bounded in time and size, whatever the other side does."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from acme_client import SettingsError, Stopped
from acme_client.errors import Retry
from acme_client.transport import LARGEST_ANSWER, Transport, tls_context

Talk = Callable[[socket.socket, threading.Event], None]
Serve = Callable[[Talk], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that talks as a test says; gives its URL."""
    ended = threading.Event()
    with ExitStack() as running:

        def started(talk: Talk) -> str:
            class _Visit(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    talk(self.request, ended)

            server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Visit)
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            running.callback(thread.join)
            running.callback(server.server_close)
            running.callback(server.shutdown)
            running.callback(ended.set)
            return f"http://127.0.0.1:{server.server_address[1]}/dir?a=b"

        yield started


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport(deadline=0.5)
    yield transport
    transport.close()


def drips(head: bytes) -> Talk:
    def talk(peer: socket.socket, ended: threading.Event) -> None:
        peer.recv(65536)
        try:
            peer.sendall(head)
            while not ended.wait(0.02):
                peer.sendall(b"x")
        except OSError:
            pass

    return talk


def answers(response: bytes, *, close: bool = False) -> Talk:
    def talk(peer: socket.socket, ended: threading.Event) -> None:
        while peer.recv(65536):
            peer.sendall(response)
            if close:
                return

    return talk


def hangs(peer: socket.socket, ended: threading.Event) -> None:
    ended.wait()


@pytest.mark.parametrize(
    "talk",
    [
        hangs,
        drips(b""),
        drips(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
        drips(b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
    ids=["hang", "status line", "field", "body", "endless body"],
)
def test_a_call_ends_at_its_deadline(serve: Serve, transport: Transport, talk: Talk) -> None:
    url, begun = serve(talk), time.monotonic()
    with pytest.raises(Retry, match=r"no complete answer within 0\.5 s"):
        transport.send("GET", url)
    assert time.monotonic() - begun < 1.5


def test_a_call_ends_when_work_is_stopped(serve: Serve) -> None:
    stop = threading.Event()
    transport = Transport(deadline=30.0, stop=stop)
    url = serve(drips(b"HTTP/1.1 200 OK\r\nX-Slow: "))
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Stopped):
        transport.send("GET", url)
    assert time.monotonic() - begun < 1.0
    timer.join()


def test_a_call_that_was_given_up_leaves_no_thread(serve: Serve, transport: Transport) -> None:
    url = serve(hangs)
    with pytest.raises(Retry):
        transport.send("GET", url)
    calls = [thread for thread in threading.enumerate() if thread.name == "acme-call"]
    for thread in calls:
        thread.join(5)
    assert not [thread for thread in calls if thread.is_alive()]


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (LARGEST_ANSWER * 2)
        + bytes(LARGEST_ANSWER * 2),
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(LARGEST_ANSWER * 2),
    ],
    ids=["declared", "not declared"],
)
def test_an_answer_that_is_too_large_is_not_read_to_its_end(serve: Serve, response: bytes) -> None:
    transport = Transport(deadline=10.0)
    with pytest.raises(Retry, match="larger than 1048576 bytes"):
        transport.send("GET", serve(answers(response, close=True)))


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "the answer broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx", "the answer broke off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
        (b"", "closed connection"),
    ],
    ids=["short", "short chunk", "no HTTP", "nothing"],
)
def test_a_broken_answer_is_told_as_such(
    serve: Serve, transport: Transport, response: bytes, words: str
) -> None:
    with pytest.raises(Retry, match=words):
        transport.send("GET", serve(answers(response, close=True)))


def test_nobody_there_is_told_as_such(transport: Transport) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(Retry, match="Connection refused"):
            transport.send("GET", f"http://127.0.0.1:{bound.getsockname()[1]}/")


def test_fields_of_one_name_are_one_list(serve: Serve, transport: Transport) -> None:
    url = serve(
        answers(b"HTTP/1.1 200 OK\r\nLink: <a>\r\nlink: <b>\r\nContent-Length: 2\r\n\r\n{}")
    )
    answer = transport.send("GET", url)
    assert (answer.status, answer.fields["link"], answer.json()) == (200, "<a>, <b>", {})


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_told_with_its_beginning(
    serve: Serve, transport: Transport, body: bytes
) -> None:
    url = serve(answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body))
    with pytest.raises(Retry, match="no JSON object"):
        transport.send("GET", url).json()


def test_a_connection_is_used_again(serve: Serve, transport: Transport) -> None:
    visits = []

    def talk(peer: socket.socket, ended: threading.Event) -> None:
        visits.append(peer)
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(peer, ended)

    url = serve(talk)
    for _ in range(3):
        transport.send("GET", url)
    assert len(visits) == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(
    serve: Serve, transport: Transport
) -> None:
    url = serve(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", close=True))
    assert [transport.send("GET", url).status for _ in range(3)] == [200, 200, 200]


def test_an_unreadable_bundle_is_named(tmp_path: Path) -> None:
    bundle = tmp_path / "roots.pem"
    with pytest.raises(SettingsError, match=r"roots\.pem"):
        tls_context(bundle)
    bundle.write_text("no PEM")
    with pytest.raises(SettingsError, match=r"roots\.pem"):
        tls_context(bundle)


def test_a_call_goes_through_the_proxy_of_the_environment(
    serve: Serve, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []

    def talk(peer: socket.socket, ended: threading.Event) -> None:
        heard.append(peer.recv(65536))
        peer.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    monkeypatch.setenv("https_proxy", serve(talk))
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(Retry, match="Tunnel connection failed: 403"):
        transport.send("GET", "https://ca.invalid/dir")
    assert heard[0].startswith(b"CONNECT ca.invalid:443 HTTP/1.")
