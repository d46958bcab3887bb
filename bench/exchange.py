"""`python -m bench.exchange`: CPU time of one announce in the proxy itself, without TLS and kernel.

From the client's plain bytes to the answer's: known on the fast lane, as an exchange made from
remembered parts, and as one whose fields never came before.
"""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

from bench.timing import Task, show
from proxy import config
from proxy.access_log import AccessLog
from proxy.downstream import Downstream
from proxy.engine import ROOM, Session
from proxy.listener import Listener
from proxy.log import Log
from proxy.routing import Table
from proxy.tls import Base
from proxy.upstream import Upstream

HOST = "http1.example.com"
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 82\r\n"
    b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n" + b"d" * 82
)


class Wire(asyncio.Transport):
    """A transport that takes everything and does nothing."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 4711), "sockname": ("192.0.2.2", 443)})

    def write(self, data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        pass


class Layer:
    """A record layer without records."""

    established, ended, challenged = True, False, False
    server_name, session = HOST, Session("TLSv1.3", "X25519", False)

    def receive_room(self, size: int) -> bytes:
        return bytes(ROOM[:size])

    def send(self, data: bytes) -> None:
        pass

    def flush(self) -> None:
        pass


def announces(user_agent: Callable[[int], str]) -> Iterator[bytes]:
    """Announces, each with a target of its own."""
    for number in itertools.count():
        yield (
            f"GET /announce?info_hash=%{number % 256:02X}%00%FF&port={number} HTTP/1.1\r\n"
            f"Host: {HOST}\r\nUser-Agent: {user_agent(number)}\r\nAccept: */*\r\n"
            "Accept-Encoding: gzip\r\nConnection: keep-alive\r\n\r\n"
        ).encode()


def _measure(by_lane: bool, user_agent: str, announced: int) -> float:
    return asyncio.run(_exchange(by_lane, announces(user_agent.format), announced, None))


def _measure_logged(announced: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        settings = {"format": "json", "to": Path(folder) / "access.log"}
        log = AccessLog(config.AccessLog.model_validate(settings), Log("error"))
        try:
            return asyncio.run(
                _exchange(True, announces("qBittorrent/4.6.0".format), announced, log)
            )
        finally:
            log.close()


async def _exchange(
    by_lane: bool, requests: Iterator[bytes], announced: int, log: AccessLog | None
) -> float:
    client, upstream = _connected(by_lane, log)
    took = 0.0
    for request in itertools.islice(requests, announced):
        began = time.thread_time()
        ROOM[: len(request)] = request
        client.buffer_updated(len(request))
        upstream.data_received(ANSWER)
        took += time.thread_time() - began
    client.connection_lost(None)
    upstream.connection_lost(None)
    return took / announced


def _connected(by_lane: bool, log: AccessLog | None) -> tuple[Downstream, Upstream]:
    """A client, and a connection kept in the pool of its origin."""
    written = config.Config.model_validate({"sites": {HOST: "http://127.0.0.1:1"}})
    listener = Listener(written, Table(written.sites), Base(), workers=1, access_log=log)
    listener.record_layer = lambda transport: cast(Any, Layer())  # type: ignore[method-assign]
    if not by_lane:
        listener.memos.of = lambda route: None  # type: ignore[method-assign]
    pool = listener.pools.choose(written.sites[HOST].to)
    assert pool is not None
    upstream = Upstream(pool)
    upstream.connection_made(Wire())
    pool.keep(upstream)
    client = Downstream(listener)
    client.connection_made(Wire())
    client.buffer_updated(0)
    return client, upstream


TASKS: dict[str, Task] = {
    "an announce on the fast lane": partial(_measure, True, "qBittorrent/4.6.0"),
    "an announce on the fast lane, with a JSON log": _measure_logged,
    "an announce as an exchange, its fields known": partial(_measure, False, "qBittorrent/4.6.0"),
    "an announce as an exchange, its fields new": partial(_measure, False, "qBittorrent/{}"),
}

if __name__ == "__main__":
    show(TASKS)
