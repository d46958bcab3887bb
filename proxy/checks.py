"""The checks of origins that the operator asked for.

Law: one process checks for all, so that an origin is asked as often as was configured however many
workers there are. A check looks like a client's request, on a connection of its own, and judges
nothing but the answer's status.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast

from .body import Body
from .config import Limits
from .dialer import Dialer
from .errors import NO_RESOURCES, UpstreamError
from .findings import Finding, Findings
from .head import HeadBuffer, read_request, read_response
from .health import Check, Course
from .hop import Sender, request_after_host, request_line
from .routing import Route, Table

USER_AGENT = b"hopward-health-check"
# A check that takes longer has failed (Caddy's health_timeout); none lasts into the next.
CHECK_SECONDS = 5.0
# How soon another worker takes the checks over from one that has ended.
TAKEOVER_SECONDS = 1.0
# So much of an answer is read, out of courtesy; who sends more is well enough.
_BODY_LIMIT = 1024 * 1024

Told = Callable[[Check, Finding], None]


class Answer(asyncio.Protocol):
    """One connection with one request, and what is read of the answer.

    `outcome` becomes what is wrong with it, "" when nothing is.
    """

    transport: asyncio.Transport

    def __init__(self, request: bytes, limits: Limits) -> None:
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._request = request
        self._limits = limits
        self._heads = HeadBuffer(limits.response_head)
        self._wrong = ""
        self._body: Body | None = None
        self._read = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            if self._body is None:
                data = self._take_heads(data)
            if self._body is not None:
                self._take_body(self._body, data)
        except UpstreamError as error:
            self._end(error.reason)
        except ValueError:
            self._end("malformed")

    def connection_lost(self, exc: Exception | None) -> None:
        whole = self._body is not None and self._body.end()
        self._end(self._wrong if whole else "closed")

    def _take_heads(self, data: bytes) -> bytes:
        """Read up to the end of the final head; returns what is behind it."""
        while (head := self._heads.take(data)) is not None:
            response = read_response(head, bodiless=False)
            data, self._heads.data = self._heads.data, b""
            if response.status >= 200:
                well = response.status < 400
                self._wrong = "" if well else f"status {response.status}"
                self._body = Body.of_response(response, self._limits)
                break
        return data

    def _take_body(self, body: Body, data: bytes) -> None:
        self._read += len(body.read(data))
        if body.done or self._read > _BODY_LIMIT:
            self._end(self._wrong)

    def _end(self, wrong: str) -> None:
        if not self.outcome.done():
            self.outcome.set_result(wrong)


async def ask(dialer: Dialer, request: bytes, limits: Limits, patience: float) -> str:
    """Ask an origin once; returns what is wrong with it, "" when nothing is.

    `patience` is in seconds, from before connecting to the end of the answer.
    """
    answer: Answer | None = None
    try:
        async with asyncio.timeout(patience):
            answer = await dialer.dial(lambda: Answer(request, limits))
            return await answer.outcome
    except TimeoutError:
        return "timeout"
    except UpstreamError as error:
        return error.reason
    finally:
        if answer is not None:
            answer.transport.close()


def request_of(check: Check, route: Route) -> bytes:
    """What a check sends: a client's request, as it goes on by the rules of its route."""
    written = b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: %b\r\nAccept: */*\r\n\r\n" % (
        check.path.encode("ascii"),
        check.host.encode("ascii"),
        USER_AGENT,
    )
    head = read_request(written)
    sender = Sender("127.0.0.1", b"health-check", trusted=False)
    return request_line(head, head.host) + request_after_host(head, route.rules, sender, ())


class Checks:
    """The checks that a configuration asks for: made by one worker, the others stand by.

    `told` hears of each origin that is not as it was before.
    """

    def __init__(self, findings: Findings, table: Table, limits: Limits, told: Told) -> None:
        self._findings = findings
        self._table = table
        self._limits = limits
        self._told = told

    async def run(self) -> None:
        """Check until cancelled, as soon as nobody else does."""
        while not self._findings.lead():
            await asyncio.sleep(TAKEOVER_SECONDS)
        try:
            # Where one fails by a fault of ours, none goes on under a leader that leads no more.
            async with asyncio.TaskGroup() as group:
                for series in self._series():
                    group.create_task(series)
        finally:
            self._findings.follow()

    def _series(self) -> Iterator[Coroutine[Any, Any, None]]:
        wanted = {
            check.key: (check, route)
            for site in self._table.sites.values()
            for route in site.routes
            for check in route.checks
        }
        for check, route in wanted.values():
            yield self._repeat(check, request_of(check, route))

    async def _repeat(self, check: Check, request: bytes) -> None:
        """One check after the other, never two at a time."""
        loop = asyncio.get_running_loop()
        dialer = Dialer(check.origin, None)
        found = self._findings.read(check, time.monotonic())
        course = Course(found.healthy if found else None)
        while True:
            began = loop.time()
            wrong = await ask(dialer, request, self._limits, min(CHECK_SECONDS, check.every))
            # Where this machine cannot ask, nothing has been found.
            if wrong != NO_RESOURCES:
                found = self._found(check, found, course, wrong)
            pause = course.pause(check.every, random.random())
            await asyncio.sleep(max(0.0, began + pause - loop.time()))

    def _found(self, check: Check, before: Finding | None, course: Course, wrong: str) -> Finding:
        changed = course.went(well=not wrong)
        since = time.time() if changed or before is None else before.since
        finding = Finding(time.monotonic(), since, bool(course.healthy), wrong)
        self._findings.write(check, finding)
        # That all is well from the start is no news.
        if changed and (before is not None or wrong):
            self._told(check, finding)
        return finding
