"""`python -m bench.openssl`: CPU time of what an announce takes of OpenSSL, by either engine.

On a kept connection: a request is fed and read, an answer written and taken. On a connection of its
own: the handshake as well, with X25519 or with X25519MLKEM768, and the end.
"""

import tempfile
import time
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from OpenSSL import SSL

from bench.certificate import write_pair
from bench.timing import Task, show
from proxy import openssl
from proxy.engine import ROOM, Engine
from proxy.openssl import Direct
from proxy.pyopenssl import Public
from proxy.tls import Base, site_context

HOST = "http1.example.com"
REQUEST, ANSWER = b"r" * 300, b"a" * 250


class Client:
    """A client's end of one connection, over memory, that offers one group."""

    def __init__(self, group: str = "X25519") -> None:
        self.tls = SSL.Connection(_offering(group), None)
        self.tls.set_tlsext_host_name(HOST.encode())
        self.tls.set_connect_state()

    def hello(self) -> bytes:
        """The first flight."""
        with suppress(SSL.WantReadError):
            self.tls.do_handshake()
        return self.tls.bio_read(65536)

    def ask(self, cipher: bytes, request: bytes = REQUEST) -> bytes:
        """Take what the server sent; the rest of the handshake if it is due, and a request."""
        if cipher:
            self.tls.bio_write(cipher)
        self.tls.do_handshake()
        with suppress(SSL.WantReadError, SSL.ZeroReturnError):
            while True:
                self.tls.recv(65536)
        self.tls.send(request)
        return self.tls.bio_read(65536)


@cache
def _offering(group: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    taken = SSL._lib.SSL_CTX_set1_curves_list(context._context, group.encode())  # type: ignore[attr-defined]
    assert taken == 1, f"this OpenSSL has no {group}"
    return context


def certified() -> Base:
    """A base with one site."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = write_pair(Path(folder))
        context = site_context(certificate.read_bytes(), key.read_bytes())
    base = Base()
    base.choose = lambda name: context
    return base


def _with(kind: type[Engine], measure: "Task", announces: int) -> float:
    before, openssl.ENGINE = openssl.ENGINE, kind
    try:
        return measure(announces)
    finally:
        openssl.ENGINE = before


def _kept(announces: int) -> float:
    base, client, took = certified(), Client(), 0.0
    engine = openssl.ENGINE(base.context, base.choose_context)
    engine.handshake(client.hello())
    engine.handshake(client.ask(engine.take()))
    engine.read()
    sealed = engine.take()
    for _ in range(announces):
        cipher = client.ask(sealed)
        began = time.thread_time()
        ROOM[: len(cipher)] = cipher
        engine.receive(len(cipher))
        sealed = engine.seal(ANSWER)
        took += time.thread_time() - began
    return took / announces


def _fresh(announces: int, group: str = "X25519") -> float:
    base, took = certified(), 0.0
    for _ in range(announces):
        client = Client(group)
        hello = client.hello()
        began = time.thread_time()
        engine = openssl.ENGINE(base.context, base.choose_context)
        engine.handshake(hello)
        flight = engine.take()
        took += time.thread_time() - began
        request = client.ask(flight)
        began = time.thread_time()
        engine.handshake(request)
        engine.session()
        engine.read()
        engine.write(ANSWER)
        engine.finish()
        engine.take()
        del engine
        took += time.thread_time() - began
    return took / announces


TASKS: dict[str, Task] = {
    "an announce through OpenSSL, called directly": partial(_with, Direct, _kept),
    "an announce through OpenSSL, by pyOpenSSL's public calls": partial(_with, Public, _kept),
    "the same on a connection of its own, called directly": partial(_with, Direct, _fresh),
    "the same on a connection of its own, by the public calls": partial(_with, Public, _fresh),
    "the same with X25519MLKEM768, called directly": partial(
        _with, Direct, partial(_fresh, group="X25519MLKEM768")
    ),
}

if __name__ == "__main__":
    show(TASKS)
