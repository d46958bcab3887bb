"""Port 80: the same URL on https, and nothing else."""

from __future__ import annotations

import pytest

from proxy.config import Config
from proxy.head import read_request
from proxy.listener import Listener
from proxy.plain import PlainConnection
from proxy.redirect import location_of, port_for_visitors, redirecting
from proxy.routing import Table
from proxy.tls import Base
from tests.playbook import Wire, on_stage, stage


def location(target: bytes, host: bytes = b"a.example", port: int = 443) -> bytes:
    head = b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    return location_of(read_request(head), port)


def test_the_location_is_the_same_url_on_https() -> None:
    assert location(b"/b?c=d") == b"https://a.example/b?c=d"


def test_a_port_that_is_not_443_is_named() -> None:
    assert location(b"/", port=8443) == b"https://a.example:8443/"


@pytest.mark.parametrize(
    ("ports", "named"), [([8443, 443], 443), ([443, 8443], 443), ([8443, 9443], 8443)]
)
def test_visitors_are_sent_to_443_where_any_listener_has_it(ports: list[int], named: int) -> None:
    assert port_for_visitors(ports) == named


@pytest.mark.parametrize("host", [b"a.example:80", b"A.Example", b"a.example.", b"a.example:"])
def test_the_port_and_spelling_of_the_plain_host_do_not_matter(host: bytes) -> None:
    assert location(b"/", host) == b"https://a.example/"


@pytest.mark.parametrize("target", [b"/a%zz", b"/[]{}|^`", b"//evil.example/", b"/%2e%2e/\\"])
def test_the_targets_bytes_stay(target: bytes) -> None:
    assert location(target) == b"https://a.example" + target


def test_absolute_form_is_redirected_to_its_own_host() -> None:
    """RFC 9112 §3.2.2."""
    assert location(b"http://b.example:80/c") == b"https://b.example/c"


def test_the_asterisk_of_options_has_no_path() -> None:
    request = read_request(b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n")
    assert location_of(request, 443) == b"https://a.example/"


def test_an_ipv6_address_keeps_its_brackets() -> None:
    assert location(b"/", b"[::1]:80", 8443) == b"https://[::1]:8443/"


# ---- a client's connection

HOST = b" HTTP/1.1\r\nHost: a.example\r\n\r\n"
TOKEN = b"/.well-known/acme-challenge/"


def connected(**config: object) -> Wire:
    """A client of a proxy with the site `a.example` and the token `known`."""
    sites = {"a.example": "http://127.0.0.1:1"}
    written = Config.model_validate({"sites": sites, **config})
    listener = Listener(written, Table(written.sites), Base(), workers=1)
    wire = Wire()
    answers = redirecting(listener, 443, {"known": b"known.print"}.get)
    wire.protocol = redirect = PlainConnection(listener, answers)
    redirect.connection_made(wire)
    return wire


def status_of(wire: Wire) -> int:
    """The status of the one answer that was written."""
    [answer] = wire.take().split(b"HTTP/1.1 ")[1:]
    return int(answer[:3])


def redirect_of(wire: Wire) -> PlainConnection:
    assert isinstance(wire.protocol, PlainConnection)
    return wire.protocol


@on_stage
async def test_a_known_host_is_redirected_and_may_ask_again() -> None:
    wire = connected()
    for target in (b"/a", b"/b"):
        wire.says(b"GET " + target + HOST)
        assert b"\r\nLocation: https://a.example" + target + b"\r\n" in wire.take()
    assert not wire.closed


@on_stage
async def test_pipelined_requests_are_answered_in_their_order() -> None:
    """RFC 9112 §9.3.2."""
    wire = connected()
    wire.says(b"GET /a" + HOST + b"GET /b" + HOST)
    first, second = wire.take().split(b"HTTP/1.1 308")[1:]
    assert (b"https://a.example/a" in first, b"https://a.example/b" in second) == (True, True)


@on_stage
async def test_an_unknown_host_is_404() -> None:
    wire = connected()
    wire.says(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n")
    assert status_of(wire) == 404


@on_stage
async def test_a_challenge_under_way_is_answered_whatever_the_host() -> None:
    """RFC 8555 §8.3."""
    wire = connected()
    wire.says(b"GET " + TOKEN + b"known HTTP/1.1\r\nHost: new.example\r\n\r\n")
    assert wire.take().endswith(b"\r\n\r\nknown.print")


@pytest.mark.parametrize("token", [b"unknown", b"", b"known/", b"../known", b"known?x"])
@on_stage
async def test_an_unknown_challenge_is_404_and_not_redirected(token: bytes) -> None:
    wire = connected()
    wire.says(b"GET " + TOKEN + token + HOST)
    assert status_of(wire) == 404


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01", 400),
        (b"CONNECT a:443" + HOST, 405),
        (b"TRACE /" + HOST, 405),
        (b"GET / HTTP/2.1\r\nHost: a.example\r\n\r\n", 505),
        (b"GET /" + b"a" * 40_000, 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 40_000, 431),
    ],
)
@on_stage
async def test_what_is_refused_is_answered_and_the_connection_ends(
    octets: bytes, status: int
) -> None:
    wire = connected()
    wire.says(octets)
    assert status_of(wire) == status


@on_stage
async def test_a_head_that_does_not_come_in_time_is_408() -> None:
    wire = connected(timeouts={"request_head": "3s"})
    wire.says(b"GET /")
    assert redirect_of(wire).deadline == stage().now + 3
    redirect_of(wire).expired()
    assert status_of(wire) == 408


@on_stage
async def test_a_silent_client_is_left_without_a_word() -> None:
    wire = connected()
    redirect_of(wire).expired()
    assert (wire.take(), wire.closed) == (b"", True)


@on_stage
async def test_a_client_that_takes_its_answer_slowly_is_waited_for_until_it_takes_nothing() -> None:
    wire = connected()
    wire.says(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
    for left in (3, 2, 1):
        wire.waiting = left
        redirect_of(wire).expired()
        assert not wire.is_closing()
    redirect_of(wire).expired()
    assert wire.aborted


@on_stage
async def test_a_client_that_does_not_read_is_read_no_further() -> None:
    wire = connected()
    redirect_of(wire).pause_writing()
    assert not wire.reading
    redirect_of(wire).resume_writing()
    assert wire.reading


@on_stage
async def test_as_many_clients_are_served_as_the_limit_says() -> None:
    wire = connected(limits={"connections": "1"})
    wire.says(b"GET /" + HOST)
    assert status_of(wire) == 308
