"""`python -m bench.openssl`: CPU time of an announce's four passages through OpenSSL.

By either engine of `proxy.openssl`: a request is fed and read, an answer written and taken. The
least of several rounds counts, for whatever disturbs makes it more.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from OpenSSL import SSL

from bench.certificate import write_pair
from proxy.openssl import Direct, Engine, Public
from proxy.tls import site_context

REQUEST, ANSWER = b"r" * 300, b"a" * 250
ROUNDS, ANNOUNCES = 15, 3000


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = write_pair(Path(folder))
        context = site_context(certificate.read_bytes(), key.read_bytes())
    for kind in (Direct, Public):
        least = min(_measure(context, kind) for _ in range(ROUNDS))
        print(f"{kind.__name__}: {least * 1e6:.2f} µs")


def _measure(context: SSL.Context, kind: Callable[[SSL.Connection], Engine]) -> float:
    server, client = _greeted(context)
    engine, took = kind(server), 0.0
    for _ in range(ANNOUNCES):
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
    return took / ANNOUNCES


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


if __name__ == "__main__":
    main()
