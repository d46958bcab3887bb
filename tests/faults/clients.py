"""Clients that ask one planned request after the other and judge every byte that comes back.

Law: what is judged is the stream, not a library's reading of it: no mark of another exchange may
stand in it, content must be a beginning of what was planned, and only a whole one may look whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Iterable
from typing import SupportsIndex

from tests.faults.origin import FaultyOrigin
from tests.faults.plan import CUT, HOST, WHOLE, Plan, Plans, strangers

PATIENCE = 60.0
GONE = "gone"  # the connection had ended before anything of the answer came


class WrongAnswerError(Exception):
    """What came is not what may come of the plan."""


class Listened(asyncio.StreamReader):
    """A reader that keeps all it was fed until it is forgotten."""

    def __init__(self) -> None:
        super().__init__(limit=2**20)
        self.record = bytearray()

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        self.record += bytes(data)
        super().feed_data(data)


class Connection:
    """One client's connection; `open` while another answer may come."""

    def __init__(self, reader: Listened, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.open = reader, writer, True
        self.ended = ""

    @classmethod
    async def to(cls, port: int, trusting: ssl.SSLContext) -> Connection:
        loop, reader = asyncio.get_running_loop(), Listened()
        transport, protocol = await loop.create_connection(
            lambda: asyncio.StreamReaderProtocol(reader),
            "127.0.0.1",
            port,
            ssl=trusting,
            server_hostname=HOST,
        )
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def send(self, plan: Plan) -> None:
        for piece in plan.request():
            self.writer.write(piece)
            await self.writer.drain()

    async def outcome(self, plan: Plan) -> str:
        """What comes of a request that was sent. Raises WrongAnswerError."""
        try:
            return await asyncio.wait_for(self._outcome(plan), PATIENCE)
        except TimeoutError:
            raise WrongAnswerError(f"{plan}: nothing for {PATIENCE} s") from None

    async def _outcome(self, plan: Plan) -> str:
        status, fields = 100, [b""]
        try:
            while status < 200:
                block = await self.reader.readuntil(b"\r\n\r\n")
                line, *fields = block.removesuffix(b"\r\n\r\n").lower().split(b"\r\n")
                status = int(line.split(b" ")[1])
                if status < 200 and status != 103:
                    raise WrongAnswerError(f"{plan}: {block!r}")
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            self.open = False
            return GONE
        self.open = b"connection: close" not in fields
        if status not in (200, 204):
            length = next(int(it[16:]) for it in fields if it.startswith(b"content-length: "))
            await self.reader.readexactly(0 if plan.method == b"HEAD" else length)
            return str(status)
        if plan.named and b"x-token: <%010d>" % plan.token not in fields:
            raise WrongAnswerError(f"{plan}: the token is not its own: {fields}")
        return await self._content(plan, fields, bodiless=plan.method == b"HEAD" or status == 204)

    async def _content(self, plan: Plan, fields: list[bytes], *, bodiless: bool) -> str:
        got, whole = bytearray(), True
        if not bodiless:
            try:
                await self._read_into(got, fields)
            except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError) as error:
                whole = self.open = False
                self.ended = f"{len(got)} bytes, then {error!r}"
        if whole and got != plan.answer:
            raise WrongAnswerError(f"{plan}: {len(got)} bytes look whole: {bytes(got[:60])!r}")
        if not plan.answer.startswith(got):
            raise WrongAnswerError(f"{plan}: {bytes(got[:60])!r} is not its beginning")
        return WHOLE if whole else CUT

    async def _read_into(self, got: bytearray, fields: list[bytes]) -> None:
        if b"transfer-encoding: chunked" in fields:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                got += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return
        size = next(int(it[16:]) for it in fields if it.startswith(b"content-length: "))
        while len(got) < size:
            piece = await self.reader.read(min(65536, size - len(got)))
            if not piece:
                raise asyncio.IncompleteReadError(bytes(got), size)
            got += piece

    async def close(self) -> None:
        self.open = False
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def leave(self) -> None:
        """Go without a word, in the middle of whatever it was."""
        self.writer.transport.abort()
        await self.close()


class Crowd:
    """Clients at the same time, from one source of plans; `seen` counts each fault by outcome."""

    def __init__(
        self, port: int, trusting: ssl.SSLContext, plans: Plans, origin: FaultyOrigin
    ) -> None:
        self._port, self._trusting = port, trusting
        self._plans, self._origin = plans, origin
        self.seen: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []

    async def ask(self, exchanges: int, clients: int = 24) -> None:
        """Make so many exchanges."""
        last = self._plans.token + exchanges
        await asyncio.gather(*(self._one_client(last) for _ in range(clients)))

    async def _one_client(self, last: int) -> None:
        connection: Connection | None = None
        while self._plans.token < last and not self.wrong:
            if connection is None or not connection.open:
                if connection is not None:
                    await connection.close()
                connection = await Connection.to(self._port, self._trusting)
            await self._turn(connection)
        if connection is not None:
            await connection.close()

    async def _turn(self, connection: Connection) -> None:
        """One request, or several at once, or one that is left."""
        dice = self._plans.random.random()
        plans = [self._plans.next() for _ in range(3 if dice < 0.1 else 1)]
        connection.reader.record.clear()
        with contextlib.suppress(ConnectionError):
            for plan in plans:
                await connection.send(plan)
        if dice > 0.95:
            await asyncio.sleep(dice % 0.01)
            self._strangers(connection, plans)
            self.seen[plans[0].fault, "left"] += 1
            await connection.leave()
            return
        for at, plan in enumerate(plans):
            await self._judge(connection, plan, behind=plans[at + 1 :])
        self._strangers(connection, plans)

    async def _judge(self, connection: Connection, plan: Plan, behind: list[Plan]) -> None:
        unasked = not connection.open
        try:
            outcome = GONE if unasked else await connection.outcome(plan)
        except (WrongAnswerError, ValueError) as error:
            connection.open = False
            if plan.token not in self._origin.crossed:
                self.wrong.append(str(error))
            self.seen[plan.fault, "crossed"] += 1
            return
        self.seen[plan.fault, outcome] += 1
        # A reset takes with it what came before and was not read yet, of the answer before it too.
        reset = any(CUT in each.outcomes for each in (plan, *behind))
        may_be = plan.outcomes | ({GONE, CUT} if reset else {GONE} if unasked else set())
        if outcome not in may_be and plan.token not in self._origin.crossed:
            now, heard = asyncio.get_running_loop().time(), self._origin.heard.get(plan.token)
            when = "never" if heard is None else f"{now - heard:.3f} s ago"
            self.wrong.append(
                f"{plan}: {outcome}, the origin heard of it {when}; {connection.ended}"
            )

    def _strangers(self, connection: Connection, plans: list[Plan]) -> None:
        tokens = {plan.token for plan in plans}
        found = set(strangers(bytes(connection.reader.record), 0)) - tokens
        if found and not tokens & self._origin.crossed:
            self.wrong.append(f"{plans} got bytes of {found}")


def statuses(seen: Counter[tuple[str, str]]) -> Counter[str]:
    """How often each outcome was seen, whatever the fault."""
    total: Counter[str] = Counter()
    for (_, outcome), times in seen.items():
        total[outcome] += times
    return total
