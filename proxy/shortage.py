"""Memory that cannot be had, told once.

Law: a line when it begins and a line when it is over, however many connections it cost. Each ends
alone; those that are open already hardly need more and are served on.
"""

from .log import Log

# How long nothing must have failed until that is said, in ticks of the clock: ten seconds.
QUIET_TICKS = 40


class MemoryShortage:
    """What one process could not do for want of memory."""

    def __init__(self, log: Log | None = None) -> None:
        self._log = log
        self._told = False
        self._quiet = 0
        self._failures = self._seen = 0

    def met(self) -> None:
        """Something has failed."""
        self._failures += 1

    def ticked(self) -> None:
        """Some time has passed."""
        new, self._seen = self._failures > self._seen, self._failures
        self._quiet = 0 if new else self._quiet + 1
        if new and not self._told:
            self._told = True
            if self._log is not None:
                self._log.error("memory-short")
        elif self._told and self._quiet >= QUIET_TICKS:
            self._told = False
            if self._log is not None:
                self._log.warning("memory-enough", failures=self._failures)
