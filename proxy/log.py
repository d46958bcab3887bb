"""What the proxy says of itself: one event a line on stderr.

JSON where a program reads it, words where a person does (a terminal). Never a traceback for what
an operator can cause. Law: an stderr that is closed, full or read by nobody costs events, never
traffic; how many they were is said when it works again.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from .line_output import LineOutput
from .waiting import writable

LEVELS = ("debug", "info", "warning", "error")
STDERR = 2
# How long the end of a process waits for an stderr that nobody reads.
_PATIENCE = 1.0


class Log:
    """Writes events of at least `level` to a descriptor."""

    def __init__(self, level: str, descriptor: int = STDERR) -> None:
        self._least = LEVELS.index(level)
        self._descriptor = descriptor
        self._for_people = os.isatty(descriptor)
        self._output: LineOutput | None = None
        self._lost = self._told = 0

    def debug(self, event: str, **fields: object) -> None:
        """For whoever looks for a fault."""
        self._write("debug", event, fields)

    def awaited(self, event: str, **fields: object) -> None:
        """What programs wait for: told at any level."""
        self._tell("info", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """All is well."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Somebody should look at this some day."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Somebody should look at this now."""
        self._write("error", event, fields)

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Meanwhile a thread of its own writes: for a process that must not wait for a reader.

        Where the thread has not written all at the end, some of it is lost.
        """
        self._output = LineOutput(self._descriptor)
        try:
            yield
        finally:
            output, self._output = self._output, None
            self._lost += output.close(_PATIENCE) + output.lost

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if LEVELS.index(level) >= self._least:
            self._tell(level, event, fields)

    def _tell(self, level: str, event: str, fields: dict[str, object]) -> None:
        line = self._line(level, event, fields)
        output = self._output
        lost = self._lost + (output.lost if output is not None else 0)
        notice = ""
        if lost > self._told and (output is None or output.error is None):
            notice = self._line("warning", "log-recovered", {"lost": lost - self._told})
        data = (notice + line).encode("utf-8", "backslashreplace")
        if output is not None:
            output.put(data)
        elif not self._write_now(data):
            self._lost += 1
            return
        if notice:
            self._told = lost

    def _line(self, level: str, event: str, fields: dict[str, object]) -> str:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._for_people:
            words = " ".join(f"{key}={_word(value)}" for key, value in fields.items())
            return f"{now[11:19]} {level:7} event={event} {words}".rstrip() + "\n"
        line = json.dumps({"time": now, "level": level, "event": event, **fields}, default=str)
        return line + "\n"

    def _write_now(self, data: bytes) -> bool:
        """One write, so that lines of several processes do not run into each other."""
        try:
            # A pipe that is ready takes PIPE_BUF bytes without a wait, and most lines are shorter.
            return writable(self._descriptor, 0) and os.write(self._descriptor, data) == len(data)
        except OSError:
            return False


def _word(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if text.isprintable() and text and " " not in text else json.dumps(text)
