"""What libraries and the interpreter itself would print, as events.

Law: nothing but events gets onto stderr while the proxy serves. Whoever reads it reads one line an
event; a traceback of a library's own would be thirty that nobody asked for.
"""

import logging
import sys
import threading
import traceback
import warnings
from typing import TextIO

from .log import Log


def gather(log: Log) -> None:
    """From now on, `log` tells of warnings, of what libraries log, and of uncaught exceptions."""
    _show_warnings_by(log)
    logging.getLogger().addHandler(_Records(log))
    # A fork of this process, or a thread of it, dies of a fault of ours: its last words.
    sys.excepthook = lambda _kind, error, _trace: fault(log, "uncaught", error)
    threading.excepthook = lambda args: fault(log, "uncaught in a thread", args.exc_value)
    sys.unraisablehook = lambda args: fault(
        log, args.err_msg or "uncaught where nobody can catch", args.exc_value
    )


def fault(log: Log, message: object, error: BaseException | None) -> None:
    """Tell of a fault of ours, with its traceback in one line."""
    trace = "".join(traceback.format_exception(error)) if error else None
    log.error("fault", message=message, trace=trace)


class _Records(logging.Handler):
    """Takes what libraries tell the standard library's `logging`."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fault(self._log, f"{record.name}: {message}", error)
        else:
            say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
            say("library", source=record.name, message=message)


def _show_warnings_by(log: Log) -> None:
    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        log.warning("library", source=f"{filename}:{lineno}", message=str(message))

    warnings.showwarning = show
