"""A number for each process: workers that share memory have a column each, and no two the same.

Law: a berth is held as long as its process lives, whatever ends that, for it is the kernel that
says so: it drops the record locks (fcntl(2)) of a process that is gone. Nobody waits here.
"""

import fcntl
import mmap
import os
import weakref
from collections.abc import Callable

from .memory_file import memory_file

# Each generation of workers has its own, so this is several reloads with tunnels that live on.
BERTHS = 64


class Berths:
    """BERTHS numbers from 0 on; made before the processes are forked that take them."""

    def __init__(self, label: str) -> None:
        # Open as long as this is known, and once only: with any descriptor of a file that a process
        # closes, all its locks on it fall.
        self._file = memory_file(label)
        weakref.finalize(self, os.close, self._file)
        self._ever_taken = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def used(self) -> int:
        """All berths that were ever taken are below this."""
        return self._ever_taken.rfind(b"\1") + 1

    def take(self, vacate: Callable[[int], None] = lambda _: None) -> int | None:
        """The berth that is this process's until it ends; None when all are taken.

        `vacate` is called with each berth that nobody holds, this one among them; while it runs
        nobody takes that one.
        """
        own = None
        for berth in range(BERTHS):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, berth)
            except OSError:
                continue
            if self._ever_taken[berth]:
                vacate(berth)
            if own is None:
                own, self._ever_taken[berth] = berth, 1
            else:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, berth)
        return own
