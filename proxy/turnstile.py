"""How many handshakes one turn of the loop makes.

Law: who is known does not wait for those who are to be. A handshake takes as long as 30 requests,
so a thousand hellos that come at once would keep each request waiting for a third of a second.
"""

import asyncio
from collections import deque
from typing import Protocol

# 2 ms of a turn, at 0.3 ms each.
AT_ONCE = 8


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
    """Lets AT_ONCE pieces of handshakes pass in one turn; the others wait, in their order."""

    __slots__ = ("_left", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # A turn is only told from the next one when it has come to this: to be told of each would
        # cost every handshake a microsecond. Where nothing is left, the next turn is on its way.
        self._left = AT_ONCE
        self._waiting: deque[tuple[Newcomer, bytes]] = deque()

    def holds(self, newcomer: Newcomer, size: int) -> bool:
        """Whether this has to wait: then the newcomer is read no further, and gets it again."""
        if self._left:
            self._left -= 1
            if not self._left:
                self._loop.call_soon(self._turn)
            return False
        newcomer.hold()
        self._waiting.append((newcomer, bytes(newcomer.get_buffer(size)[:size])))
        return True

    def _turn(self) -> None:
        self._left = AT_ONCE
        try:
            while self._left and self._waiting:
                newcomer, data = self._waiting.popleft()
                if not newcomer.transport.is_closing():
                    newcomer.release()
                    newcomer.get_buffer(len(data))[: len(data)] = data
                    newcomer.buffer_updated(len(data))
        finally:
            if self._left and self._waiting:
                self._loop.call_soon(self._turn)
