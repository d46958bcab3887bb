"""A response on its way to the client, without anybody's connection."""

from __future__ import annotations

import pytest

from proxy.config import Config
from proxy.errors import UpstreamError
from proxy.head import read_request, read_response
from proxy.reply import Reply
from proxy.routing import Table
from tests.scene import GET, reply

HTTP10 = GET.replace(b"HTTP/1.1", b"HTTP/1.0")
CHUNKED, LENGTH_5 = b"Transfer-Encoding: chunked", b"Content-Length: 5"


def begun(*fields: bytes, asked: bytes = GET, may_persist: bool = True) -> Reply:
    """The reply to `asked` whose head, as the origin sent it, has these fields."""
    config = Config.model_validate({"sites": {"a": "http://127.0.0.1:1"}})
    site = Table(config.sites).site("a")
    assert site is not None
    request = read_request(asked)
    response = read_response(reply(*fields), bodiless=request.method == b"HEAD")
    rules = site.default.rules
    return Reply(request, response, rules, config.limits, date=b"d", may_persist=may_persist)


@pytest.mark.parametrize(
    ("field", "octets"), [(LENGTH_5, b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")]
)
def test_the_end_is_made_with_the_last_octet_and_not_before(field: bytes, octets: bytes) -> None:
    made = begun(field)
    for at in range(len(octets) - 1):
        made.read(octets[at : at + 1])
        assert not made.done
    made.read(octets[-1:])
    assert made.done


@pytest.mark.parametrize(("asked", "end"), [(GET, b"0\r\n\r\n"), (HTTP10, b"")])
def test_a_body_that_ends_with_its_connection_is_whole_then(asked: bytes, end: bytes) -> None:
    made = begun(b"A: b", asked=asked)
    made.read(b"hello")
    assert not made.done
    assert made.end() == end
    assert made.done
    assert not made.upstream_persists


@pytest.mark.parametrize("field", [LENGTH_5, CHUNKED])
def test_a_body_that_breaks_off_has_no_end(field: bytes) -> None:
    made = begun(field)
    made.read(b"4\r\nh")
    with pytest.raises(UpstreamError):
        made.end()
    assert not made.done


def test_the_clients_connection_persists_only_where_both_the_client_and_the_proxy_want() -> None:
    closing = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert begun(LENGTH_5).persist
    assert not begun(LENGTH_5, may_persist=False).persist
    assert not begun(LENGTH_5, asked=closing).persist


def test_the_upstream_persists_unless_it_says_otherwise_or_said_too_much() -> None:
    for octets, persists in ((b"hello", True), (b"hello!", False)):
        made = begun(LENGTH_5)
        made.read(octets)
        assert made.upstream_persists is persists
    made = begun(LENGTH_5, b"Connection: close")
    made.read(b"hello")
    assert not made.upstream_persists
