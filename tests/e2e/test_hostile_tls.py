"""Clients that break TLS, or would have it weaker: each ends its own connection and is told why."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from OpenSSL import SSL

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.http_client import exchange, get
from tests.origins import Listener, answer_ok
from tests.programs import Hopward, requires
from tests.tls_client import PlainClient, TLSAlertError, TLSClient

HOST = "app.example.com"
# RFC 8446 §6: level fatal, then the description.
RECORD_OVERFLOW = 22


@pytest.fixture(scope="module")
def proxy(front: Front) -> Iterator[Hopward]:
    with Listener(answer_ok) as origin:
        yield front({HOST: f"http://127.0.0.1:{origin.port}"}, workers=1)


def served(proxy: Hopward, authority: Authority) -> bool:
    """Whether another client gets its answer."""
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
        return exchange(client, get(b"/", HOST)).content == b"ok"


def greeting(name: str = HOST) -> bytes:
    """The ClientHello of an ordinary client, in its record."""
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    client.set_tlsext_host_name(name.encode())
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65536)


def answered(proxy: Hopward, *octets: bytes) -> bytes:
    """All that the proxy says to these bytes before it ends the connection."""
    said = b""
    with PlainClient(proxy.https) as client:
        try:
            for each in octets:
                client.send(each)
            client.half_close()
            while received := client.recv():
                said += received
        except ConnectionError:
            pass
    return said


def record(kind: int, content: bytes) -> bytes:
    return struct.pack("!BHH", kind, 0x0303, len(content)) + content


# Hellos.


def test_a_hello_cut_anywhere_ends_its_own_connection(proxy: Hopward, authority: Authority) -> None:
    hello = greeting()
    for end in range(0, len(hello), 97):
        answered(proxy, hello[:end])
    assert served(proxy, authority)


def test_a_hello_damaged_anywhere_ends_its_own_connection(
    proxy: Hopward, authority: Authority
) -> None:
    hello, chance = greeting(), random.Random(5)
    for _ in range(150):
        damaged = bytearray(hello)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        assert b"HTTP/1.1" not in answered(proxy, bytes(damaged))
    assert served(proxy, authority)


def test_a_hello_that_announces_a_gigantic_size_is_refused_before_it_has_come(
    proxy: Hopward, authority: Authority
) -> None:
    announced = record(22, b"\x01\xff\xff\xff" + bytes(4000))
    assert answered(proxy, announced)[0] == 21
    assert served(proxy, authority)


def test_a_record_that_is_longer_than_any_may_be_is_refused(
    proxy: Hopward, authority: Authority
) -> None:
    """RFC 8446 §5.1: at most 2^14 bytes."""
    assert answered(proxy, b"\x16\x03\x01\xff\xff" + bytes(4000))[-1] == RECORD_OVERFLOW
    assert served(proxy, authority)


def test_noise_ends_its_own_connection(proxy: Hopward, authority: Authority) -> None:
    chance = random.Random(7)
    for size in [1, 5, 100, 5000, 100_000]:
        assert b"HTTP/1.1" not in answered(proxy, chance.randbytes(size))
    assert served(proxy, authority)


# After the handshake.


def damaged(client: TLSClient, octets: bytes) -> None:
    """Say that below TLS, and hear the alert."""
    client.socket.sendall(octets)
    client.recv()


@pytest.mark.parametrize(
    ("octets", "alert"),
    [
        (record(23, bytes(64)), "bad record mac"),
        (record(23, b""), "bad record mac"),
        (record(22, bytes(64)), "unexpected message"),
        (record(99, bytes(64)), "unexpected message"),
        (b"\x17\x03\x03\xff\xff" + bytes(64), "record overflow"),
    ],
)
def test_a_client_that_breaks_tls_is_told_so(
    proxy: Hopward, authority: Authority, octets: bytes, alert: str
) -> None:
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
        exchange(client, get(b"/", HOST))
        with pytest.raises(TLSAlertError, match=alert):
            damaged(client, octets)
    assert served(proxy, authority)


# What TLS 1.3 leaves to the server.


@requires("openssl", "apt-get install openssl")
def test_no_ticket_allows_early_data_and_what_comes_early_is_not_taken(
    proxy: Hopward, tmp_path: Path
) -> None:
    """RFC 8446 §8: early data can be replayed."""
    session, early = tmp_path / "session.pem", tmp_path / "early"
    early.write_bytes(get(b"/early", HOST))
    assert "Verification" in openssl(proxy, "-sess_out", str(session))
    details = ["openssl", "sess_id", "-noout", "-text", "-in", str(session)]
    text = subprocess.run(details, capture_output=True, text=True, check=True).stdout
    assert "Max Early Data: 0" in text
    assert "TLS session ticket:" in text
    said = openssl(proxy, "-sess_in", str(session), "-early_data", str(early))
    assert "Early data was not sent" in said
    assert "Reused, TLSv1.3" in said


@requires("openssl", "apt-get install openssl")
def test_nothing_is_compressed_and_no_hands_are_shaken_twice(proxy: Hopward) -> None:
    assert "Compression: NONE" in openssl(proxy)
    assert "Secure Renegotiation IS NOT supported" in openssl(proxy)


@requires("openssl", "apt-get install openssl")
def test_a_handshake_ends_with_one_session_ticket(proxy: Hopward) -> None:
    assert openssl(proxy).count("New Session Ticket arrived") == 1


@requires("openssl", "apt-get install openssl")
@pytest.mark.parametrize("group", ["ffdhe3072", "X448", "P-521"])
def test_no_client_chooses_a_key_exchange_that_costs_many_handshakes(
    proxy: Hopward, group: str
) -> None:
    assert "handshake failure" in openssl(proxy, "-groups", group)


@requires("openssl", "apt-get install openssl")
@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384"])
def test_what_browsers_exchange_keys_with_is_taken(proxy: Hopward, group: str) -> None:
    assert "TLSv1.3" in openssl(proxy, "-groups", group)


def openssl(proxy: Hopward, *options: str) -> str:
    """What OpenSSL's own client tells of a connection with one request."""
    to = ["-connect", f"127.0.0.1:{proxy.https}", "-servername", HOST]
    said = subprocess.run(
        ["openssl", "s_client", *to, *options, "-ign_eof"],
        input=get(b"/", HOST, b"Connection: close"),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return said.stdout.decode(errors="replace") + said.stderr.decode(errors="replace")
