"""Whether a request may go on: in which order it is asked, and on whose behalf."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from proxy.admission import Peer, route_of, sender_of
from proxy.config import Config
from proxy.errors import ClientError
from proxy.head import RequestHead, read_request
from proxy.quotas import Quotas
from proxy.routing import Route, Table

SELDOM = {"requests": 1, "per": "2s"}
SITES = Config.model_validate(
    {
        "sites": {
            "a": {
                "to": "http://127.0.0.1:1",
                "allow": ["192.0.2.0/24"],
                "routes": {"/open/": {"allow": []}, "/seldom/": {"rate_limit": SELDOM}},
            },
            "b": {"routes": {"/only/": "http://127.0.0.1:2"}},
        }
    }
).sites
TABLE = Table(SITES)
QUOTAS = Quotas()
QUOTAS.join()
TRUSTED = [ip_network("10.0.0.0/8")]


def head(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes = b"a") -> RequestHead:
    return read_request(b"\r\n".join([line, b"Host: " + host, *fields, b"", b""]))


def asked(
    request: RequestHead, address: str = "192.0.2.1", *, refused: bool = False
) -> Route | None:
    """What becomes of a request on a connection for `a`."""
    peer = Peer.of(address, TRUSTED)._replace(refused=refused)
    sender = sender_of(peer, request.fields, b"7f", TRUSTED)
    site = TABLE.site("a")
    assert site is not None
    return route_of(request, sender, peer, site, TABLE, QUOTAS)


def refusal(request: RequestHead, address: str = "192.0.2.1", *, refused: bool = False) -> int:
    with pytest.raises(ClientError) as caught:
        asked(request, address, refused=refused)
    return caught.value.status


def test_a_request_whom_nothing_stops_gets_its_route() -> None:
    route = asked(head())
    assert route is not None
    assert route.config.to[0].port == 1


def test_a_network_that_is_not_allowed_is_403() -> None:
    assert refusal(head(), "198.51.100.1") == 403


def test_a_route_says_itself_who_is_allowed() -> None:
    assert asked(head(b"GET /open/ HTTP/1.1"), "198.51.100.1") is not None


def test_who_speaks_for_others_is_judged_by_whom_it_speaks_for() -> None:
    allowed = head(b"GET / HTTP/1.1", b"X-Forwarded-For: 192.0.2.9")
    assert asked(allowed, "10.0.0.1") is not None
    other = head(b"GET / HTTP/1.1", b"X-Forwarded-For: 198.51.100.1")
    assert refusal(other, "10.0.0.1") == 403


def test_who_is_not_trusted_speaks_for_itself_alone() -> None:
    assert refusal(head(b"GET / HTTP/1.1", b"X-Forwarded-For: 192.0.2.9"), "198.51.100.1") == 403


@pytest.mark.parametrize(
    ("line", "host", "refused", "status"),
    [
        (b"TRACE / HTTP/1.1", b"c", True, 405),
        (b"GET / HTTP/1.1", b"c", True, 503),
        (b"GET / HTTP/1.1", b"c", False, 404),
        (b"GET / HTTP/1.1", b"b", False, 421),
        (b"GET / HTTP/1.1", b"a", False, 403),
    ],
)
def test_of_several_reasons_to_refuse_the_first_is_told(
    line: bytes, host: bytes, refused: bool, status: int
) -> None:
    assert refusal(head(line, host=host), "198.51.100.1", refused=refused) == status


def test_who_may_not_come_in_spends_nobodys_tokens() -> None:
    seldom = head(b"GET /seldom/ HTTP/1.1", b"X-Forwarded-For: 192.0.2.50")
    assert refusal(seldom, "198.51.100.1") == 403
    assert asked(seldom, "10.0.0.1") is not None
    with pytest.raises(ClientError) as caught:
        asked(seldom, "10.0.0.1")
    assert (caught.value.status, caught.value.retry_after) == (429, 2)


def test_an_options_at_its_last_hop_is_the_proxys_own() -> None:
    assert asked(head(b"OPTIONS / HTTP/1.1", b"Max-Forwards: 0")) is None


def test_a_mapped_address_is_the_one_that_it_stands_for() -> None:
    assert Peer.of("::ffff:10.0.0.1", TRUSTED) == Peer("10.0.0.1", trusted=True)


def test_an_id_counts_from_a_trusted_proxy_only() -> None:
    fields = head(b"GET / HTTP/1.1", b"X-Request-ID: theirs").fields
    ids = [
        sender_of(Peer(address, trusted), fields, b"7f", TRUSTED).request_id
        for address, trusted in (("10.0.0.1", True), ("192.0.2.1", False))
    ]
    assert ids == [b"theirs", b"7f"]
