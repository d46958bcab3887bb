"""What is told of starts, reloads and upgrades: to the log, the service manager, the figures, and
to whoever asked by `hopward reload`.

Law: what has begun has one end, and all of them hear of it.
"""

from pathlib import Path

from .counts import Oversight
from .errors import OperatorError
from .log import Log
from .notify import notify, notify_reloading
from .running import Running


class Tidings:
    """A supervisor's words. `file`: what it reads again, for local use where `local`."""

    def __init__(self, log: Log, oversight: Oversight, file: Path, *, local: bool) -> None:
        self._log = log
        self._oversight = oversight
        self._file = file
        self._local = local
        self._started = False
        self._running: Running | None = None
        self._found_in: Path | None = None

    def begun(self, *, asked: bool) -> None:
        """A reload or upgrade begins; `asked`: somebody wants the file to be read."""
        notify_reloading()
        if asked and self._running is not None:
            self._running.reloading()

    def in_force(self, store: Path, **fields: object) -> None:
        """The configuration serves: what was begun is done, at first the start. `fields`: of it."""
        event = "reloaded" if self._started else "ready"
        say = self._log.info if self._started else self._log.awaited
        self._be_found(store)
        if self._started:
            self._oversight.reloaded(success=True)
            if self._running is not None:
                self._running.reloaded("success")
        self._started = True
        say(event, **fields)
        notify("READY=1")

    def refused(self, why: str) -> None:
        """What was begun has come to nothing: what served before serves on."""
        self._log.error("reload-failed", message=why)
        self._oversight.reloaded(success=False)
        if self._running is not None:
            self._running.reloaded("failure", why)
        notify("READY=1")

    def end(self) -> None:
        """Be found no longer."""
        if self._running is not None:
            self._running.end()

    def _be_found(self, store: Path) -> None:
        """By commands that look into the store."""
        if store == self._found_in:
            return
        self.end()
        try:
            self._running = Running.begin(store, self._file, local=self._local)
        except (OSError, OperatorError) as error:
            self._running = None
            self._log.warning("no-reload-command", message=f"use SIGHUP instead: {error}")
        self._found_in = store if self._running is not None else None
