"""A service manager as systemd is one: it holds sockets, starts a service and hears its words."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.programs import PATIENCE, wait_for

# What happens between fork and exec, by a program of its own: the descriptors get their places
# (sd_listen_fds(3)), and the process id that is named is the one that the service will have.
_BECOME = """
import fcntl, os, sys
count, command = int(sys.argv[1]), sys.argv[2 + int(sys.argv[1]):]
passed = [fcntl.fcntl(int(number), fcntl.F_DUPFD_CLOEXEC, 100) for number in sys.argv[2:2 + count]]
for place, number in enumerate(passed, 3):
    os.dup2(number, place, inheritable=True)
if count:
    os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=str(os.getpid()))
if "WATCHDOG_USEC" in os.environ:
    os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(command[0], command)
"""


class ServiceManager:
    """From `with` to its end; the service is ended with it. `sockets`: by FileDescriptorName."""

    def __init__(self, folder: Path, sockets: Mapping[str, socket.socket] | None = None) -> None:
        self._folder, self._sockets = folder, dict(sockets or {})
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind(str(folder / "notify"))
        self._ear.setblocking(False)
        self.heard: list[str] = []
        self.service: subprocess.Popen[bytes] | None = None

    def start(
        self, arguments: Sequence[str | Path], *, wrap: Sequence[str] = (), **environ: str
    ) -> subprocess.Popen[bytes]:
        """Start `hopward` with these arguments and wait until it says that it is ready.

        `wrap`: a program that becomes the service, by its path, with its arguments.
        """
        numbers = [sock.fileno() for sock in self._sockets.values()]
        become = [sys.executable, "-c", _BECOME, str(len(numbers)), *map(str, numbers)]
        with (self._folder / "stderr").open("wb") as errors:
            self.service = subprocess.Popen(
                [*become, *wrap, sys.executable, "-m", "proxy", *map(str, arguments)],
                pass_fds=numbers,
                stderr=errors,
                env={
                    **os.environ,
                    "PYTHONPATH": str(Path(__file__).parents[1]),
                    "NOTIFY_SOCKET": str(self._folder / "notify"),
                    "LISTEN_FDNAMES": ":".join(self._sockets),
                    **environ,
                },
            )
        self.hears("READY=1")
        return self.service

    def hears(self, word: str) -> str:
        """Wait until the service says something that begins with `word`; what it says."""
        wait_for(lambda: self._next(word), PATIENCE, f"{word!r} from the service")
        return self.heard[-1]

    def errors(self) -> str:
        """What the service has said on stderr."""
        return (self._folder / "stderr").read_text()

    def _next(self, word: str) -> bool:
        try:
            said = self._ear.recv(4096).decode()
        except BlockingIOError:
            assert self.service is not None
            assert self.service.poll() is None, self.errors()
            return False
        self.heard.append(said)
        return said.startswith(word)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.service is not None:
            if self.service.poll() is None:
                self.service.terminate()
            self.service.wait(PATIENCE)
        self._ear.close()
        for sock in self._sockets.values():
            sock.close()
