"""Waiting for descriptors, whatever their numbers.

Law: poll(2), never select(2). That takes no number above 1023, and a process with a thousand
connections, or a thousand retired children, has such.
"""

import math
import select
from collections.abc import Iterable


def readable(descriptors: Iterable[int], seconds: float | None) -> list[int]:
    """Those that can be read, or have ended, within so many seconds; None: however long it takes.

    Empty where none can.
    """
    return _wait(descriptors, select.POLLIN, seconds)


def writable(descriptor: int, seconds: float | None) -> bool:
    """Whether it can be written within so many seconds; also true of one whose reader is gone."""
    return bool(_wait([descriptor], select.POLLOUT, seconds))


def _wait(descriptors: Iterable[int], what: int, seconds: float | None) -> list[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, what)
    milliseconds = None if seconds is None else math.ceil(seconds * 1000)
    return [descriptor for descriptor, _ in poll.poll(milliseconds)]
