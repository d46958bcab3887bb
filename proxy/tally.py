"""Figures that each process counts for itself and any process reads.

Law: a tally is written by one process at a time, and whatever becomes of that process, even within
a write, what it counted stands, once, and can be read.

Theory. One file without a name holds all tallies, each SIZE bytes of it (what is never touched
takes no memory). It grows while processes run that know it from before; they see that by its size.
A tally is a header and a table of series that only grows: a new series is written behind the end,
then the end is moved behind it. Nobody looks beyond the end; a checksum makes a reader wait on
machines whose cores see another's writes in another order. So nobody sees half a series. Values are
aligned 64-bit integers, which the machine reads and writes whole. Who takes a tally over goes on
where the last process ended: counters survive their process, gauges begin anew.
"""

import mmap
import os
import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import islice
from math import inf
from operator import add
from struct import Struct
from typing import NamedTuple, TypeVar
from zlib import crc32

from .memory_file import memory_file
from .steps import Steps, at_once, gathered

T = TypeVar("T")
Key = tuple[str, ...]
"""A name and the values of its labels; no NUL in any."""

SIZE = 4 * 1024 * 1024
# What a table keeps back for `other`: one series for each name, of which there are some dozens.
_RESERVE = 64 * 1024
_OTHER = "other"
# Changes with whatever is said below about places; a file of another layout is not adopted.
_LAYOUT = 0x686F700001
# The header's words. The layout is written last: before it, there is no tally yet.
_LAYOUT_AT, _END, _TAKEN, _PID, _BEAT, _OVERFLOWS = range(6)
_HEADER = 16
_WORD = 8
# What stands before a series' key: the series' length in words, the key's length in bytes; then a
# checksum of these and of the key. The key begins with the kind and the width, which are part of
# what a series is; the name and the labels follow.
_LENGTHS = Struct("=qq")
_PREFIX = 3
_SHAPE = Struct("=BH")
_UNSET = -(2**63)
# 2 ms, where they are read for the first time.
_SERIES_AT_ONCE = 250


class Kind(IntEnum):
    """How the values of several processes become one."""

    COUNTER = 1
    """The sum, those of ended processes included."""
    GAUGE = 2
    """The sum over living processes."""
    LEAST = 3
    """The smallest that a living process has set."""
    MOST = 4
    """The largest that a living process has set."""


_MERGED: dict[int, Callable[[int, int], int]] = {Kind.GAUGE: add, Kind.LEAST: min, Kind.MOST: max}


class Series(NamedTuple):
    """What is counted under one key; a histogram is a counter `width` values wide."""

    key: Key
    kind: Kind = Kind.COUNTER
    width: int = 1

    def to_bytes(self) -> bytes:
        """The series as it is written down; two that differ in anything differ in this."""
        return _SHAPE.pack(self.kind, self.width) + "\0".join(self.key).encode("utf-8")

    @classmethod
    def from_bytes(cls, written: bytes) -> "Series":
        """The series that is written down like this."""
        kind, width = _SHAPE.unpack_from(written)
        return cls(tuple(written[_SHAPE.size :].decode("utf-8").split("\0")), Kind(kind), width)


