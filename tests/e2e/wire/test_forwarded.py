"""What the proxy says of a client, and whose word it takes for it."""

from __future__ import annotations

import re

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Dial
from tests.http_client import get
from tests.message_stream import Head
from tests.programs import Hopward
from tests.scripted_origin import OK, ScriptedOrigin
from tests.tls_client import TLSClient


@pytest.fixture(scope="module")
def trusting_proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    """A proxy that believes its clients on this machine, and those of 10.0.0.0/8 behind them."""
    return front({HOST: listening.url}, trusted_proxies=["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"])


def received(dial: Dial, origin: ScriptedOrigin, *fields: bytes, host: str = HOST) -> Head:
    """The head in which a request for `host` with `fields` reaches the origin."""
    client = dial()
    client.send(get(b"/", host, *fields))
    call = origin.accept()
    head = call.head()
    call.send(OK)
    assert client.message().content == b"ok"
    call.hang_up()
    return head


def received_from_trusted(
    proxy: Hopward, authority: Authority, origin: ScriptedOrigin, *fields: bytes
) -> Head:
    """The same of a client whom the proxy trusts."""
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
        client.send(get(b"/", HOST, *fields))
        call = origin.accept()
        head = call.head()
        call.send(OK)
    call.hang_up()
    return head


# What the proxy says of the client.


