"""Origins that go and come: who gets requests meanwhile, and who hears of it.

Two workers, so that what one finds out is seen to hold for the other where it should.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.wire.client import Client, Dial
from tests.http_client import get
from tests.message_stream import Head, Stream, StreamEndedError
from tests.origins import Listener
from tests.programs import Hopward, free_port, wait_for
from tests.tls_client import TLSClient

CHECKED, ALONE, ELSEWHERE = "checked.example.com", "alone.example.com", "elsewhere.example.com"
EVERY = "200ms"


class Origin(Listener):
    """Answers requests with its letter and checks with its `status`; notes what came."""

    def __init__(self, letter: bytes, port: int = 0) -> None:
        super().__init__(port=port)
        self.letter = letter
        self.status = 200
        self.checks: list[Head] = []
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        stream = Stream(lambda: connection.recv(65536))
        with contextlib.suppress(StreamEndedError):
            while True:
                self.answer(connection, stream.head())

    def answer(self, connection: socket.socket, head: Head) -> None:
        if head.line == b"GET /health HTTP/1.1":
            self.checks.append(head)
            connection.sendall(b"HTTP/1.1 %d .\r\nContent-Length: 0\r\n\r\n" % self.status)
        else:
            self.requests += 1
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + self.letter)


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Origin, Origin]]:
    with Origin(b"a") as first, Origin(b"b") as second:
        yield first, second


@pytest.fixture(scope="module")
def running(both: tuple[Origin, Origin], front: Front) -> Hopward:
    health = {"path": "/health", "every": EVERY}
    urls = [origin.url for origin in both]
    return front(
        {
            CHECKED: {"to": urls, "health": health},
            ALONE: {"to": urls[0], "health": health},
            ELSEWHERE: {"to": f"http://127.0.0.1:{free_port()}"},
        },
        workers=2,
    )


class Word:
    """What the proxy says of its upstreams, from when this was made."""

    def __init__(self, proxy: Hopward) -> None:
        self._proxy = proxy
        self._begin = len(proxy.stderr_text())

    def of(self, event: str, site: str = CHECKED) -> dict[str, Any]:
        """The next line about a site, waited for."""
        return wait_for(lambda: self.all(event, site=site), what=f"{event} of {site}")[0]

    def all(self, *names: str, site: str = CHECKED) -> list[dict[str, Any]]:
        """Every line about a site so far."""
        text = self._proxy.stderr_text()[self._begin :]
        lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        return [line for line in lines if line["event"] in names and site in line["sites"]]


@pytest.fixture
def word(running: Hopward) -> Word:
    return Word(running)


@pytest.fixture
def pair(
    both: tuple[Origin, Origin], running: Hopward, word: Word
) -> Iterator[tuple[Origin, Origin]]:
    """The origins, which are well again for the next test."""
    yield both
    for origin in both:
        origin.status = 200
        origin.checks.clear()
    sites = [(CHECKED, both[0]), (CHECKED, both[1]), (ALONE, both[0])]
    wait_for(lambda: not any(_ill(word, *each) for each in sites), what="two well origins")


def _ill(word: Word, site: str, origin: Origin) -> bool:
    told = [
        line
        for line in word.all("upstream-up", "upstream-down", site=site)
        if line["origin"] == origin.url
    ]
    return bool(told) and told[-1]["event"] == "upstream-down"


@pytest.fixture
def dial(running: Hopward, authority: Authority) -> Iterator[Dial]:
    with ExitStack() as connections:

        def connect(host: str = CHECKED) -> Client:
            wire = TLSClient(running.https, host, cafile=authority.pem)
            return Client(connections.enter_context(wire))

        yield connect


def answers(dial: Dial, host: str = CHECKED, requests: int = 12) -> set[bytes]:
    """What several requests, each on a connection of its own, are answered with."""
    return {_answer(dial(host), host) for _ in range(requests)}


def _answer(client: Client, host: str) -> bytes:
    client.send(get(b"/", host))
    message = client.message()
    return message.content if message.status == 200 else b"%d" % message.status


# What checks find.


def test_an_origin_that_its_checks_find_ill_gets_no_requests_from_any_worker(
    word: Word, dial: Dial, pair: tuple[Origin, Origin]
) -> None:
    assert answers(dial) == {b"a", b"b"}
    pair[0].status = 503
    word.of("upstream-down")
    before = pair[0].requests
    assert answers(dial) == {b"b"}
    assert pair[0].requests == before
    pair[0].status = 204
    word.of("upstream-up")
    assert answers(dial) == {b"a", b"b"}


def test_where_checks_find_no_origin_well_the_answer_is_503(
    word: Word, dial: Dial, pair: tuple[Origin, Origin]
) -> None:
    assert answers(dial, ALONE, 1) == {b"a"}
    pair[0].status = 500
    word.of("upstream-down", ALONE)
    assert answers(dial, ALONE) == {b"503"}
    pair[0].status = 200
    word.of("upstream-up", ALONE)
    assert answers(dial, ALONE) == {b"a"}


def test_word_of_an_origin_comes_once_however_many_workers_there_are(
    word: Word, pair: tuple[Origin, Origin]
) -> None:
    pair[1].status = 503
    word.of("upstream-down")
    pair[1].status = 200
    word.of("upstream-up")
    told = [
        {key: value for key, value in line.items() if key != "time"}
        for line in word.all("upstream-down", "upstream-up")
        if line["origin"] == pair[1].url
    ]
    about = {"sites": [CHECKED], "origin": pair[1].url, "seen_by": "checks"}
    assert told == [
        {"level": "warning", "event": "upstream-down", **about, "reason": "status 503"},
        {"level": "info", "event": "upstream-up", **about},
    ]


def test_a_check_is_a_clients_request_in_all_but_its_sender(
    pair: tuple[Origin, Origin],
) -> None:
    wait_for(lambda: pair[1].checks, what="a check")
    check = pair[1].checks[0]
    assert check.value("host") == CHECKED.encode()
    assert check.value("user-agent") == b"hopward-health-check"
    assert check.value("x-forwarded-proto") == b"https"


def test_another_worker_takes_the_checks_over_from_one_that_dies(
    running: Hopward, pair: tuple[Origin, Origin]
) -> None:
    wait_for(lambda: pair[1].checks, what="a check")
    for worker in running.workers():
        os.kill(worker, signal.SIGKILL)
        pair[1].checks.clear()
        wait_for(lambda: len(pair[1].checks) > 2, what="further checks")


def test_what_checks_found_is_known_after_a_reload(
    running: Hopward, word: Word, dial: Dial, pair: tuple[Origin, Origin]
) -> None:
    """Nobody is sent to an origin that was ill a moment ago."""
    pair[0].status = 503
    word.of("upstream-down", ALONE)
    before = pair[0].requests
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: running.says('"reloaded"'), what="the reload")
    assert answers(dial, ALONE) == {b"503"}
    assert pair[0].requests == before
    pair[0].checks.clear()
    wait_for(lambda: pair[0].checks, what="the checks of the new workers")


def test_a_tunnel_outlives_the_health_of_its_origin(front: Front, authority: Authority) -> None:
    """What runs is not cut because somebody else would not be sent there."""
    ill = [False]

    def serve(connection: socket.socket) -> None:
        stream = Stream(lambda: connection.recv(65536))
        head = stream.head()
        if head.values("upgrade"):
            connection.sendall(b"HTTP/1.1 101 .\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            while octets := connection.recv(100):
                connection.sendall(octets)
        else:
            connection.sendall(b"HTTP/1.1 %d .\r\n\r\n" % (500 if ill[0] else 200))

    with Listener(serve) as origin:
        url = f"http://127.0.0.1:{origin.port}"
        proxy = front({ALONE: {"to": url, "health": {"path": "/", "every": EVERY}}})
        word = Word(proxy)
        with TLSClient(proxy.https, ALONE, cafile=authority.pem) as wire:
            client = Client(wire)
            client.send(get(b"/", ALONE, b"Connection: upgrade", b"Upgrade: echo"))
            client.until(b"\r\n\r\n")
            ill[0] = True
            word.of("upstream-down", ALONE)
            client.send(b"still here")
            assert client.exactly(10) == b"still here"


# What requests find.


def test_word_of_an_origin_that_cannot_be_reached_names_the_sites_it_is_needed_for(
    word: Word, dial: Dial
) -> None:
    assert answers(dial, ELSEWHERE, 1) == {b"502"}
    told = word.of("upstream-down", ELSEWHERE)
    assert (told["sites"], told["reason"], told["seen_by"]) == (
        [ELSEWHERE], "refused", "requests",
    )  # fmt: skip


def test_an_only_origin_that_comes_back_is_served_from_at_once(
    front: Front, authority: Authority
) -> None:
    """Nobody is fenced off by failures of the past: the next request tries."""
    port = free_port()
    proxy = front({ALONE: f"http://127.0.0.1:{port}"})
    with TLSClient(proxy.https, ALONE, cafile=authority.pem) as wire:
        client = Client(wire)
        assert [_answer(client, ALONE) for _ in range(5)] == [b"502"] * 5
        with Origin(b"a", port):
            assert _answer(client, ALONE) == b"a"
