"""What streams through the proxy is never held by it: its memory stays, whatever the size."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.http_client import exchange, get, read_answer
from tests.origins import Listener
from tests.programs import Hopward, wait_for
from tests.tls_client import TLSClient

HOST = "files.example.com"
GIB, MIB = 1 << 30, 1 << 20
ALLOWANCE = 32 * MIB
PIECE = bytes(range(256)) * 4096  # 1 MiB in which a shifted byte would show


def digest_of(size: int) -> str:
    digest = hashlib.sha256()
    for _ in range(size // len(PIECE)):
        digest.update(PIECE)
    return digest.hexdigest()


class Files(Listener):
    """/SIZE sends that many bytes; a POST is answered with the digest of its content.

    A POST to /slow is read at 10 KB/s until `hurry` is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hurry = threading.Event()

    def serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        while line := stream.readline():
            method, target, _ = line.split()
            fields = dict(field.split(b": ", 1) for field in iter(stream.readline, b"\r\n"))
            sizes = {name.lower(): value for name, value in fields.items()}
            if method == b"POST":
                slow = target == b"/slow"
                self._receive(connection, stream.read, int(sizes[b"content-length"]), slow)
            else:
                self._send(connection, int(target[1:]))

    def _send(self, connection: socket.socket, size: int) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(PIECE)):
            connection.sendall(PIECE)

    def _receive(
        self, connection: socket.socket, read: Callable[[int], bytes], size: int, slow: bool
    ) -> None:
        digest = hashlib.sha256()
        while size and (chunk := read(min(size, 1000 if slow else MIB))):
            digest.update(chunk)
            size -= len(chunk)
            slow = slow and not self.hurry.wait(0.1)
        answer = digest.hexdigest().encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + answer)


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    with Files() as origin:
        yield origin
        origin.hurry.set()


@pytest.fixture(scope="module")
def proxy(files: Files, front: Front) -> Hopward:
    return front({HOST: f"http://127.0.0.1:{files.port}"}, workers=1)


@pytest.fixture
def client(proxy: Hopward, authority: Authority) -> Iterator[TLSClient]:
    """A connection that has carried an exchange: the worker has made all it makes only once."""
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as connected:
        exchange(connected, get(b"/1048576", HOST))
        yield connected


class Watch:
    """Takes the workers' memory again and again; `growth` is the most above the beginning."""

    def __init__(self, proxy: Hopward) -> None:
        self._proxy, self._over = proxy, threading.Event()
        self._begin = self._most = proxy.memory()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self._most = max(self._most, self._proxy.memory())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._most = max(self._most, self._proxy.memory())

    @property
    def growth(self) -> int:
        return self._most - self._begin


def receive_head(client: TLSClient) -> bytes:
    """Everything of the content that came with the head."""
    return client.recv_until(b"\r\n\r\n").partition(b"\r\n\r\n")[2]


def test_a_download_of_a_gibibyte_passes_whole_and_leaves_memory_alone(
    proxy: Hopward, client: TLSClient
) -> None:
    digest, received = hashlib.sha256(), 0
    with Watch(proxy) as watch:
        client.send(get(b"/%d" % GIB, HOST))
        chunk = receive_head(client)
        while received < GIB:
            digest.update(chunk)
            received += len(chunk)
            chunk = client.recv(MIB) if received < GIB else b""
    assert (received, digest.hexdigest()) == (GIB, digest_of(GIB))
    assert watch.growth < ALLOWANCE


def test_an_upload_of_a_gibibyte_passes_whole_and_leaves_memory_alone(
    proxy: Hopward, client: TLSClient
) -> None:
    with Watch(proxy) as watch:
        client.send(get(b"/", HOST, b"Content-Length: %d" % GIB, method=b"POST"))
        for _ in range(GIB // len(PIECE)):
            client.send(PIECE)
        answer = read_answer(client, b"POST")
    assert answer.content.decode() == digest_of(GIB)
    assert watch.growth < ALLOWANCE


def test_a_slow_reader_makes_the_origin_wait_rather_than_memory_grow(
    proxy: Hopward, client: TLSClient
) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    with Watch(proxy) as watch:
        client.send(get(b"/%d" % GIB, HOST))
        received = len(receive_head(client))
        while received < 50_000:
            received += len(client.recv(1000))
            time.sleep(0.1)  # the reader's own pace: 10 KB/s
    assert watch.growth < ALLOWANCE


def test_a_fast_upload_to_a_slow_origin_makes_the_client_wait(
    proxy: Hopward, files: Files, client: TLSClient
) -> None:
    size = 64 * MIB
    sent = 0

    def upload() -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            for _ in range(size // len(PIECE)):
                client.send(PIECE)
                sent += len(PIECE)

    with Watch(proxy) as watch:
        client.send(get(b"/slow", HOST, b"Content-Length: %d" % size, method=b"POST"))
        uploading = threading.Thread(target=upload)
        uploading.start()
        uploading.join(5)
        held_back = sent
        files.hurry.set()
        uploading.join(60)
    wait_for(lambda: sent == size, what="the end of the upload")
    assert held_back < ALLOWANCE
    assert read_answer(client, b"POST").content.decode() == digest_of(size)
    assert watch.growth < ALLOWANCE
