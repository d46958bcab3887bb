"""The demo's backends served by a loop of their own, and a plain client to ask them."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from typing import NamedTuple

from proxy.demo.backends import Programs
from proxy.demo.http import Place, listening

PATIENCE = 10.0  # seconds; a bound on every wait


class Ports(NamedTuple):
    """Where the demo of each kind listens in this test run."""

    api: int
    tracker: int
    page: int


@contextmanager
def demo_serving() -> Iterator[Ports]:
    """All three backends, served by a loop in a thread of their own."""
    serving_now: list[Ports] = []
    ready, loop, finished = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        programs = Programs()
        async with AsyncExitStack() as stack:
            numbers = []
            for site in ("api.test", "http1.test", "grafana.test"):
                backend = listening(Place("127.0.0.1", 0), programs.suiting(site))
                server = await stack.enter_async_context(backend)
                numbers.append(server.sockets[0].getsockname()[1])
            await stack.enter_async_context(programs.live.beating())
            serving_now.append(Ports(*numbers))
            ready.set()
            await finished.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(PATIENCE)
    yield serving_now[0]
    loop.call_soon_threadsafe(finished.set)
    thread.join(PATIENCE)
    loop.close()


class Answer(NamedTuple):
    status: int
    fields: http.client.HTTPMessage
    content: bytes


def ask(port: int, path: str, method: str = "GET", **fields: str) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        return ask_on(connection, path, method, **fields)


def ask_on(
    connection: http.client.HTTPConnection, path: str, method: str = "GET", **fields: str
) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())
