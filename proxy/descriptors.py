"""How many descriptors a process may have, and how many clients that is.

Law: a client that is let in can be served to the end. So there are never as many clients as
descriptors: each may need an upstream, and the process needs files of its own. Where descriptors
run out all the same, the loop closes new connections unseen (libuv keeps a spare one for that).
"""

import asyncio
import resource
from contextlib import suppress
from typing import cast

from .log import Log

# Listening sockets, the loop, logs, files that are read; of a small limit, half.
_OWN = 64
# What is kept for upstreams that clients let in already may yet need.
_SHARE_OF_UPSTREAMS = 4
# Beyond this no process of ours gets, and some programs that hooks start go through all numbers.
_MOST = 1 << 20
# So many clients fewer than there is room for are enough again: not a word for each that comes.
_ENOUGH = 0.9


def raise_limit() -> None:
    """Allow this process and its children as many descriptors as the system lets them have.

    The soft limit of 1024 is there for programs that use select(2); ours do not (`waiting`).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS has a limit of its own below the hard one.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """How many descriptors this process may have now."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST if soft == resource.RLIM_INFINITY else soft


def clients(limit: int, upstreams: int = 0) -> int:
    """How many clients have room beside so many upstreams. Pure."""
    left = limit - min(_OWN, limit // 2)
    return max(1, left - max(upstreams, left // _SHARE_OF_UPSTREAMS))


def warn(log: Log, connections: int | None, workers: int) -> None:
    """Say it where the `connections` that are configured are more than there is room for."""
    may = limit()
    room = clients(may) * workers
    if connections is not None and connections > room:
        log.warning(
            "few-descriptors",
            message=f"limits.connections is {connections}, but with {may} descriptors for each "
            f"process there is room for {room}; raise LimitNOFILE= or ulimit -n",
        )


class Room:
    """Room for the clients of one process. `configured`: how many it is to have at most.

    most    so many are served; who comes beyond is told that there is no room
    bound   so many are let in at all: to be told takes a descriptor too
    """

    def __init__(self, configured: int | None, log: Log | None = None) -> None:
        self._configured = configured
        self._log = log
        self._short = False
        self.most = self.bound = 0
        self.measure(0, 0)

    def measure(self, now: int, upstreams: int) -> None:
        """How much room there is beside so many upstreams, with so many clients `now`.

        Says once when descriptors limit them, and once when they do no more.
        """
        may = limit()
        room = clients(may, upstreams)
        self.most = room if self._configured is None else min(room, self._configured)
        self.bound = room + max(1, (may - room - upstreams) // 2)
        if self._log is None:
            return
        figures = {"clients": now, "upstreams": upstreams, "descriptors": may}
        if now >= room and not self._short:
            self._short = True
            self._log.error("descriptors-short", **figures)
        elif self._short and now < room * _ENOUGH:
            self._short = False
            self._log.warning("descriptors-enough", **figures)


class TurnedAway(asyncio.Protocol):
    """A connection for which there is no descriptor to spare: it ends as it begins."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()
