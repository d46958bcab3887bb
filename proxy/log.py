"""What the proxy says of itself: one event a line on stderr.

JSON where a program reads it, words where a person does (a terminal). Never a traceback for what an
operator can cause.
"""

import json
import sys
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")


class Log:
    """Writes events of at least `level` to stderr."""

    def __init__(self, level: str) -> None:
        self._least = LEVELS.index(level)
        self._for_people = sys.stderr.isatty()

    def debug(self, event: str, **fields: object) -> None:
        """For whoever looks for a fault."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """All is well."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Somebody should look at this some day."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Somebody should look at this now."""
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if LEVELS.index(level) < self._least:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._for_people:
            words = " ".join(f"{key}={_word(value)}" for key, value in fields.items())
            line = f"{now[11:19]} {level:7} event={event} {words}".rstrip()
        else:
            line = json.dumps({"time": now, "level": level, "event": event, **fields}, default=str)
        # One write a line, so that lines of several processes do not run into each other.
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _word(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if text.isprintable() and text and " " not in text else json.dumps(text)
