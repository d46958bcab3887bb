"""Real programs in tests: started in a folder of their own, ended by their own process id.

One law: whatever a test starts is gone when its `with` block ends, however the test ended.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest
import yaml

PATIENCE = 60.0  # seconds a slow, shared machine may need for what takes it one

Result = TypeVar("Result")


def requires(program: str, install: str) -> pytest.MarkDecorator:
    """Skip, naming `program` and the line that installs it, where it is missing.

    With the environment variable CI set nothing is skipped: the test runs and fails instead.
    """
    missing = shutil.which(program) is None and "CI" not in os.environ
    return pytest.mark.skipif(missing, reason=f"needs {program}: {install}")


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A loopback port nobody listens on now, for programs that cannot take port 0."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(
    condition: Callable[[], Result], seconds: float = PATIENCE, what: str = "the condition"
) -> Result:
    """The first truthy answer of `condition`, asked again and again for at most `seconds`."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {seconds:.0f} s")
        time.sleep(0.02)
    return answer


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts TCP connections on `port`."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def alive(pid: int) -> bool:
    """Whether process `pid` runs; a zombie does not."""
    return process_state(pid) not in {None, "Z", "X"}


def process_state(pid: int) -> str | None:
    """The state letter in /proc/PID/stat, None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def children(pid: int) -> list[int]:
    """The process ids of the children of `pid`, zombies included; none when it is gone."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(found)


def resident(pid: int) -> int:
    """Bytes of memory that are the share of `pid` (PSS: a shared page counts in parts)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    assert found is not None, rollup
    return int(found[1]) * 1024


class Program:
    """A program from `with` to its end; stdout and stderr are files in `folder`.

    `until` is asked until it is true; a program that ends before that raises with its stderr.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str | Path],
        folder: Path,
        *,
        environ: Mapping[str, str] | None = None,
        until: Callable[[], object] = lambda: True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.folder = name, folder
        self._out, self._err = folder / f"{name}.stdout", folder / f"{name}.stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env={**os.environ, **(environ or {})},
            )
        try:
            wait_for(lambda: self._running() and until(), what=f"{name} being ready")
        except BaseException:
            self.end()
            raise

    def _running(self) -> bool:
        if (code := self.process.poll()) is not None:
            raise ProgramEndedError(f"{self.name} ended with {code}: {self.output()}")
        return True

    @property
    def pid(self) -> int:
        return self.process.pid

    def stdout_text(self) -> str:
        return self._out.read_text(errors="replace")

    def stderr_text(self) -> str:
        return self._err.read_text(errors="replace")

    def output(self) -> str:
        return self.stdout_text() + self.stderr_text()

    def says(self, pattern: str) -> re.Match[str] | None:
        """The first place where `pattern` stands in the output so far."""
        return re.search(pattern, self.output())

    def stop(self, timeout: float = PATIENCE, by: signal.Signals = signal.SIGTERM) -> int:
        """Ask the program to end and return its exit code; kill it when `timeout` has passed."""
        if self.process.poll() is None:
            self.process.send_signal(by)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.end()
            raise

    def end(self) -> None:
        """Leave no process of this program behind: itself and its children, by their ids."""
        below = children(self.pid)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pid in below:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        below = children(self.pid)
        try:
            self.stop(20)
        except subprocess.TimeoutExpired:
            pass
        finally:
            for pid in filter(alive, below):
                os.kill(pid, signal.SIGKILL)


class ProgramEndedError(Exception):
    """A program ended before it was ready; the text holds its output."""


class Hopward(Program):
    """The proxy as its users start it: a configuration file, `run`, and its ready line."""

    def __init__(
        self,
        folder: Path,
        config: str | Mapping[str, object],
        *args: str,
        environ: Mapping[str, str] | None = None,
        module: str = "proxy",
        wrap: Sequence[str] = (),
    ) -> None:
        """`wrap`: a program that becomes the proxy, with its arguments."""
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "hopward.yml"
        self.write(config)
        command: list[str | Path] = [*wrap, sys.executable, "-m", module, "run", "-c", self.file]
        self._ready: dict[str, Any] = {}
        super().__init__(
            "hopward", [*command, *args], folder, environ=self._path(environ), until=self.ready
        )

    @staticmethod
    def _path(environ: Mapping[str, str] | None) -> dict[str, str]:
        # the program runs in its own folder: the checkout must be found from there as well
        return {"PYTHONPATH": str(Path(__file__).parents[1]), **(environ or {})}

    def write(self, config: str | Mapping[str, object]) -> None:
        """Put a new configuration in the file's place."""
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        self.file.write_text(text)

    def ready(self) -> dict[str, Any]:
        """The fields of the ready line; empty before it came."""
        for line in [] if self._ready else self.stderr_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                event: dict[str, Any] = json.loads(line)
                self._ready = event if event.get("event") == "ready" else self._ready
        return self._ready

    @property
    def https(self) -> int:
        """The port of the first https listener."""
        return int(self.ready()["https"][0].rpartition(":")[2])

    @property
    def http(self) -> int | None:
        """The port of the first http listener, None without one."""
        listeners = self.ready().get("http")
        return int(listeners[0].rpartition(":")[2]) if listeners else None

    def workers(self) -> list[int]:
        """The process ids of the supervisor's living children."""
        return [pid for pid in children(self.pid) if alive(pid)]

    def memory(self) -> int:
        """Bytes the workers hold together, their shares of shared pages included."""
        return sum(map(resident, self.workers()))
