"""Which processes are stuck. Pure.

Law: a process is stuck when it has been seen again and again without a sign of life, not when a
clock says so: a machine that was asleep or paused was so for it and for the supervisor alike.
"""

from collections.abc import Mapping, Sequence

from .seat import Seat

# How often processes are looked at; how many looks without a sign of life make one stuck. A worker
# beats four times a second, and nothing that it does takes a second.
LOOK_SECONDS = 1.0
LOOKS = 10


class Vigil:
    """Remembers when each process was last seen alive, in looks."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[float, int]] = {}

    def stuck_of(self, seats: Sequence[Seat], now: float) -> list[Seat]:
        """One look: the seats of processes that show no sign of life, or are late."""
        serving = [seat for seat in seats if seat.serving and seat.tally]
        stuck = self.stuck({seat.pid: seat.tally.heartbeat for seat in serving if seat.tally})
        return [seat for seat in seats if seat.pid in stuck or seat.late(now)]

    def stuck(self, beats: Mapping[int, float]) -> list[int]:
        """One look: those of `beats` (process id -> last sign of life) that have gone without one
        for LOOKS looks."""
        before, self._seen = self._seen, {}
        for pid, beat in beats.items():
            last, looks = before.get(pid, (beat, -1))
            self._seen[pid] = beat, looks + 1 if beat == last else 0
        return [pid for pid, (_, looks) in self._seen.items() if looks >= LOOKS]
