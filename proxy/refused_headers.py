"""PROXY headers that were refused: counted one by one, told now and then.

Law: who sends them can have an event written every PAUSE_SECONDS and no more. Only trusted proxies
get this far, so what is wrong is somebody's configuration, and the event names whose.
"""

import math

from .counts import Counts
from .log import Log

PAUSE_SECONDS = 10.0


class RefusedHeaders:
    """What one worker has refused. `log`: None where nobody is told."""

    def __init__(self, counts: Counts, log: Log | None) -> None:
        self._counts = counts
        self._log = log
        self._peer = self._reason = ""
        self._untold = 0
        self._tell_at = -math.inf

    def met(self, peer: str, reason: str) -> None:
        """A header of `peer` was `malformed`, or its end did not come (`timeout`): the `reason`."""
        self._counts.proxy_header_refused(reason)
        self._peer, self._reason = peer, reason
        self._untold += 1

    def ticked(self, now: float) -> None:
        """It is `now`, in the loop's time: tell of the last one, and how many there were."""
        if not self._untold or now < self._tell_at:
            return
        if self._log is not None:
            self._log.warning(
                "proxy-header-refused", peer=self._peer, reason=self._reason, count=self._untold
            )
        self._untold = 0
        self._tell_at = now + PAUSE_SECONDS
