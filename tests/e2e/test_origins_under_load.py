"""Origins that are killed and come back while clients keep asking, on two workers.

What is under way on an origin that dies may fail; nothing that begins later does.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.http_client import exchange, get
from tests.programs import Program, accepts, free_port, wait_for
from tests.tls_client import TLSClient

HOST = "pair.example.com"
PROGRAM = Path(__file__).with_name("letter_origin.py")
CLIENTS = 8
KEPT = 25  # requests on one connection of a client


class Asked(NamedTuple):
    """One request: when it began, and the origin's letter, or the status of another answer."""

    began: float
    answer: str


class Load:
    """Clients that ask one request after the other, GET and POST in turn, until they are told."""

    def __init__(self, port: int, authority: Authority) -> None:
        self.asked: list[Asked] = []
        self._port, self._authority = port, authority
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def _ask(self) -> None:
        while not self._stop.is_set():
            with TLSClient(self._port, HOST, cafile=self._authority.pem) as client:
                for number in range(KEPT):
                    self.asked.append(self._one(client, number))

    def _one(self, client: TLSClient, number: int) -> Asked:
        began = time.monotonic()
        request = (
            get(b"/", HOST, b"Content-Length: 0", method=b"POST") if number % 2 else get(b"/", HOST)
        )
        answer = exchange(client, request)
        return Asked(began, answer.content.decode() if answer.status == 200 else str(answer.status))

    def goes_on(self, requests: int = 200) -> Counter[str]:
        """What so many further requests are answered with."""
        before = len(self.asked)
        wait_for(lambda: len(self.asked) >= before + requests, what="further requests")
        return Counter(each.answer for each in self.asked[before:])

    def failed(self) -> list[Asked]:
        return [each for each in self.asked if each.answer not in ("a", "b")]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


class Pair:
    """Two origins, each a process of its own at a port of its own."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.ports = {letter: free_port() for letter in "ab"}
        self._folder, self._running = folder, running
        self._programs: dict[str, Program] = {}

    def start(self, letter: str) -> None:
        port = self.ports[letter]
        program = Program(
            f"origin-{letter}",
            [sys.executable, PROGRAM, str(port), letter],
            self._folder,
            until=lambda: accepts(port),
        )
        self._programs[letter] = self._running.enter_context(program)

    def kill(self, letter: str) -> float:
        """End an origin in the midst of its work; returns the moment at which it was gone."""
        process = self._programs[letter].process
        process.kill()
        process.wait()
        return time.monotonic()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as running:
        pair = Pair(tmp_path, running)
        for letter in "ab":
            pair.start(letter)
        yield pair


def test_only_requests_under_way_on_an_origin_fail_when_it_dies(
    pair: Pair, front: Front, authority: Authority
) -> None:
    proxy = front({HOST: [f"http://127.0.0.1:{port}" for port in pair.ports.values()]}, workers=2)
    gone: list[float] = []
    with Load(proxy.https, authority) as load:
        assert set(load.goes_on()) == {"a", "b"}
        for dying, other in ("ab", "ba", "ab"):
            gone.append(pair.kill(dying))
            load.goes_on(20)
            assert set(load.goes_on()) == {other}
            pair.start(dying)
            wait_for(lambda dying=dying: load.goes_on(20)[dying], what="answers of it")  # type: ignore[misc]
    # The clients have one request under way each, and half of them go to each origin.
    assert len(load.failed()) <= CLIENTS * len(gone)
    late = [each for each in load.failed() if not any(at - 0.5 < each.began < at for at in gone)]
    assert late == []
