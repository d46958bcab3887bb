"""How servers as people run them understand what the proxy forwards.

One request in, at most one request seen behind it, with the same method, target, Host and content.
HOPWARD_READERS_EXAMPLES makes the number of messages for each server another one.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.fuzz.targets import found_by_h11
from tests.message_stream import Stream, StreamEndedError
from tests.programs import Hopward, requires
from tests.readers.messages import Valid, damaged, valid
from tests.readers.record import Seen
from tests.readers.servers import DIRECT, FORWARDING, Server, serving
from tests.tls_client import TLSClient
from tests.wire.corpus import LIMITS
from tests.wire.rooms import Requests

EXAMPLES = int(os.environ.get("HOPWARD_READERS_EXAMPLES", "40"))
HOST = "app.example.com"
INSTALL = {"nginx": "apt-get install nginx", "haproxy": "apt-get install haproxy"}
NAMES = [
    pytest.param(name, marks=[requires(name, INSTALL[name])] if name in INSTALL else [])
    for name in (*DIRECT, *FORWARDING)
]
ENOUGH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Behind:
    """A proxy before one server."""

    def __init__(self, server: Server, proxy: Hopward, authority: Authority, name: str) -> None:
        self.server, self.name = server, name
        self._proxy, self._authority = proxy, authority

    def tell(self, octets: bytes) -> tuple[list[int], list[Seen], list[Seen]]:
        """Statuses of all answers; what the pure rooms forward, and what the server understood."""
        rooms = Requests()
        rooms.receive(octets)
        forwarded = [
            Seen.of(method, target, dict(fields)[b"host"], body)
            for (method, target, fields), body in found_by_h11(bytes(rooms.sent))
        ]
        answers = len(forwarded) + (rooms.refusal is not None)
        with TLSClient(self._proxy.https, HOST, cafile=self._authority.pem) as client:
            client.send(octets)
            statuses = _statuses(Stream(client.recv), answers, forwarded)
        return statuses, forwarded, self.server.record.new()

    def meant(self, seen: Seen) -> Seen:
        """The same request as far as every server tells it."""
        target = seen.target
        if self.name == "caddy":  # Go writes escapes its own way
            target = urllib.parse.unquote(target, "latin-1")
        return seen._replace(target=target.rstrip("?"))


def _statuses(stream: Stream, answers: int, forwarded: list[Seen]) -> list[int]:
    statuses: list[int] = []
    while len(statuses) < answers:
        head_only = len(statuses) < len(forwarded) and forwarded[len(statuses)].method == "HEAD"
        try:
            head = stream.head()
            if head.status >= 200:
                stream.rest_of(head, bodiless=head_only)
                statuses.append(head.status)
        except StreamEndedError:
            break
    return statuses


@pytest.fixture(scope="module", params=NAMES)
def behind(
    request: pytest.FixtureRequest,
    front: Front,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Behind]:
    with ExitStack() as running:
        folder: Path = tmp_path_factory.mktemp(request.param)
        server = running.enter_context(serving(request.param, folder))
        proxy = front({HOST: f"http://127.0.0.1:{server.port}"}, limits=LIMITS)
        yield Behind(server, proxy, authority, request.param)


@ENOUGH
@given(valid(HOST.encode()))
def test_a_server_understands_a_request_as_it_was_meant(behind: Behind, meant: Valid) -> None:
    statuses, _, seen = behind.tell(meant.octets)
    method, target = meant.method.decode(), meant.target.decode("latin-1")
    assert list(map(behind.meant, seen)) == [behind.meant(Seen(method, target, HOST, meant.body))]
    assert statuses == [200]


@ENOUGH
@given(st.lists(valid(HOST.encode()), min_size=2, max_size=3))
def test_requests_ahead_of_their_answers_are_understood_one_by_one(
    behind: Behind, meant: list[Valid]
) -> None:
    _, _, seen = behind.tell(b"".join(each.octets for each in meant))
    told = [Seen(it.method.decode(), it.target.decode("latin-1"), HOST, it.body) for it in meant]
    assert list(map(behind.meant, seen)) == list(map(behind.meant, told))


@ENOUGH
@given(damaged(HOST.encode()))
def test_a_server_sees_no_request_that_the_proxy_does_not_see(
    behind: Behind, octets: bytes
) -> None:
    """It may refuse what the proxy forwards; it may never find something else in it."""
    statuses, forwarded, seen = behind.tell(octets)
    refused = [status for status in statuses if status != 200]
    rest = iter(map(behind.meant, forwarded))
    assert all(each in rest for each in map(behind.meant, seen)), (seen, forwarded)
    assert len(seen) + len(refused) == len(statuses)
