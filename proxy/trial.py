"""The program that is installed now, tried before this one makes room for it.

Law: nobody notices a trial. It does all that a start does up to the first process, on the sockets
that are open already, and ends; so what a start would fail on is found out while the former program
serves.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, MutableMapping, Sequence

from .entrance import Place
from .memory_file import memory_file

# How long it may take: as long as a process may to be ready.
SECONDS = 60.0
_VARIABLE = "HOPWARD_TRIAL"
_MAIN = "import sys; from proxy.__main__ import main; sys.exit(main())"
# On an address that is served, a second worker's socket would be given clients, and end with them.
# Of what is told, only why it failed is wanted.
_ALSO = ("--workers", "1", "--log-level", "error")
_MOST_WORDS = 64 * 1024


class Trial:
    """A trial under way, of a start with this program's arguments on these sockets.

    Raises OSError where the machine has no process or descriptor to give. `now`: as `outcome` is
    asked with, in seconds.
    """

    def __init__(
        self, sockets: Iterable[tuple[Place, Sequence[socket.socket]]], now: float
    ) -> None:
        lent = [(place, [sock.fileno() for sock in each]) for place, each in sockets]
        self._give_up_at = now + SECONDS
        self._words = memory_file("hopward-trial")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, *sys.argv[1:], *_ALSO],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                pass_fds=[number for _, numbers in lent for number in numbers],
                env={**os.environ, _VARIABLE: json.dumps(lent)},
            )
        except BaseException:
            os.close(self._words)
            raise

    def outcome(self, now: float) -> str | None:
        """Why the new program could not serve, "" where it could; None while that is not known.

        Not to be asked again after an answer, nor after `end`.
        """
        code = self._process.poll()
        if code is None and now < self._give_up_at:
            return None
        said = os.pread(self._words, _MOST_WORDS, 0).decode("utf-8", "replace").strip()
        self.end()
        if code is None:
            return f"the new program was not done with a trial after {SECONDS:.0f} s"
        said = said.removeprefix("hopward: ")
        return said or f"the new program ended with {code}" if code else ""

    def end(self) -> None:
        """Give it up."""
        self._process.kill()
        self._process.wait()
        os.close(self._words)


def lent(
    environ: MutableMapping[str, str] = os.environ,
) -> dict[Place, list[socket.socket]] | None:
    """In a trial: the sockets of who tries this program, by their place; else None."""
    written = environ.pop(_VARIABLE, None)
    if written is None:
        return None
    return {
        (kind, at, number): [socket.socket(fileno=each) for each in numbers]
        for (kind, at, number), numbers in json.loads(written)
    }
