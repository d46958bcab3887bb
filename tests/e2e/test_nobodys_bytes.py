"""No byte of one exchange reaches another client, whatever goes wrong on shared connections.

Many clients ask at the same time, over few connections to an origin that answers well or with one
of a hundred faults; some leave before or within the answer. Every content names its owner.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client
from tests.faulty_origin import ANSWERS, CORPUS, FAULTS, GOOD, FaultyOrigin, content
from tests.message_stream import StreamEndedError
from tests.programs import Hopward
from tests.tls_client import TLSClient
from tests.wire.corpus import LIMITS, Whole, next_whole

CLIENTS, EXCHANGES = 8, 500
TOKEN = re.compile(rb"t[0-9a-f]{8}")


@pytest.fixture(scope="module")
def origin() -> Iterator[FaultyOrigin]:
    with FaultyOrigin() as faulty:
        yield faulty


@pytest.fixture(scope="module")
def proxy(front: Front, origin: FaultyOrigin) -> Hopward:
    limits = {"response_head": LIMITS["response_head"]}
    return front({HOST: origin.url}, limits=limits)


class Asking:
    """One client that asks for one answer after the other; `heard` is all it got for the latest."""

    def __init__(self, proxy: Hopward, authority: Authority, seed: int) -> None:
        self._proxy, self._authority = proxy, authority
        self._chance = random.Random(seed)
        self._client: Client | None = None
        self.outcomes = Counter[str]()

    def ask(self) -> None:
        chance = self._chance
        token = b"t%08x" % chance.getrandbits(32)
        pools: list[list[str]] = [list(GOOD), list(FAULTS), list(ANSWERS)]
        name = chance.choice(chance.choices(pools, [5, 3, 2])[0])
        method = chance.choice([b"GET", b"GET", b"GET", b"HEAD", b"POST"])
        client, self._client = self._client or self._connected(), None
        client.send(request(method, token, name))
        leaves = chance.random() < 0.1
        if leaves:
            client.wire.reset()
            self.outcomes["left"] += 1
            return
        self._judge(client, method, token, name)

    def _judge(self, client: Client, method: bytes, token: bytes, name: str) -> None:
        try:
            answer = final(client, bodiless=method == b"HEAD")
        except StreamEndedError as error:
            assert not client.clean, name
            assert name not in GOOD, name
            owned(token, str(error).encode())
            client.wire.close()
            self.outcomes["broken"] += 1
            return
        owned(token, b"".join(answer.lines) + answer.content + bytes(client.ahead))
        status = answer.lines[0].split(b" ")[1]
        if status == b"502":
            assert name not in GOOD or method == b"POST", name
        elif name in CORPUS:
            assert (method, answer.content) == (b"HEAD", b""), name
        else:
            assert b"X-Token: " + token in answer.lines, name
            whole = b"" if method == b"HEAD" or status in (b"204", b"304") else content(token)
            assert answer.content == whole, name
        self.outcomes[status.decode()] += 1
        if b"Connection: close" in answer.lines:
            assert client.ending() == (b"", True), name
            client.wire.close()
        else:
            self._client = client

    def _connected(self) -> Client:
        return Client(TLSClient(self._proxy.https, HOST, cafile=self._authority.pem))

    def leave(self) -> None:
        if self._client is not None:
            self._client.wire.close()


def request(method: bytes, token: bytes, name: str) -> bytes:
    line = b"%b /%b/%b HTTP/1.1\r\nHost: %b\r\n" % (method, token, name.encode(), HOST.encode())
    return line + (b"Content-Length: 9\r\n\r\n" + token if method == b"POST" else b"\r\n")


def final(client: Client, *, bodiless: bool) -> Whole:
    """The final response; interim ones are none of anybody's content."""
    while (answer := next_whole(client, bodiless=bodiless)).lines[0].startswith(b"HTTP/1.1 1"):
        pass
    return answer


def owned(token: bytes, octets: bytes) -> None:
    """Whatever names an owner names this one."""
    assert {*TOKEN.findall(octets)} <= {token}


def test_no_byte_of_an_exchange_reaches_another_client(
    proxy: Hopward, authority: Authority, origin: FaultyOrigin
) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")

    def run(number: int) -> Counter[str]:
        asking = Asking(proxy, authority, seed + number)
        try:
            for _ in range(EXCHANGES):
                asking.ask()
        finally:
            asking.leave()
        return asking.outcomes

    with ThreadPoolExecutor(CLIENTS) as clients:
        outcomes = sum(clients.map(run, range(CLIENTS)), Counter[str]())
    print(f"{outcomes}, {origin.reused} of {origin.answered} on used connections")
    assert outcomes.total() == CLIENTS * EXCHANGES
    # Faults of each kind have met connections that were shared.
    assert min(outcomes[kind] for kind in ("200", "502", "broken", "left")) > EXCHANGES // 5
    assert origin.reused > EXCHANGES
    assert not proxy.says("Traceback")
