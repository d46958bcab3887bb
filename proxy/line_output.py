"""Lines for a file, a pipe or a socket that may be full, slow or gone.

Law: whoever has lines to write never waits, and never fails. What cannot be written is dropped and
counted.

Theory. No operation on a regular file or on a pipe that others share can be made one that never
blocks, so a thread of its own writes, and a bounded queue stands before it. Several processes write
to one place without a lock: to a file opened for appending, a write is one; to a pipe, one of at
most PIPE_BUF bytes is (POSIX write()), and a socket's or a terminal's kernel keeps such a piece
together as well. So lines leave in pieces of whole lines no longer than that.
"""

import errno
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from .errors import StartError
from .waiting import writable

# Bytes that a pipe takes as a whole; POSIX promises 512 at least, Linux has 4096.
PIECE = select.PIPE_BUF
# Bytes that may wait for a reader; some 20000 lines of an access log.
MOST_WAITING = 8 * 1024 * 1024
# A file that was moved or removed is looked for this often where nobody said so.
LOOK_SECONDS = 1.0
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_REOPEN = b"reopen"
_END = b"end"


def open_standard_streams() -> None:
    """Give descriptors 0 to 2 to /dev/null where they are closed.

    Otherwise the next socket or file would get such a number, and the log with it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # What Python makes of a closed one is None.
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def try_out(to: str | Path) -> None:
    """Open a file and close it again. Raises StartError where lines could never be written."""
    if isinstance(to, Path):
        try:
            os.close(_open(to))
        except OSError as error:
            what = _words(error) if to.parent.is_dir() else f"there is no folder {to.parent}"
            raise StartError(f"the access log {to} cannot be written: {what}") from error


class LineOutput:
    """Writes lines `to` a descriptor or a file, in the order in which they were put.

    `error` says why the last lines could not be written, and is None when they could be; `lost`
    counts lines that never were written, `written` those that were.
    """

    def __init__(self, to: int | Path, *, most_waiting: int = MOST_WAITING) -> None:
        self._path = to if isinstance(to, Path) else None
        self._most = most_waiting
        self._fd = -1 if isinstance(to, Path) else to
        self._identity: tuple[int, int] | None = None
        self._look_at = 0.0
        self._piece = PIECE if self._fd < 0 else _piece(self._fd)
        # A line was cut short by a disk that was full.
        self._torn = False
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        # Each of these is written by one of the two threads only.
        self._put = self._put_lines = self._refused = 0
        self._done = self._done_lines = self._failed = 0
        self.error: str | None = None
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        return self._refused + self._failed

    @property
    def written(self) -> int:
        return self._done_lines - self._failed

    def put(self, lines: bytes) -> None:
        """Write these whole lines soon; drops them where too many wait already."""
        count = lines.count(b"\n")
        if self._put - self._done + len(lines) > self._most:
            self._refused += count
            return
        self._put += len(lines)
        self._put_lines += count
        self._queue.put(lines)

    def reopen(self) -> None:
        """Write what is put from now on to a file newly opened by its path."""
        self._queue.put(_REOPEN)

    def close(self, seconds: float) -> int:
        """Write what waits, for at most so long; returns how many lines were not written."""
        self._queue.put(_END)
        self._thread.join(seconds)
        return self._put_lines - self._done_lines

    # In the thread.

    def _run(self) -> None:
        self._look(now=True)
        while (lines := self._queue.get()) is not _END:
            if lines is _REOPEN:
                self._look(now=True)
            else:
                self._look()
                self._write(lines)
        if self._path is not None and self._fd >= 0:
            os.close(self._fd)

    def _write(self, lines: bytes) -> None:
        for piece in pieces(lines, self._piece):
            if self._fd < 0:
                self._failed += piece.count(b"\n")
            else:
                self._write_whole(piece)
            self._done += len(piece)
            self._done_lines += piece.count(b"\n")

    def _write_whole(self, piece: bytes) -> None:
        """Write a piece, or as much of it as there is room for."""
        left = memoryview(piece)
        try:
            if self._torn:
                self._write_some(b"\n")
                self._torn = False
            while left:
                left = left[self._write_some(left) :]
        except OSError as error:
            self.error = _words(error)
            self._failed += bytes(left).count(b"\n")
            begun = len(piece) - len(left)
            self._torn = self._torn or piece[:begun].rpartition(b"\n")[2] != b""
        else:
            self.error = None

    def _write_some(self, piece: bytes | memoryview) -> int:
        while True:
            try:
                return os.write(self._fd, piece)
            except BlockingIOError:
                writable(self._fd, None)

    def _look(self, *, now: bool = False) -> None:
        """Open the file anew when it is no longer where its path leads, or `now`."""
        if self._path is None:
            return
        time_now = time.monotonic()
        if not now and time_now < self._look_at:
            return
        self._look_at = time_now + LOOK_SECONDS
        if now or self._fd < 0 or _identity(self._path) != self._identity:
            self._open_anew(self._path)

    def _open_anew(self, path: Path) -> None:
        """On failure go on with what is open."""
        try:
            fresh = _open(path)
        except OSError as error:
            self.error = _words(error)
            return
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._torn = fresh, False
        found = os.fstat(fresh)
        self._identity = found.st_dev, found.st_ino
        self._piece = _piece(fresh)


def pieces(lines: bytes, most: int) -> Iterator[bytes]:
    """`lines`, cut at ends of lines into pieces of at most `most` bytes.

    A line that is longer is a piece by itself.
    """
    begin = 0
    while len(lines) - begin > most:
        end = lines.rfind(b"\n", begin, begin + most) + 1 or lines.index(b"\n", begin) + 1
        yield lines[begin:end]
        begin = end
    if begin < len(lines):
        yield lines[begin:]


def _open(path: Path) -> int:
    return os.open(path, _APPEND, 0o640)


def _piece(descriptor: int) -> int:
    """How many bytes are written at once: a file takes any number as a whole."""
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    return MOST_WAITING if regular else PIECE


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _words(error: OSError) -> str:
    if error.errno == errno.ENXIO:
        return "nobody reads this pipe"
    return error.strerror or str(error)
