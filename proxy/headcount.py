"""How many connections each client has, over all workers.

Law: a count is never too low; it is too high only where a client shares all ROWS of its cells with
others, which a keyed hash makes rare and nobody can bring about.

Theory. A count-min sketch (Cormode and Muthukrishnan): each connection is counted in one cell of
each row, and the smallest of a client's cells is its count. The memory is fixed, nobody has to make
room, and each worker writes in a column of its own, so that no count is lost and none outlives its
worker. With 20000 clients of one connection each, a newcomer counts as 1 in 199 of 200 cases, as 2
in the last.
"""

import hashlib
import mmap
import secrets

from .addresses import client_network
from .berths import BERTHS, Berths

ROWS = 4
_WIDTH = 65536
_CELLS = ROWS * _WIDTH
_NOTHING = bytes(4 * _CELLS)


class Headcount:
    """Made before the workers are forked."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._berths = Berths("hopward-headcount")
        # Pages that are never touched take no memory.
        self._bytes = memoryview(mmap.mmap(-1, len(_NOTHING) * BERTHS))
        self._counts = self._bytes.cast("I")
        self._column: int | None = None

    def join(self) -> None:
        """Say in a worker, before its first connection, that it is one; the dead are forgotten."""
        berth = self._berths.take(self._forget)
        # Without a berth a worker's connections are not counted, so that nobody is shut out.
        self._column = None if berth is None else berth * _CELLS

    def arrive(self, address: str) -> int:
        """Count one more of a client; returns how many it has now, in all workers.

        `address` is a plain one; of an IPv6 address the first 64 bits count.
        """
        cells = self._cells(address)
        self._add(cells, 1)
        end = self._berths.used * _CELLS
        return min(sum(self._counts[cell:end:_CELLS]) for cell in cells)

    def leave(self, address: str) -> None:
        """Count one less."""
        self._add(self._cells(address), -1)

    def _add(self, cells: list[int], change: int) -> None:
        if self._column is not None:
            for cell in cells:
                self._counts[self._column + cell] += change

    def _cells(self, address: str) -> list[int]:
        digest = hashlib.blake2b(
            client_network(address), digest_size=2 * ROWS, key=self._secret
        ).digest()
        places = memoryview(digest).cast("H")
        return [row * _WIDTH + place for row, place in enumerate(places)]

    def _forget(self, berth: int) -> None:
        self._bytes[berth * len(_NOTHING) :][: len(_NOTHING)] = _NOTHING
