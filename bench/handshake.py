"""`python -m bench.handshake`: CPU time of an announce on a connection of its own, without kernel.

From a client's first byte to the end of its connection. What OpenSSL takes of that, which no proxy
can save, `python -m bench.openssl` tells.
"""

import asyncio
import time
from typing import Any

from bench.exchange import ANSWER, Wire
from bench.openssl import HOST, Client, certified
from bench.timing import Task, show
from proxy.config import Config
from proxy.downstream import Downstream
from proxy.engine import ROOM
from proxy.listener import Listener
from proxy.routing import Table
from proxy.upstream import Upstream

REQUEST = (
    f"GET /announce?info_hash=%00%FF&port=1 HTTP/1.1\r\nHost: {HOST}\r\n"
    "User-Agent: qBittorrent/4.6.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
    "Connection: close\r\n\r\n"
).encode()


class Line(Wire):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        pass

    def take(self) -> bytes:
        """What has been written since."""
        written, self.written = self.written, b""
        return written


def _proxied(connections: int) -> float:
    return asyncio.run(_announces(connections))


async def _announces(connections: int) -> float:
    config = Config.model_validate({"sites": {HOST: "http://127.0.0.1:1"}})
    base = certified()
    listener = Listener(config, Table(config.sites), base, workers=1)
    pool = listener.pools.choose(config.sites[HOST].to)
    assert pool is not None
    upstream = Upstream(pool)
    upstream.connection_made(Wire())
    pool.keep(upstream)
    took = 0.0
    for _ in range(connections):
        await asyncio.sleep(0)  # a turn of the loop makes so many handshakes and no more
        client, line = Client(), Line()
        hello = client.hello()
        began = time.thread_time()
        downstream = Downstream(listener)
        downstream.connection_made(line)
        _hears(downstream, hello)
        took += time.thread_time() - began
        request = client.ask(line.take(), REQUEST)
        began = time.thread_time()
        _hears(downstream, request)
        upstream.data_received(ANSWER)
        downstream.connection_lost(None)
        del downstream
        took += time.thread_time() - began
    upstream.connection_lost(None)
    return took / connections


def _hears(downstream: Downstream, cipher: bytes) -> None:
    ROOM[: len(cipher)] = cipher
    downstream.buffer_updated(len(cipher))


TASKS: dict[str, Task] = {
    "an announce on a connection of its own": _proxied,
}

if __name__ == "__main__":
    show(TASKS)
