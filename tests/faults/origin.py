"""An origin that does to each request what its plan says, and notices what should not reach it.

Law: what it sends stands in the mark of the request that it answers, also where it sends too much.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from tests.faults.plan import Plan, content, framed

# A request that was on its way while surplus came could not be held back by anybody: bytes cross.
# One that comes later was sent on a connection that was known to be spoilt.
CROSSING = 0.1

Act = Callable[["Call", Plan], Awaitable[bool]]


class Call:
    """One connection from the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        # Since when no request may come any more, and whose answer spoilt the connection.
        self.spoilt: tuple[float, int] | None = None
        self.read_all = True

    async def head(self) -> Plan | None:
        """The next request's plan; None at the end. ValueError where no request stands there."""
        try:
            block = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial and not _may_begin(error.partial):
                raise ValueError(f"no request: {error.partial[:80]!r}") from None
            return None
        method, target, version = block.partition(b"\r\n")[0].split(b" ")
        if version != b"HTTP/1.1":
            raise ValueError(f"no request: {block[:80]!r}")
        self.read_all = method not in (b"POST", b"PUT")
        return Plan.of(method, target)

    async def body(self, plan: Plan) -> None:
        """Read the request's content. ValueError where it is not the plan's."""
        if self.read_all:
            return
        got = await (self._chunks() if plan.chunked else self.reader.readexactly(plan.sent))
        self.read_all = True
        if got != content(plan.token, plan.sent):
            raise ValueError(f"wrong content for {plan}: {got[:80]!r}")

    async def _chunks(self) -> bytes:
        whole = bytearray()
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            whole += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        if await self.reader.readexactly(2) != b"\r\n":
            raise ValueError("no end of chunks")
        return bytes(whole)

    async def say(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def spoil(self, plan: Plan, *, crossing: float = 0.0) -> bool:
        """No request may come from now on, or so many seconds later; listen whether one does."""
        self.spoilt = asyncio.get_running_loop().time() + crossing, plan.token
        return True

    async def idle(self, seconds: float) -> bool:
        """Whether nothing has come within so many seconds."""
        await asyncio.sleep(seconds)
        return not self.unread

    @property
    def unread(self) -> bool:
        """Whether something of another request is here, in the kernel or out of it."""
        waiting = bool(self.reader._buffer) or self.reader.at_eof()  # type: ignore[attr-defined]
        queued = array.array("i", [0])
        sock = self.writer.get_extra_info("socket")
        if not waiting and sock.fileno() >= 0:
            fcntl.ioctl(sock.fileno(), termios.FIONREAD, queued)
        return waiting or queued[0] > 0


def _may_begin(octets: bytes) -> bool:
    return octets.split(b" ")[0] in (b"GET", b"HEAD", b"POST", b"PUT")


class FaultyOrigin:
    """Listens from `async with` to its end.

    `heard` holds when each token's request came last, `wrong` tells what should not have come,
    `crossed` holds the tokens of requests that crossed with surplus bytes on the wire.
    """

    def __init__(self) -> None:
        self.heard: dict[int, float] = {}
        self.wrong: list[str] = []
        self.crossed: set[int] = set()
        self._calls: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=512)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for call in list(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(Call(reader, writer)))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _serve(self, call: Call) -> None:
        try:
            while await self._one(call):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the proxy leaves whenever a client does
        except (ValueError, asyncio.LimitOverrunError) as error:
            self.wrong.append(str(error))
        finally:
            await call.close()

    async def _one(self, call: Call) -> bool:
        plan = await call.head()
        if plan is None:
            return False
        self.heard[plan.token] = asyncio.get_running_loop().time()
        if call.spoilt is not None:
            since, token = call.spoilt
            if asyncio.get_running_loop().time() > since:
                self.wrong.append(f"{plan} came on a connection that {token} had spoilt")
            self.crossed.add(plan.token)
            return False
        if plan.fault not in ("early", "early-end"):
            await call.body(plan)
        return await ACTS[plan.fault](call, plan)


# ---- answers


def head_of(plan: Plan, *fields: bytes, framing: str = "", status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, *fields]
    if plan.named:
        lines.append(b"X-Token: <%010d>" % plan.token)
    if (framing or plan.framing) == "length":
        lines.append(b"Content-Length: %d" % plan.size)
    elif (framing or plan.framing) == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
    return b"\r\n".join([*lines, b"", b""])


def pieces_of(plan: Plan) -> list[bytes]:
    """The whole answer, in the pieces in which it may be sent."""
    last = [b"Connection: close"] if plan.fault == "last" else []
    head = head_of(plan, *last)
    if plan.method == b"HEAD":
        return [head]
    body = content(plan.token, plan.size)
    half = len(body) // 2
    return [head, *framed([body[:half], body[half:]], chunked=plan.framing == "chunked")]


async def whole(call: Call, plan: Plan) -> bool:
    pieces = pieces_of(plan)
    if plan.token % 2:
        pieces = [b"".join(pieces)]
    for piece in pieces:
        await call.say(piece)
    return plan.framing != "close" or plan.method == b"HEAD"


async def last(call: Call, plan: Plan) -> bool:
    await whole(call, plan)
    return False


async def dripped(call: Call, plan: Plan) -> bool:
    octets = b"".join(pieces_of(plan))
    for at in range(60):
        await call.say(octets[at : at + 1])
        await asyncio.sleep(0)
    await call.say(octets[60:])
    return plan.framing != "close" or plan.method == b"HEAD"


