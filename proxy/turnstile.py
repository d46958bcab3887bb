"""How much of one kind a turn of the loop does: handshakes, or requests that were sent ahead.

Law: who asks once it has heard the answer waits neither for newcomers nor for those who do not
listen. A handshake takes as long as 30 requests, so a thousand hellos that come at once would keep
each request waiting for a third of a second; and of a hundred clients that send ahead each would
have a request under way all the time.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

# Half a millisecond of a turn: a handshake takes 0.3 ms, a request with its answer 0.1. With 8
# there are as many handshakes a second, and a tenth more answers to what was sent ahead; who is
# to wait for neither waits twice as long (docs/reliability.md).
AT_ONCE = 2
# A ClientHello with a post-quantum key share takes 1.8 KB.
_USUAL = 4096


class Newcomer(Protocol):
    """A connection whose handshake is not done."""

    transport: asyncio.Transport

    def hold(self) -> None:
        """Read no more from the client for now."""

    def release(self) -> None:
        """Read from the client again."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where what the client sends is received."""

    def buffer_updated(self, nbytes: int) -> None:
        """Take what the client has sent: so many bytes lie there."""


class Turnstile:
    """Lets AT_ONCE pass in one turn of the loop; the others wait, in their order."""

    __slots__ = ("_left", "_loop", "_queued", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # A turn is only told from the next one when it has come to this: to be told of each would
        # cost every handshake a microsecond. Where nothing is left, the next turn is on its way.
        self._left = AT_ONCE
        self._waiting: deque[Callable[[], None]] = deque()
        self._queued: dict[Newcomer, list[bytes]] = {}

    def passes(self) -> bool:
        """Whether one more may pass in this turn; who may not is to `wait`."""
        if not self._left:
            return False
        self._left -= 1
        if not self._left:
            self._loop.call_soon(self._turn)
        return True

    def wait(self, go_on: Callable[[], None]) -> None:
        """Have this called when there is room; unless it is not needed any more, it `passes` then.

        For those who did not pass.
        """
        self._waiting.append(go_on)

    def holds(self, newcomer: Newcomer, size: int) -> bool:
        """Whether this has to wait: then the newcomer gets it again, behind what waits already.

        It is read no further once it says more than a client that waits for an answer to its hello.
        To stop reading of everybody, and begin again, cost a resumed connection 3 % (`wrk`, fresh
        connections 32 at a time).
        """
        queued = self._queued.get(newcomer)
        if queued is None:
            if self.passes():
                return False
            queued = self._queued[newcomer] = []
            self.wait(partial(self._again, newcomer))
        if size > _USUAL or queued:
            newcomer.hold()
        queued.append(bytes(newcomer.get_buffer(size)[:size]))
        return True

    def _again(self, newcomer: Newcomer) -> None:
        """All of it at once: who is no newcomer after the first of it asks no more for the rest."""
        queued = self._queued.pop(newcomer)
        if not newcomer.transport.is_closing():
            newcomer.release()
        for data in queued:
            if not newcomer.transport.is_closing():
                newcomer.get_buffer(len(data))[: len(data)] = data
                newcomer.buffer_updated(len(data))

    def _turn(self) -> None:
        self._left = AT_ONCE
        try:
            while self._left and self._waiting:
                self._waiting.popleft()()
        finally:
            if self._left and self._waiting:
                # One has broken: until the next turn nobody may pass those behind it.
                self._left = 0
                self._loop.call_soon(self._turn)
