"""One coarse clock per worker.

Law: no timer per request. A connection writes down when its patience ends; the clock compares these
times when it ticks. That is one comparison per connection and tick, where a timer for each request
would cost a heap operation twice.
"""

import asyncio
import math
from collections.abc import Callable
from email.utils import formatdate

# The shortest duration anyone configures is some hundred milliseconds; a tick late is no harm.
TICK = 0.25
NEXT_TICK = -math.inf
"""A deadline that has passed when the clock ticks next."""


class Clock:
    """Calls `ticked` with the loop's time every TICK seconds, and knows the date for fields.

    `date` is an IMF-fixdate (RFC 9110 §5.6.7) as bytes, true to the second.
    """

    __slots__ = ("_loop", "_ticked", "_timer", "date")

    def __init__(self, loop: asyncio.AbstractEventLoop, ticked: Callable[[float], None]) -> None:
        self._loop = loop
        self._ticked = ticked
        self.date = b""
        self._tick()

    def stop(self) -> None:
        """Tick no more."""
        self._timer.cancel()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)
        date = formatdate(usegmt=True).encode("ascii")
        # The same object as long as it says the same, so that "is" tells a new second.
        if date != self.date:
            self.date = date
        self._ticked(self._loop.time())
