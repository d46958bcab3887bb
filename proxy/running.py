"""What a running proxy tells the commands about itself.

Law: the kernel says who runs, the file only what it did. A process id that was written down may be
another program's by now; the holder of a lock is who it is.

In the store lie `running`, a JSON object replaced as a whole, and `running.lock`. The lock is one
of POSIX (fcntl): it belongs to the process that took it, no fork inherits it, and it is gone with
the process or with its next exec, so a worker that outlives its supervisor does not pass for it.
Its two bytes are locked one after the other, the second once the record is written; so whoever
finds the second one locked never reads the record of the run before.
"""

import fcntl
import json
import os
import struct
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from acme_client import files

from .errors import OperatorError

Result = Literal["success", "failure"]
_CLAIM, _RECORDED = 0, 1
# struct flock: the order of its members is the system's own.
_FLOCK, _MEMBERS = (
    ("qqihh", ("start", "length", "pid", "type", "whence"))
    if sys.platform == "darwin"
    else ("hhqqi", ("type", "whence", "start", "length", "pid"))
)


class AlreadyRunningError(OperatorError):
    """Another running proxy has this store's record."""


@dataclass(frozen=True)
class Record:
    """What is written down: the configuration's file, and how the last reload of it ended."""

    file: str
    """Absolute, links unresolved: what is read again."""
    local: bool
    """Whether it is read for local use."""
    attempts: int = 0
    """Reloads begun since the start because somebody asked, whatever came of them."""
    result: Result | None = None
    """Of the last one; None before the first, and while one is under way."""
    error: str | None = None
    """Why it failed, in words for the operator; may be several lines."""
    time: str | None = None
    """When it ended, ISO 8601 UTC."""


@dataclass(frozen=True)
class Found:
    """A proxy that runs now."""

    pid: int
    """The supervisor's; 0 where it runs out of sight, in a container of its own."""
    record: Record


class Running:
    """A proxy's own word on itself, from `begin` to `end` or to the end of its process."""

    def __init__(self, store: Path, descriptor: int, record: Record) -> None:
        self._store = store
        self._descriptor = descriptor
        self._record = record

    @classmethod
    def begin(cls, store: Path, file: Path, *, local: bool) -> Self:
        """Be found from now on as the proxy that serves by `file`, with no reload yet.

        To be called once SIGHUP has its answer, for a command may send it at once. Raises
        OperatorError where the store cannot be written, or is another proxy's; a proxy can serve
        all the same, only `hopward reload` will not find it.
        """
        try:
            files.make_folder(store)
            lock = os.open(store / "running.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            running = cls(store, lock, Record(os.path.abspath(file), local))
            try:
                running._take(_CLAIM)
                running._write()
                running._take(_RECORDED)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise OperatorError(f"{error.filename or store}: {error.strerror or error}") from error
        return running

    def reloading(self) -> None:
        """Tell that a reload begins: who asked before now is answered by its end."""
        attempts = self._record.attempts + 1
        self._record = replace(self._record, attempts=attempts, result=None, error=None)
        self._try_to_write()

    def reloaded(self, result: Result, error: str | None = None) -> None:
        """Tell how a reload ended. Where it cannot be written, who asked hears no answer."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._record = replace(self._record, result=result, error=error, time=now)
        self._try_to_write()

    def end(self) -> None:
        """Be found no longer, so that another process may begin."""
        with suppress(OSError):
            (self._store / "running").unlink()
        os.close(self._descriptor)

    def _take(self, byte: int) -> None:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            holder = _holder(self._descriptor, byte)
            raise AlreadyRunningError(
                f"another hopward{f' (process {holder})' if holder else ''} runs on the store "
                f"{self._store}; give each proxy a store of its own"
            ) from None

    def _try_to_write(self) -> None:
        with suppress(OSError):
            self._write()

    def _write(self) -> None:
        # Not for good: no record outlives its process, so none has to outlive a power cut.
        content = json.dumps(asdict(self._record), indent=2) + "\n"
        files.replace(self._store / "running", content.encode(), durable=False)


def find(store: Path) -> Found | None:
    """The proxy that runs on this store; raises OSError where nobody may look."""
    try:
        descriptor = os.open(store / "running.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        pid = _holder(descriptor, _RECORDED)
    finally:
        os.close(descriptor)
    # It may have ended since.
    with suppress(FileNotFoundError):
        return None if pid is None else Found(pid, _read(store / "running"))
    return None


def _read(path: Path) -> Record:
    written = json.loads(path.read_bytes())
    # Proxy and command may be of two versions, for a while after an upgrade.
    known = {each.name for each in fields(Record)}
    return Record(**{name: value for name, value in written.items() if name in known})


def _holder(descriptor: int, byte: int) -> int | None:
    """The process that has this byte locked: its id as seen from here, or 0; None: nobody."""
    asked = {"type": fcntl.F_RDLCK, "whence": os.SEEK_SET, "start": byte, "length": 1, "pid": 0}
    packed = struct.pack(_FLOCK, *(asked[member] for member in _MEMBERS))
    told = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, packed))
    answer = dict(zip(_MEMBERS, told, strict=True))
    return None if answer["type"] == fcntl.F_UNLCK else max(answer["pid"], 0)
