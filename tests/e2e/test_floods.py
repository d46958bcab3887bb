"""Many clients, or one that sends much: the others are served, and memory stays bounded.

The same in the size of a real attack, with its figures: docs/reliability.md.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from OpenSSL import SSL

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.http_client import exchange, get, read_answer
from tests.origins import Listener
from tests.programs import Hopward, wait_for
from tests.tls_client import TLSClient

HOST = "app.example.com"
KIB, MIB = 1 << 10, 1 << 20
MANY = 300


class Origin(Listener):
    """Answers `ok`. /live becomes an echo; /sink only reads; /zeros is 200 MiB of nothing."""

    def serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        while line := stream.readline():
            length = 0
            for field in iter(stream.readline, b"\r\n"):
                name, _, value = field.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            if b" /sink" in line:
                while connection.recv(65536):
                    pass
                return
            content = stream.read(length)
            if b" /live" in line:
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\n"
                    b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                )
                while octets := connection.recv(65536):
                    connection.sendall(octets)
            elif b" /zeros" in line:
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
                    % (200 * MIB)
                )
                for _ in range(200):
                    connection.sendall(bytes(MIB))
            elif b" /echo" in line:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
                connection.sendall(content)
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def proxy(front: Front) -> Iterator[Hopward]:
    with Origin() as origin:
        to = f"http://127.0.0.1:{origin.port}"
        yield front({HOST: {"to": to, "compress": True}}, workers=1)


@pytest.fixture
def connections() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(proxy: Hopward, authority: Authority) -> TLSClient:
    return TLSClient(proxy.https, HOST, cafile=authority.pem)


def served(proxy: Hopward, authority: Authority) -> bool:
    """Whether a client that comes now gets its answer."""
    with connect(proxy, authority) as client:
        return exchange(client, get(b"/", HOST)).content == b"ok"


def bare(proxy: Hopward, connections: ExitStack) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", proxy.https), 30)
    return connections.enter_context(closing(sock))


def descriptors(proxy: Hopward) -> int:
    (worker,) = proxy.workers()
    return len(os.listdir(f"/proc/{worker}/fd"))


# Connections.


def test_connections_that_come_and_go_leave_nothing_behind(
    proxy: Hopward, authority: Authority
) -> None:
    assert served(proxy, authority)
    before = descriptors(proxy)
    for number in range(5 * MANY):
        sock = socket.create_connection(("127.0.0.1", proxy.https), 30)
        if number % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    assert served(proxy, authority)
    wait_for(lambda: descriptors(proxy) <= before, what="their descriptors' end")


def hello() -> bytes:
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    client.set_tlsext_host_name(HOST.encode())
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65536)


def test_hellos_that_come_at_once_are_all_answered(
    proxy: Hopward, authority: Authority, connections: ExitStack
) -> None:
    newcomers = [bare(proxy, connections) for _ in range(MANY)]
    said = hello()
    for newcomer in newcomers:
        newcomer.sendall(said[:-1])
    for newcomer in newcomers:
        newcomer.sendall(said[-1:])
    assert served(proxy, authority)
    for newcomer in newcomers:
        assert newcomer.recv(3) == b"\x16\x03\x03"  # a handshake record


def test_handshakes_that_stop_half_way_keep_nobody_waiting(
    proxy: Hopward, authority: Authority, connections: ExitStack
) -> None:
    said = hello()
    for number in range(MANY):
        # Some have said all of a hello and wait, some have said half of it.
        bare(proxy, connections).sendall(said if number % 2 else said[: len(said) // 2])
    assert served(proxy, authority)


def test_an_idle_connection_costs_little_memory(
    proxy: Hopward, authority: Authority, connections: ExitStack
) -> None:
    assert served(proxy, authority)
    before = proxy.memory()
    for _ in range(MANY):
        client = connections.enter_context(connect(proxy, authority))
        exchange(client, get(b"/", HOST))
    assert proxy.memory() - before < MANY * 64 * KIB
    assert served(proxy, authority)


def test_an_idle_connection_costs_little_memory_whatever_has_passed_it(
    proxy: Hopward, authority: Authority, connections: ExitStack
) -> None:
    """OpenSSL's buffers never shrink, so they are not let grow: it was 295 KiB each."""
    large = bytes(2 * MIB)
    length = b"Content-Length: %d" % len(large)
    assert served(proxy, authority)
    before = proxy.memory()
    for _ in range(50):
        client = connections.enter_context(connect(proxy, authority))
        exchange(client, get(b"/echo", HOST, length, method=b"POST") + large)
    assert proxy.memory() - before < 50 * 150 * KIB


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: app.example.com\r\nX-Slow: ",
        b"POST / HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 8192\r\n\r\nsl",
        b"POST / HTTP/1.1\r\nHost: app.example.com\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n",
        b"GET /zeros HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
    ],
    ids=["heads", "bodies", "chunks", "readers"],
)
def test_many_slow_clients_keep_nobody_waiting(
    proxy: Hopward, authority: Authority, connections: ExitStack, said: bytes
) -> None:
    """What slowhttptest does: heads, bodies and reading that hardly go on."""
    before = proxy.memory()
    slow = [connections.enter_context(connect(proxy, authority)) for _ in range(MANY // 3)]
    for client in slow:
        client.send(said)
    for _ in range(10):
        assert served(proxy, authority)
    assert proxy.memory() - before < len(slow) * 384 * KIB
    for client in slow:
        client.vanish()


def unsent(port: int) -> list[int]:
    """What the kernel holds of each connection of that port to be sent, or sent and not taken."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = [row for row in rows if int(row[1].partition(":")[2], 16) == port]
    return [int(row[4].partition(":")[0], 16) for row in ours]


def test_the_kernel_keeps_little_for_a_client_that_does_not_read(
    proxy: Hopward, authority: Authority, connections: ExitStack
) -> None:
    """It would take megabytes for each, and has an end that all connections share."""
    client = connections.enter_context(connect(proxy, authority))
    client.send(get(b"/zeros", HOST))
    wait_for(lambda: max(unsent(proxy.https)) > 64 * KIB, what="an answer on its way")
    assert served(proxy, authority)
    assert max(unsent(proxy.https)) <= 256 * KIB
    client.vanish()


# One client that sends much.


def test_a_hundred_thousand_tiny_frames_leave_memory_alone(
    proxy: Hopward, authority: Authority
) -> None:
    frames = b"\x81\x81\x00\x00\x00\x00x" * 100_000
    with connect(proxy, authority) as client:
        handshake = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"]
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        client.send(get(b"/live", HOST, *handshake, key))
        assert client.recv_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        before = proxy.memory()
        echoed = bytearray()
        for begin in range(0, len(frames), 7000):
            client.send(frames[begin : begin + 7000])
            while len(echoed) < begin:
                echoed += client.recv()
        assert served(proxy, authority)
        while len(echoed) < len(frames):
            echoed += client.recv()
        assert bytes(echoed) == frames
        assert proxy.memory() - before < 8 * MIB


# As much as one record holds, and OpenSSL takes at a time.
AHEAD = get(b"/", HOST, b"X: " + b"x" * 15_000)


def test_requests_sent_ahead_without_end_take_no_memory(
    proxy: Hopward, authority: Authority
) -> None:
    """Each answer let in another read of the flood, and all of that was copied for each request."""
    with connect(proxy, authority) as client:
        before = proxy.memory()
        answered = 0
        client.socket.setblocking(False)
        while answered < 500:
            with suppress(SSL.WantReadError, SSL.WantWriteError):
                while True:
                    client.tls.send(AHEAD)
            with suppress(SSL.WantReadError, SSL.WantWriteError):
                while True:
                    answered += client.tls.recv(65536).count(b"\r\n\r\nok")
            select.select([client.socket], [], [], 1)
        assert served(proxy, authority)
        assert proxy.memory() - before < 8 * MIB
        client.vanish()


def test_many_that_send_ahead_keep_nobody_waiting(
    proxy: Hopward, authority: Authority, connections: ExitStack
) -> None:
    senders = [connections.enter_context(connect(proxy, authority)) for _ in range(MANY // 3)]
    for sender in senders:
        sender.send(get(b"/", HOST) * 100)
    for _ in range(10):
        assert served(proxy, authority)
    for sender in senders:
        answers = 0
        while answers < 100:
            answers += sender.recv().count(b"\r\n\r\nok")


CHUNKED = b"POST /sink HTTP/1.1\r\nHost: app.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "endless"),
    [
        (b"GET / HTTP/1.1\r\nHost: app.example.com\r\nA: ", b"a"),
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\nHost: app.example.com\r\n", b"A: b\r\n"),
        (b"", b"\r\n"),
        (CHUNKED + b"1;", b"a"),
        (CHUNKED, b"1;a=b\r\nx\r\n"),
        (CHUNKED + b"0\r\n", b"A: b\r\n"),
    ],
    ids=["value", "target", "fields", "blank", "extension", "extensions", "trailers"],
)
def test_what_has_no_end_is_refused_before_long(
    proxy: Hopward, authority: Authority, begin: bytes, endless: bytes
) -> None:
    before = proxy.memory()
    with connect(proxy, authority) as client:
        client.send(begin)
        for _ in range(4):
            client.send(endless * (MIB // len(endless)))
        assert read_answer(client).status in {400, 413, 414, 431}
    assert proxy.memory() - before < 2 * MIB
    assert served(proxy, authority)


def test_a_client_of_http_1_0_that_comes_again_and_again_is_only_one_of_many(
    proxy: Hopward, authority: Authority
) -> None:
    with connect(proxy, authority) as steady:
        for _ in range(MANY // 3):
            with connect(proxy, authority) as client:
                client.send(b"GET / HTTP/1.0\r\nHost: app.example.com\r\n\r\n")
                assert client.recv_all().endswith(b"ok")
            assert exchange(steady, get(b"/", HOST)).content == b"ok"


# Compression.


def test_what_compresses_to_nothing_takes_no_memory(
    proxy: Hopward, authority: Authority, connections: ExitStack
) -> None:
    before = proxy.memory()
    for _ in range(5):
        client = connections.enter_context(connect(proxy, authority))
        client.send(get(b"/zeros", HOST, b"Accept-Encoding: gzip", b"Connection: close"))
        assert b"content-encoding: gzip" in client.recv_until(b"\r\n\r\n").lower()
    assert served(proxy, authority)
    assert proxy.memory() - before < 16 * MIB


def test_what_a_client_has_compressed_stays_compressed(
    proxy: Hopward, authority: Authority
) -> None:
    """A bomb goes off where it is unpacked, and that is not here."""
    before = proxy.memory()
    bomb = Path(__file__).read_bytes()
    coded = b"Content-Encoding: gzip"
    with connect(proxy, authority) as client:
        length = b"Content-Length: %d" % len(bomb)
        answer = exchange(client, get(b"/", HOST, coded, length, method=b"POST") + bomb)
    assert answer.content == b"ok"
    assert proxy.memory() - before < 8 * MIB
