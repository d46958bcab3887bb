"""Files that are whole or not there, and that nobody else may read.

Law: a file gets its final name only after its bytes are on the disk, and has mode 0600 from its
first byte on. Every failure is a StoreError that names the file.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import StoreError

_PROBE_SIZE = 32 * 1024


@contextmanager
def failures_named() -> Iterator[None]:
    """Turns an OSError into a StoreError that says which file and why."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{error.filename or 'the store'}: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Make a folder 0700 where there is none, and its parents; an existing one keeps its mode."""
    if not folder.is_dir():
        # One by one: `parents=True` would leave the parents open to everybody.
        if not folder.parent.exists():
            make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def replace(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Put `content` at `path` in one step; readers see the old file or the new one.

    `durable` also waits until both the bytes and the name are on the disk.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        _write(temporary, content, durable=durable)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the folder's names are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> bytes | None:
    """The content, or None where nothing can be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def probe(folder: Path) -> None:
    """Raise OSError unless as much as a pair and its state take can be written now."""
    path = folder / f".probe.{secrets.token_hex(4)}"
    try:
        _write(path, bytes(_PROBE_SIZE), durable=True)
    finally:
        with suppress(OSError):
            path.unlink()


class Lock:
    """An exclusive lock by `flock`, which the kernel drops with the process that held it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def take(self) -> bool:
        """Try without waiting; True when it is held now. Raises OSError where no lock can be."""
        if self._descriptor is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
