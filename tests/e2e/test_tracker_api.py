"""A tracker's REST API behind the proxy: every answer is the one its client gets directly."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.tracker_api import TOKEN
from tests.http_client import Answer, exchange, get
from tests.programs import Hopward, Program, accepts, free_port
from tests.tls_client import PlainClient, TLSClient

HOST = "api.example.com"
ANSWERED = [
    b"/api/health_check",
    b"/api/v1/stats?token=MyAccessToken",
    b"/api/v1/torrents?token=MyAccessToken&offset=0&limit=10",
    b"/api/v1/metrics?token=MyAccessToken&format=prometheus",
]
REFUSED = [
    (b"/api/v1/stats", 500),
    (b"/api/v1/stats?token=wrong", 401),
    (b"/api/v1/torrent/000?token=MyAccessToken", 404),
    (b"/nothing", 404),
]
TARGETS = [
    b"/target?info_hash=%00%01%FE%ff%20",
    b"/target?list[]=1&object={a:1}&either=a|b&caret=^&tick=`",
    b"/target?broken=%zz&half=%4&alone=%",
    b"/target?plus=a+b&escaped=a%2Bb&space=%20&lower=%c3%a9&upper=%C3%A9",
    b"/target?",
    b"/target?again=1?again=2&empty=&&=",
    b"/target?semi;colon&tilde=~&dots=/../x/./y&double=//",
]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port, script = free_port(), Path(__file__).with_name("tracker_api.py")
    folder = tmp_path_factory.mktemp("tracker_api")
    command = [sys.executable, str(script), str(port)]
    with Program("tracker_api", command, folder, until=lambda: accepts(port)):
        yield port


@pytest.fixture(scope="module")
def proxy(origin: int, front: Front) -> Hopward:
    return front({HOST: f"http://127.0.0.1:{origin}"})


class Ways:
    """The same request, once directly to the origin and once through the proxy."""

    def __init__(self, origin: int, proxy: Hopward, authority: Authority) -> None:
        self.origin, self.proxy, self.authority = origin, proxy, authority

    def direct(self, request: bytes) -> Answer:
        with PlainClient(self.origin) as client:
            return exchange(client, request)

    def proxied(self, request: bytes) -> Answer:
        with TLSClient(self.proxy.https, HOST, cafile=self.authority.pem) as client:
            return exchange(client, request)


@pytest.fixture
def ways(origin: int, proxy: Hopward, authority: Authority) -> Ways:
    return Ways(origin, proxy, authority)


@pytest.mark.parametrize("target", ANSWERED, ids=bytes.decode)
def test_json_and_metrics_arrive_as_the_api_gave_them(ways: Ways, target: bytes) -> None:
    direct, proxied = ways.direct(get(target, HOST)), ways.proxied(get(target, HOST))
    assert direct.status == 200
    assert proxied.essence() == direct.essence()


@pytest.mark.parametrize(("target", "status"), REFUSED)
def test_refusals_of_the_api_arrive_as_it_gave_them(ways: Ways, target: bytes, status: int) -> None:
    direct, proxied = ways.direct(get(target, HOST)), ways.proxied(get(target, HOST))
    assert direct.status == status
    assert proxied.essence() == direct.essence()


@pytest.mark.parametrize("target", TARGETS)
def test_the_bytes_of_the_target_reach_the_api_unchanged(ways: Ways, target: bytes) -> None:
    proxied = ways.proxied(get(target, HOST))
    assert proxied.content == b'{"bytes":"%s"}' % target.hex().encode()
    assert proxied.essence() == ways.direct(get(target, HOST)).essence()


@pytest.mark.parametrize("target", [*ANSWERED, b"/nothing"], ids=bytes.decode)
def test_head_has_the_fields_of_get_and_no_content(ways: Ways, target: bytes) -> None:
    request = get(target, HOST, method=b"HEAD")
    direct, proxied = ways.direct(request), ways.proxied(request)
    assert proxied.essence() == direct.essence()
    assert proxied.field("content-length") == direct.field("content-length")


def test_every_byte_value_in_a_posted_body_arrives(ways: Ways) -> None:
    content = bytes(range(256))
    fields = (b"Content-Type: application/octet-stream", b"Content-Length: 256")
    request = get(b"/target", HOST, *fields, method=b"POST") + content
    assert ways.proxied(request).content == b'{"received":"%s"}' % content.hex().encode()
    assert ways.proxied(request).essence() == ways.direct(request).essence()


def test_delete_passes_with_its_token(ways: Ways) -> None:
    request = get(f"/api/v1/whitelist?token={TOKEN}".encode(), HOST, method=b"DELETE")
    assert ways.direct(request).status == 200
    assert ways.proxied(request).essence() == ways.direct(request).essence()


def test_one_connection_carries_answers_and_refusals_one_after_the_other(
    ways: Ways, proxy: Hopward, authority: Authority
) -> None:
    targets = [*ANSWERED, *(target for target, _ in REFUSED)] * 5
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
        kept = [exchange(client, get(target, HOST)).essence() for target in targets]
    assert kept == [ways.direct(get(target, HOST)).essence() for target in targets]
