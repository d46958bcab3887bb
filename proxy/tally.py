"""Counters that several processes share.

Law: each is written by one process and read by any; it outlives the process that wrote it, because
the memory belongs to the supervisor, which made it before it forked.
"""

import mmap
from collections.abc import Iterable, Iterator

Key = tuple[str, ...]


class Tally:
    """64-bit counters, one for each key; all keys are known from the start."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._places = {key: place for place, key in enumerate(keys)}
        # At least a page: an empty mapping is an error.
        self._counts = memoryview(mmap.mmap(-1, max(mmap.PAGESIZE, 8 * len(self._places))))
        self._counts = self._counts.cast("Q")

    def add(self, key: Key) -> None:
        """Count one more of `key`. Raises KeyError for one that was not there from the start."""
        self._counts[self._places[key]] += 1

    def items(self) -> Iterator[tuple[Key, int]]:
        """Every key with its count."""
        for key, place in self._places.items():
            yield key, self._counts[place]