class Tally:
    """The figures of one process: 64-bit integers, `values[place(series)]` and those behind it.

    `values` is for the hot path: `tally.values[place] += 1` is all that a count costs. Only the
    process that holds the tally may write.
    """

    __slots__ = ("_bytes", "_counters", "_gauges", "_places", "_seen", "values")

    def __init__(self, descriptor: int, offset: int) -> None:
        self._bytes = memoryview(mmap.mmap(descriptor, SIZE, offset=offset))
        self.values = self._bytes.cast("q")
        self._places: dict[bytes, int] = {}
        self._counters: list[tuple[bytes, int, int]] = []
        self._gauges: list[tuple[bytes, int]] = []
        self._seen = _HEADER

    @classmethod
    def alone(cls) -> "Tally":
        """A tally that no other process knows."""
        descriptor = memory_file("hopward-tallies")
        os.ftruncate(descriptor, SIZE)
        tally = cls(descriptor, 0)
        os.close(descriptor)
        tally.format()
        return tally

    def format(self) -> None:
        """Make an empty tally of a stretch that is none yet."""
        if self.values[_LAYOUT_AT] != _LAYOUT:
            self.values[_END] = _HEADER
            self.values[_LAYOUT_AT] = _LAYOUT

    def begin(self) -> None:
        """Say that this process holds the tally from now on."""
        self.values[_PID] = os.getpid()
        self.beat()

    def beat(self) -> None:
        """Say that this process is well."""
        self.values[_BEAT] = time.monotonic_ns()

    @property
    def heartbeat(self) -> float:
        """When the last `beat` was, in seconds of time.monotonic(); 0.0: not since it was taken."""
        return self.values[_BEAT] / 1e9

    @property
    def pid(self) -> int:
        """The process that holds the tally; 0 when none does, or it has not begun yet."""
        return self.values[_PID]

    @property
    def taken(self) -> bool:
        """Whether a process holds the tally, or is about to."""
        return bool(self.values[_TAKEN])

    @property
    def overflows(self) -> int:
        """How often there was no room for a series, so that it counted under `other`."""
        return self.values[_OVERFLOWS]

    def place(self, series: Series) -> int:
        """Where the values of a series are; a new one begins at 0, LEAST and MOST unset.

        Where there is no room for another, all of its labels are `other`.
        """
        written = series.to_bytes()
        found = self._places.get(written)
        if found is None:
            self._read_on()
            found = self._places.get(written) or self._append(series, written)
        return found

    def add(self, key: Key, amount: int = 1) -> None:
        """Count `amount` more of a counter one value wide."""
        self.values[self.place(Series(key))] += amount

    def reading_into(self, sums: dict[bytes, list[int]]) -> Steps[None]:
        """Add every series, as it is now, to the `sums` of other tallies by its kind.

        Left out are gauges of a tally that nobody holds, and LEAST and MOST that nobody set.
        """
        while not self.read_on(_SERIES_AT_ONCE):
            yield
        values = self.values[: self._seen].tolist()
        for counters in _pieces(self._counters):
            _sum_counters(counters, values, sums)
            yield
        for gauges in _pieces(self._gauges if self.taken else []):
            _merge_gauges(gauges, values, sums)
            yield

    def take(self) -> None:
        """Reserve the tally for a process that is about to begin."""
        self.values[_TAKEN] = 1

    def release(self) -> None:
        """Its process has ended: gauges fall to nothing, counters stay."""
        self._read_on()
        for written, place in self._gauges:
            self.values[place] = _unset(written)
        self.values[_PID] = self.values[_BEAT] = 0
        self.values[_TAKEN] = 0

    def _append(self, series: Series, written: bytes) -> int:
        start = self.values[_END]
        place = start + _PREFIX + -(-len(written) // _WORD)
        end = place + series.width
        other = series._replace(key=(series.key[0], *[_OTHER] * (len(series.key) - 1)))
        if end * _WORD > SIZE - _RESERVE * (series != other):
            self.values[_OVERFLOWS] += 1
            return self.place(other)
        # A process that was killed right here may have left something behind the end.
        for value in range(place, end):
            self.values[value] = _unset(written)
        lengths = _LENGTHS.pack(end - start, len(written))
        self._bytes[start * _WORD :][: _LENGTHS.size] = lengths
        self.values[start + _PREFIX - 1] = crc32(lengths + written)
        self._bytes[(start + _PREFIX) * _WORD :][: len(written)] = written
        self.values[_END] = end
        self._read_on()
        return place

    def read_on(self, most: int) -> bool:
        """Learn of so many of the series that came behind those already known; whether of all."""
        known = len(self._places)
        self._read_on(known + most)
        return len(self._places) < known + most

    def _read_on(self, until: float = inf) -> None:
        """Learn of the series that came behind those already known, `until` so many are."""
        end = self.values[_END]
        while self._seen < end and len(self._places) < until:
            lengths = bytes(self._bytes[self._seen * _WORD :][: _LENGTHS.size])
            length, size = _LENGTHS.unpack(lengths)
            written = bytes(self._bytes[(self._seen + _PREFIX) * _WORD :][: max(0, size)])
            if self.values[self._seen + _PREFIX - 1] != crc32(lengths + written):
                return
            self._seen += length
            self._places[written] = place = self._seen - _width(written)
            if written[0] == Kind.COUNTER:
                self._counters.append((written, place, self._seen))
            else:
                self._gauges.append((written, place))


class Tallies:
    """All tallies of one hopward, kept by its supervisor; its children know them by inheritance.

    `descriptor` is the file's: whoever has it has them all, also those made later.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = memory_file("hopward-tallies") if descriptor is None else descriptor
        self._known: list[Tally] = []
        self._read: dict[bytes, Series] = {}

    @classmethod
    def adopt(cls, descriptor: int) -> "Tallies":
        """Those of the program that this one was exec'ed from; who holds which stays as it was.

        Raises ValueError for a file of another layout, of another version of hopward.
        """
        tallies = cls(descriptor)
        odd = os.fstat(descriptor).st_size % SIZE
        if odd or any(tally.values[_LAYOUT_AT] != _LAYOUT for tally in tallies):
            raise ValueError("these figures are laid out in another way")
        return tallies

    def __iter__(self) -> Iterator[Tally]:
        """All there are, also those that another process has made since."""
        for offset in range(SIZE * len(self._known), os.fstat(self.descriptor).st_size, SIZE):
            self._known.append(Tally(self.descriptor, offset))
        return iter(list(self._known))

    def take(self) -> Tally:
        """A tally for a process about to be forked: one that is free, else a new one.

        Only one process may ask for this and for `release`.
        """
        for tally in self:
            if not tally.taken:
                tally.take()
                return tally
        os.ftruncate(self.descriptor, SIZE * (len(self._known) + 1))
        [*_, tally] = self
        tally.format()
        tally.take()
        return tally

    def release(self, tally: Tally) -> None:
        """The process that held this tally has ended."""
        tally.release()

    def held_by(self, pid: int) -> Tally | None:
        """The tally of a process that has begun; None where there is none."""
        return next((tally for tally in self if tally.taken and tally.pid == pid), None)

    def read(self) -> list[tuple[Series, list[int]]]:
        """The figures of all processes as one; at any time, from any process."""
        return at_once(self.reading())

    def reading(self) -> Steps[list[tuple[Series, list[int]]]]:
        """`read` in steps: there may be thousands of series, from dozens of processes."""
        sums: dict[bytes, list[int]] = {}
        for tally in self:
            yield from tally.reading_into(sums)
            yield
        found = ((self._series(written), values) for written, values in sums.items())
        return (yield from gathered(found, _SERIES_AT_ONCE))

    def _series(self, written: bytes) -> Series:
        found = self._read.get(written)
        if found is None:
            found = self._read[written] = Series.from_bytes(written)
        return found

    @property
    def overflows(self) -> int:
        """How often a series counted under `other` for want of room, in all processes."""
        return sum(tally.overflows for tally in self)


def _sum_counters(
    counters: list[tuple[bytes, int, int]], values: list[int], sums: dict[bytes, list[int]]
) -> None:
    for written, place, end in counters:
        sum_ = sums.get(written)
        if sum_ is None:
            sums[written] = values[place:end]
        elif end - place == 1:
            sum_[0] += values[place]
        else:
            sum_[:] = map(add, sum_, values[place:end])


def _merge_gauges(
    gauges: list[tuple[bytes, int]], values: list[int], sums: dict[bytes, list[int]]
) -> None:
    for written, place in gauges:
        value = values[place]
        if value != _UNSET:
            before = sums.get(written)
            sums[written] = [_MERGED[written[0]](before[0], value) if before else value]


def _pieces(series: list[T]) -> Iterator[list[T]]:
    # Of now: others may be learnt of before they are through.
    known = iter(series[:])
    return iter(lambda: list(islice(known, _SERIES_AT_ONCE)), [])


def _width(written: bytes) -> int:
    width: int = _SHAPE.unpack_from(written)[1]
    return width


def _unset(written: bytes) -> int:
    return _UNSET if written[0] in (Kind.LEAST, Kind.MOST) else 0
