"""`python -m bench.openssl`: CPU time of an announce's four passages through OpenSSL.

By either engine of `proxy.openssl`: a request is fed and read, an answer written and taken.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from OpenSSL import SSL

from bench.certificate import write_pair
from bench.timing import Task, show
from proxy.openssl import Direct, Engine, Public
from proxy.tls import site_context

REQUEST, ANSWER = b"r" * 300, b"a" * 250


def _measure(kind: Callable[[SSL.Connection], Engine], announces: int) -> float:
    server, client = _greeted(_context())
    engine, took = kind(server), 0.0
    for _ in range(announces):
        client.send(REQUEST)
        cipher = client.bio_read(1000)
        began = time.thread_time()
        engine.feed(cipher)
        engine.read()
        engine.write(ANSWER)
        cipher = engine.take()
        took += time.thread_time() - began
        client.bio_write(cipher)
        client.recv(1000)
    return took / announces


@cache
def _context() -> SSL.Context:
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = write_pair(Path(folder))
        return site_context(certificate.read_bytes(), key.read_bytes())


def _greeted(context: SSL.Context) -> tuple[SSL.Connection, SSL.Connection]:
    server = SSL.Connection(context, None)
    client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(2):
        for one, other in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                one.do_handshake()
            with suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    return server, client


TASKS: dict[str, Task] = {
    "an announce through OpenSSL, called directly": partial(_measure, Direct),
    "an announce through OpenSSL, by pyOpenSSL's public calls": partial(_measure, Public),
}

if __name__ == "__main__":
    show(TASKS)
