"""A program under test or beside it: started pinned to cores, weighed, ended by its own id."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PATIENCE = 60.0  # seconds until a program must listen
QUIET = 0.3  # seconds without CPU time after which a program has started
MANY_FILES = 65536


class Subject(NamedTuple):
    """A running proxy; what it takes is what all its processes take together."""

    name: str
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """User and system time so far, of the process and all below it."""
        return sum(_seconds(pid) for pid in family(self.pid))

    def settle(self) -> None:
        """Wait until it does nothing: what a program does in its first moments is no request's."""
        until, before = time.monotonic() + PATIENCE, -1.0
        while (now := self.cpu_seconds()) - before > 0.01 and time.monotonic() < until:
            before = now
            time.sleep(QUIET)

    def memory(self) -> int:
        """Bytes, shared pages counted by their share (proportional set size)."""
        return sum(_proportional(pid) for pid in family(self.pid))


@contextmanager
def running(
    name: str, command: Sequence[str], port: int, cores: set[int], folder: Path
) -> Iterator[Subject]:
    """Run a server on its cores until the block ends; what it says goes to `folder`/output.

    Raises RuntimeError with its words where it ends before it listens.
    """
    process = start(command, cores, folder)
    try:
        _await_port(name, port, process, folder)
        yield Subject(name, port, process.pid)
    finally:
        end(process)


def start(command: Sequence[str], cores: set[int], folder: Path) -> "subprocess.Popen[bytes]":
    """Start a server; whoever calls ends it."""
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            command,
            preexec_fn=lambda: settle(cores),
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**os.environ, "HOME": str(folder), "PYTHONPATH": str(Path.cwd())},
        )


def settle(cores: set[int]) -> None:
    """Pin this process and let it open many files."""
    os.sched_setaffinity(0, cores)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = MANY_FILES if hard == resource.RLIM_INFINITY else min(MANY_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to stop, insist after a while; all of its processes are gone afterwards."""
    below = family(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in below[1:]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def family(pid: int) -> list[int]:
    """The process and all below it, itself first."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [word for task in tasks for word in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return [pid]
    return [pid, *(each for child in children for each in family(int(child)))]


def _await_port(name: str, port: int, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)
    words = (folder / "output").read_text("utf-8", "replace")
    raise RuntimeError(f"{name} does not listen on port {port}:\n{words[-2000:]}")


def _seconds(pid: int) -> float:
    try:
        # The process's own clock, by the number that clock_getcpuclockid(3) gives it: /proc counts
        # hundredths of a second, which is 3 % of what a subject does in a short turn.
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def _proportional(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
