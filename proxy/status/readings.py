"""What was counted a while ago, so that there is something to compare with. Pure.

Law: a reading is kept when somebody asks, and only then; while nobody does, nothing is done. So the
first who asks has nothing to compare with.
"""

from collections.abc import Mapping
from typing import NamedTuple

from .figures import Traffic

# Long enough for a calm figure, short enough to show that something has changed.
WINDOW_SECONDS = 60.0
# Closer together they would say no more and only take memory.
_SPACING_SECONDS = 5.0


class Reading(NamedTuple):
    """What was counted by site at a time of the monotonic clock."""

    at: float
    traffic: Mapping[str, Traffic]


class Readings:
    """Those of the last WINDOW_SECONDS, or else the last one before."""

    def __init__(self) -> None:
        self._kept: list[Reading] = []

    def compared(self, now: Reading) -> Reading | None:
        """The reading to compare `now` with, which is kept for the next time; None: there is none.

        It is one of WINDOW_SECONDS ago, or of less where nobody asked then. Where nobody has asked
        within that time at all, it is the last one, however old.
        """
        while len(self._kept) > 1 and now.at - self._kept[0].at > WINDOW_SECONDS:
            self._kept.pop(0)
        before = self._kept[0] if self._kept else None
        if before is None or now.at - self._kept[-1].at >= _SPACING_SECONDS:
            self._kept.append(now)
        return before if before is not None and now.at > before.at else None