def test_the_clients_address_is_one_bare_address_on_one_line(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    assert received(dial, origin).values("x-forwarded-for") == [b"127.0.0.1"]


@pytest.mark.parametrize(
    "claim",
    [
        b"X-Forwarded-For: 203.0.113.9",
        b"x-forwarded-for: 203.0.113.9, 203.0.113.10",
        b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8",
        b"X-Forwarded-For:",
        b"X-Forwarded-For: 1.2.3.4\r\nConnection: X-Forwarded-For",
    ],
)
def test_a_clients_own_claim_of_its_address_is_dropped(
    dial: Dial, origin: ScriptedOrigin, claim: bytes
) -> None:
    assert received(dial, origin, claim).values("x-forwarded-for") == [b"127.0.0.1"]


@pytest.mark.parametrize(
    "alias", [b"X_Forwarded_For", b"x-forwarded_for", b"X_Forwarded_Proto", b"X_Real_IP"]
)
def test_a_claim_spelled_with_underscores_is_dropped_too(
    dial: Dial, origin: ScriptedOrigin, alias: bytes
) -> None:
    assert alias not in [name for name, _ in received(dial, origin, alias + b": 1.2.3.4").fields]


@pytest.mark.parametrize(
    "claim",
    [b"Forwarded: for=1.2.3.4;proto=http", b"X-Real-IP: 1.2.3.4", b"X-Forwarded-Port: 1"],
)
def test_every_other_claim_of_an_untrusted_client_is_dropped(
    dial: Dial, origin: ScriptedOrigin, claim: bytes
) -> None:
    name = claim.partition(b":")[0].decode()
    assert received(dial, origin, claim).values(name) == []


def test_scheme_and_host_are_told_once_whatever_the_client_says_of_them(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    head = received(dial, origin, b"X-Forwarded-Proto: http", b"X-Forwarded-Host: evil.example")
    assert head.values("x-forwarded-proto") == [b"https"]
    assert head.values("x-forwarded-host") == [HOST.encode()]


def test_the_host_asked_for_is_told_with_its_port(dial: Dial, origin: ScriptedOrigin) -> None:
    head = received(dial, origin)
    assert head.values("host") == [HOST.encode()]
    head = received(dial, origin, host=HOST + ":8443")
    assert head.values("host") == [b"app.example.com:8443"]
    assert head.values("x-forwarded-host") == [b"app.example.com:8443"]


def test_each_request_gets_an_id_of_its_own(dial: Dial, origin: ScriptedOrigin) -> None:
    heads = [received(dial, origin, b"X-Request-ID: the-clients-own") for _ in range(3)]
    given = [value for head in heads for value in head.values("x-request-id")]
    assert len(given) == len(set(given)) == 3
    assert b"the-clients-own" not in given


def test_the_id_that_the_origin_saw_is_the_one_that_the_client_is_told(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    client.send(get(b"/", HOST))
    call = origin.accept()
    given = call.head().value("x-request-id")
    call.close()
    answer = client.message()
    assert answer.status == 502
    assert given is not None
    assert given in answer.content


def test_via_names_the_version_received_behind_those_that_stand_there(
    dial: Dial, origin: ScriptedOrigin
) -> None:
    """RFC 9110 §7.6.3."""
    assert received(dial, origin).values("via") == [b"1.1 hopward"]
    head = received(dial, origin, b"Via: 1.0 fred, 1.1 p.example.net")
    named = b", ".join(head.values("via"))
    assert named == b"1.0 fred, 1.1 p.example.net, 1.1 hopward"


# What a trusted proxy says of the client.


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        (["203.0.113.9, 10.1.2.3", "10.9.9.9"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9", "10.9.9.9"], "203.0.113.9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["2001:db8::1"], "2001:db8::1"),
        (["2001:db8::1, fd00::7"], "2001:db8::1"),
        (["203.0.113.9,"], "203.0.113.9"),
        (["203.0.113.9 ,\t, 10.1.2.3 "], "203.0.113.9"),
        (["203.0.113.9", ""], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["203.0.113.9, unknown"], "127.0.0.1"),
        (["unknown, 203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, garbage, 10.1.2.3"], "10.1.2.3"),
        (["203.0.113.9, 1.2.3.4.5"], "127.0.0.1"),
        (["203.0.113.9, \xe4"], "127.0.0.1"),
        ([], "127.0.0.1"),
        (["10.1.2.3, 10.1.2.4"], "10.1.2.3"),
    ],
)
def test_from_a_trusted_proxy_the_right_most_untrusted_address_is_the_clients(
    trusting_proxy: Hopward,
    authority: Authority,
    origin: ScriptedOrigin,
    lines: list[str],
    client: str,
) -> None:
    fields = [b"X-Forwarded-For: " + line.encode("latin-1") for line in lines]
    head = received_from_trusted(trusting_proxy, authority, origin, *fields)
    assert head.values("x-forwarded-for") == [client.encode()]


def test_a_trusted_proxys_request_id_and_other_claims_are_kept(
    trusting_proxy: Hopward, authority: Authority, origin: ScriptedOrigin
) -> None:
    fields = [b"X-Request-ID: id-1", b"Forwarded: for=1.2.3.4", b"X-Real-IP: 1.2.3.4"]
    head = received_from_trusted(trusting_proxy, authority, origin, *fields)
    assert head.values("x-request-id") == [b"id-1"]
    assert head.values("forwarded") == [b"for=1.2.3.4"]
    assert head.values("x-real-ip") == [b"1.2.3.4"]


@pytest.mark.parametrize("id_", [b"", b'"><script>', b"x" * 5000, b"a\xff", b"two words"])
def test_a_request_id_that_could_harm_a_log_is_made_anew(
    trusting_proxy: Hopward, authority: Authority, origin: ScriptedOrigin, id_: bytes
) -> None:
    head = received_from_trusted(trusting_proxy, authority, origin, b"X-Request-ID: " + id_)
    assert re.fullmatch(rb"[\w.-]{8,64}", head.value("x-request-id") or b"")


def test_a_trusted_proxy_tells_scheme_and_host_no_better_than_another(
    trusting_proxy: Hopward, authority: Authority, origin: ScriptedOrigin
) -> None:
    fields = [b"X-Forwarded-Proto: http", b"X-Forwarded-Host: inner.example"]
    head = received_from_trusted(trusting_proxy, authority, origin, *fields)
    assert head.values("x-forwarded-proto") == [b"https"]
    assert head.values("x-forwarded-host") == [HOST.encode()]


def test_connection_cannot_remove_what_a_trusted_proxy_says(
    trusting_proxy: Hopward, authority: Authority, origin: ScriptedOrigin
) -> None:
    fields = [b"Connection: X-Forwarded-For, X-Forwarded-Port", b"X-Forwarded-Port: 8443"]
    fields.append(b"X-Forwarded-For: 203.0.113.9")
    head = received_from_trusted(trusting_proxy, authority, origin, *fields)
    assert head.values("x-forwarded-for") == [b"203.0.113.9"]
    assert head.values("x-forwarded-port") == [b"8443"]


# A dual-stack listener.


def test_a_client_of_ipv4_on_a_listener_of_both_is_told_as_ipv4(
    front: Front, origin: ScriptedOrigin, authority: Authority
) -> None:
    listen = {"https": "[::]:0", "http": False, "admin": False}
    both = front({HOST: origin.url}, listen=listen)
    with TLSClient(both.https, HOST, cafile=authority.pem) as client:
        client.send(get(b"/", HOST))
        call = origin.accept()
        assert call.head().values("x-forwarded-for") == [b"127.0.0.1"]
        call.send(OK)
        assert client.recv_until(b"ok").endswith(b"ok")
