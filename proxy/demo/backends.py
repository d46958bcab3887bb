"""The demo's three programs: a JSON API, a tracker and a page with a live chart.

They stand in for what a newcomer does not run yet, so they behave as the real ones do: the API
wants its token, the tracker believes X-Forwarded-For, the page's WebSocket takes an Origin of its
own host only. `python -m proxy.demo.backends` is the child process of `proxy.demo`: it reads what
to serve from its standard input and ends when that ends, so it never outlives its parent, however
that dies.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from importlib.resources import files
from urllib.parse import parse_qsl

from .http import TEXT, Answer, Backend, Place, Request, listening
from .live import Live
from .tracker import Address, RefusedError, Tracker, client_address, failure

API_TOKEN = "MyAccessToken"  # Torrust's own for development

_NOT_FOUND = Answer(b"nothing here\n", TEXT, HTTPStatus.NOT_FOUND)
_INFO_HASH = "info_hash=%00%11%22%33%44%55%66%77%88%99%aa%bb%cc%dd%ee%ff%01%23%45%67"
TRACKER_PATHS = (
    f"/announce?{_INFO_HASH}&peer_id=-DEMO00-000000000001&port=6881&left=0",
    f"/scrape?{_INFO_HASH}",
    "/health_check",
)
API_PATHS = ("/api/health_check", f"/api/v1/stats?token={API_TOKEN}")


class Programs:
    """One of each kind; the API tells of what the tracker has served."""

    def __init__(self) -> None:
        self.tracker = Tracker(time.monotonic)
        self.live = Live()

    def suiting(self, site: str) -> Backend:
        """The backend for a site of this name, chosen by its first label."""
        kind = kind_suiting(site)
        if kind == "JSON API":
            return Backend(kind, self.answer_api)
        if kind == "tracker":
            return Backend(kind, self.answer_tracker)
        return Backend(kind, answer_page, self.live)

    def answer_api(self, request: Request) -> Answer:
        """Torrust's management API in small."""
        match request.path:
            case "/":
                return _json({"name": "hopward demo: a tracker's API", "try": API_PATHS})
            case "/api/health_check" | "/health_check":
                return _json({"status": "Ok"})
            case "/api/v1/stats":
                return self._answer_stats(request)
        return _NOT_FOUND

    def answer_tracker(self, request: Request) -> Answer:
        """Announces and scrapes, with or without a key behind them."""
        match request.path.split("/")[1]:
            case "":
                welcome = ("hopward demo: an HTTP tracker. Try:", "", *TRACKER_PATHS, "")
                return Answer("\n".join(welcome).encode(), TEXT)
            case "health_check":
                return _json({"status": "Ok"})
            case "announce":
                return _tracked(request, self.tracker.announce)
            case "scrape":
                return _tracked(request, self.tracker.scrape)
        return _NOT_FOUND

    def _answer_stats(self, request: Request) -> Answer:
        tokens = [value for name, value in parse_qsl(request.query) if name == "token"]
        if tokens != [API_TOKEN]:
            reason = "token not valid" if tokens else "unauthorized"
            body = f'Unhandled rejection: Err {{ reason: "{reason}" }}'
            return Answer(body.encode(), TEXT, HTTPStatus.UNAUTHORIZED)
        kinds = [f"tcp{v}_{what}" for v in (4, 6) for what in ("announces", "scrapes")]
        handled = {f"{kind}_handled": self.tracker.served[kind] for kind in kinds}
        return _json(self.tracker.totals() | handled)


def kind_suiting(site: str) -> str:
    """What a demo of this site is: `JSON API`, `tracker` or `live page`."""
    label = site.partition(".")[0].lower()
    if label.startswith("api"):
        return "JSON API"
    return "tracker" if label.startswith(("http", "tracker", "udp")) else "live page"


def answer_page(request: Request) -> Answer:
    """The page itself; its messages come by WebSocket from /live."""
    if request.path == "/health_check":
        return _json({"status": "Ok"})
    if request.path != "/":
        return _NOT_FOUND
    page = files("proxy.demo").joinpath("page.html").read_bytes()
    return Answer(page, "text/html; charset=utf-8", fields=((b"Cache-Control", b"no-store"),))


def _json(value: object) -> Answer:
    return Answer(json.dumps(value, separators=(",", ":")).encode())


def _tracked(request: Request, answer: Callable[[str, Address], bytes]) -> Answer:
    try:
        client = client_address(request.all(b"x-forwarded-for"), request.connected)
    except RefusedError as refused:
        return Answer(failure(str(refused)), TEXT)
    return Answer(answer(request.query, client), TEXT)


@asynccontextmanager
async def serving(sites: Iterable[tuple[str, Place]]) -> AsyncIterator[dict[str, str]]:
    """Serves a suitable backend for each site at its place.

    Yields the sites whose place could not be had, each with the reason.
    """
    programs, problems = Programs(), dict[str, str]()
    async with AsyncExitStack() as stack:
        for site, place in sites:
            try:
                await stack.enter_async_context(listening(place, programs.suiting(site)))
            except OSError as error:
                problems[site] = error.strerror or str(error)
        await stack.enter_async_context(programs.live.beating())
        yield problems


# ---- the child process


async def serve_until_parent_ends() -> None:
    """Reads one JSON line of sites and places, answers with one of problems, serves to the end.

    A further line is the pid of the proxy that the parent has started, which is told to stop if
    the parent dies without a word; an empty line takes that back.
    """
    parent = await _standard_input()
    sites = [(site, Place(*place)) for site, place in json.loads(await parent.readline())]
    async with serving(sites) as problems:
        print(json.dumps(problems), flush=True)
        orphan = 0
        while line := await parent.readline():
            orphan = int(line.strip() or 0)
    if orphan:
        with suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGTERM)


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    return reader


if __name__ == "__main__":
    # The terminal's Ctrl-C is for the parent, whose end is noticed here anyway.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve_until_parent_ends())