async def hinted(call: Call, plan: Plan) -> bool:
    for _ in range(3):
        await call.say(head_of(plan, b"Link: </a>", framing="none", status=b"103 Early Hints"))
    return await whole(call, plan)


async def early(call: Call, plan: Plan) -> bool:
    going_on = await whole(call, plan)
    await call.body(plan)
    return going_on


async def surplus(call: Call, plan: Plan) -> bool:
    """More content than was announced, or any after the head where there can be none."""
    body = content(plan.token, plan.size)
    await call.say(head_of(plan, framing="length") + body + content(plan.token, 50))
    return call.spoil(plan)


async def second_answer(call: Call, plan: Plan) -> bool:
    answer = b"".join(pieces_of(plan))
    await call.say(answer + answer)
    return call.spoil(plan)


async def content_with_204(call: Call, plan: Plan) -> bool:
    head = head_of(plan, status=b"204 No Content", framing="length")
    await call.say(head + content(plan.token, plan.size))
    return call.spoil(plan)


async def late_surplus(call: Call, plan: Plan) -> bool:
    return await _late(call, plan, content(plan.token, 50))


async def late_answer(call: Call, plan: Plan) -> bool:
    return await _late(call, plan, b"".join(pieces_of(plan)))


async def _late(call: Call, plan: Plan, octets: bytes) -> bool:
    """A whole answer, and when nothing has come since, bytes that nobody asked for.

    On loopback they are there when they have been sent.
    """
    await call.say(b"".join(pieces_of(plan)))
    if not await call.idle(plan.token % 5 * 0.001):
        return True
    await call.say(octets)
    return call.spoil(plan, crossing=CROSSING if call.unread else 0.0)


async def closed_at_once(call: Call, plan: Plan) -> bool:
    return False


async def reset_at_once(call: Call, plan: Plan) -> bool:
    call.reset()
    return False


async def garbage(call: Call, plan: Plan) -> bool:
    await call.say(content(plan.token, plan.size + 1) + b"\r\n\r\n")
    return call.spoil(plan)


async def half_head(call: Call, plan: Plan) -> bool:
    head = head_of(plan)
    await call.say(head[: plan.token % (len(head) - 1)])
    return False


async def reset_in_head(call: Call, plan: Plan) -> bool:
    await half_head(call, plan)
    call.reset()
    return False


async def endless_head(call: Call, plan: Plan) -> bool:
    await call.say(head_of(plan)[:-2])
    with contextlib.suppress(ConnectionError):
        for number in range(2000):
            await call.say(b"X-%d: <%010d> %s\r\n" % (number, plan.token, b"x" * 100))
    return False


async def two_lengths(call: Call, plan: Plan) -> bool:
    body = content(plan.token, plan.size)
    await call.say(head_of(plan, b"Content-Length: %d" % (plan.size + 7), framing="length") + body)
    return call.spoil(plan)


async def length_and_chunks(call: Call, plan: Plan) -> bool:
    chunks = framed([content(plan.token, plan.size)], chunked=True)
    both = head_of(plan, b"Transfer-Encoding: chunked", framing="length")
    await call.say(both + b"".join(chunks))
    return call.spoil(plan)


async def hints_without_end(call: Call, plan: Plan) -> bool:
    hint = head_of(plan, b"Link: " + b"l" * 500, framing="none", status=b"103 Early Hints")
    with contextlib.suppress(ConnectionError):
        for _ in range(400):
            await call.say(hint)
    return False


async def switched_unasked(call: Call, plan: Plan) -> bool:
    fields = b"Connection: Upgrade", b"Upgrade: websocket"
    await call.say(head_of(plan, *fields, framing="none", status=b"101 Switching Protocols"))
    return call.spoil(plan)


async def silent(call: Call, plan: Plan) -> bool:
    return not await call.reader.read(1)


async def half_body(call: Call, plan: Plan) -> bool:
    await _half(call, plan)
    return False


async def reset_in_body(call: Call, plan: Plan) -> bool:
    await _half(call, plan)
    call.reset()
    return False


async def stalled_body(call: Call, plan: Plan) -> bool:
    await _half(call, plan)
    await call.reader.read(1)
    return False


async def bad_chunk(call: Call, plan: Plan) -> bool:
    await _half(call, plan)
    if plan.method != b"HEAD":
        await call.say(b"xyz\r\n" + content(plan.token, 50))
    return False


async def _half(call: Call, plan: Plan) -> None:
    """Head and some of the content, but not all of it."""
    head, *body = pieces_of(plan)
    await call.say(head)
    if body:
        await call.say(body[0])


ACTS: dict[str, Act] = {
    "whole": whole,
    "last": last,
    "last-unsaid": last,
    "dripped": dripped,
    "hinted": hinted,
    "early": early,
    "early-end": last,
    "surplus": surplus,
    "second-answer": second_answer,
    "content-with-204": content_with_204,
    "late-surplus": late_surplus,
    "late-answer": late_answer,
    "closed-at-once": closed_at_once,
    "reset-at-once": reset_at_once,
    "garbage": garbage,
    "half-head": half_head,
    "reset-in-head": reset_in_head,
    "endless-head": endless_head,
    "two-lengths": two_lengths,
    "length-and-chunks": length_and_chunks,
    "hints-without-end": hints_without_end,
    "switched-unasked": switched_unasked,
    "silent": silent,
    "half-body": half_body,
    "reset-in-body": reset_in_body,
    "stalled-body": stalled_body,
    "bad-chunk": bad_chunk,
}
