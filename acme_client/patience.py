"""Waiting that ends when it is told to.

Law: nothing in this package sleeps but here.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator

from .errors import Stopped
from .times import Monotonic, monotonic

# The first looks come fast, since a private authority is done in milliseconds.
_FIRST, _GROWTH, _LONGEST = 0.03, 1.6, 5.0


def set_by(stop: threading.Event, *numbers: signal.Signals) -> None:
    """Have these signals set `stop`, whatever the main thread is at.

    A handler runs in the midst of what that thread does, and where that is a wait for `stop` the
    thread may hold the lock that setting it takes. So another thread sets it.
    """
    for number in numbers:
        signal.signal(number, lambda *_: _thread.start_new_thread(stop.set, ()))


class Patience:
    """Waits until a time is over or `stop` is set."""

    def __init__(self, stop: threading.Event, clock: Monotonic = monotonic) -> None:
        self.stop = stop
        self._clock = clock

    def wait(self, seconds: float) -> None:
        """Raises Stopped as soon as `stop` is set."""
        if self.stop.wait(max(0.0, seconds)):
            raise Stopped

    def looks(self, seconds: float) -> Iterator[None]:
        """Yield at once and then ever more rarely, until that many seconds are over."""
        end, pause = self._clock() + seconds, _FIRST
        while True:
            yield
            left = end - self._clock()
            if left <= 0:
                return
            self.wait(min(pause, left))
            pause = min(pause * _GROWTH, _LONGEST)
