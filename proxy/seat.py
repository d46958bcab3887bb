"""The place of one process of ours: how it begins, what it says to the supervisor, how it ends.

Law: a seat outlives the processes that sit on it; what a successor needs (its doors, its tally)
belongs to the seat.
"""

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .doors import Doors
from .tally import Tallies, Tally

# Seconds to wait before a process is started again that lived shorter than _SOUND: the first time
# at once, then ever longer, so that one that cannot live does not eat the machine. Never long, for
# connections wait in the queue of its doors.
BACKOFF = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SOUND = 5.0
# A process that is not ready by then never will be.
START_SECONDS = 60.0
# An issuer that is to end does so within seconds, even one that has to take TXT records away.
END_SECONDS = 60.0
_NO_DOORS = Doors()
# In thousandths of the memory that there is (proc_pid_oom_score_adj(5)).
_CHOSEN_BEFORE = 100
_CHOICE = Path("/proc/self/oom_score_adj")
# What the supervisor listens to; blocked around a fork, so that none meets its handlers in a child.
SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)
_IGNORED = (
    # A terminal sends Ctrl-C and its own end to all of us; the supervisor passes on what counts.
    signal.SIGINT,
    signal.SIGHUP,
    # Meant for workers only, which listen to them as soon as they can.
    signal.SIGUSR1,
    signal.SIGUSR2,
)
READY = b"R"
QUIET = b"Q"


class Kind(StrEnum):
    """What a process is for."""

    WORKER = "worker"
    ISSUER = "issuer"


def delay_before_restart(failures: int) -> float:
    """Seconds to wait after that many short lives in a row. Pure."""
    return BACKOFF[min(failures, len(BACKOFF)) - 1] if failures else 0.0


@dataclass(eq=False)
class Seat:
    """The place of one process.

    `job` is the process's whole life, given the tally that it counts in and the descriptor by which
    it speaks: READY once it serves, QUIET once it has been told to take no more clients and does
    not. `voice` is the other end. Without a job, the process began under another program and has no
    successor.
    """

    kind: Kind
    job: Callable[[Tally, int], int] | None
    doors: Doors = _NO_DOORS
    pid: int = 0
    voice: int = -1
    serving: bool = False
    quiet: bool = False
    began: float = 0.0
    failures: int = 0
    stillborn: int = 0
    """How many in a row have ended, or could not begin, before they served."""
    start_at: float = 0.0
    end_by: float = math.inf
    """When it must have ended, once it has been told to."""
    tally: Tally | None = None
    end: str = ""
    """How the last process ended."""

    def start(self, tallies: Tallies, in_child: Callable[[], None]) -> None:
        """Fork the process, which counts in one of `tallies`; it first calls `in_child`.

        Raises OSError where the machine has no process, memory or descriptor to give; then nothing
        has changed.
        """
        tally = tallies.take()
        try:
            pid, voice = self._fork(tally, in_child)
        except BaseException:
            tallies.release(tally)
            raise
        self.pid, self.voice, self.tally, self.began = pid, voice, tally, time.monotonic()

    def _fork(self, tally: Tally, in_child: Callable[[], None]) -> tuple[int, int]:
        """The new process, and where it is heard."""
        receive, send = os.pipe()
        # What is buffered would be written once more by the child.
        sys.stderr.flush()
        sys.stdout.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
        except BaseException:
            os.close(receive)
            raise
        else:
            if not pid:
                os._exit(self._live(tally, send, in_child))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.close(send)
        return pid, receive

    def hear(self) -> None:
        """Read what the process has said; its death ends the voice."""
        said = os.read(self.voice, 16)
        self.serving = self.serving or READY in said
        self.quiet = self.quiet or QUIET in said
        if not said:
            self._hear_no_more()

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self.pid:
            os.kill(self.pid, number)

    def retire(self, now: float) -> None:
        """Tell a worker to take no more clients and to end with those it has; an issuer, to end."""
        if self.kind is Kind.WORKER:
            self.tell(signal.SIGUSR2)
        else:
            self.tell(signal.SIGTERM)
            self.end_by = min(self.end_by, now + END_SECONDS)

    def has_ended(self) -> bool:
        """Whether the process that sat here has ended since this was last asked."""
        if not self.pid:
            return False
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return False
        self.stillborn = 0 if self.serving else self.stillborn + 1
        self.pid, self.serving, self.quiet = 0, False, True
        self._hear_no_more()
        self.end = _in_words(os.waitstatus_to_exitcode(status))
        return True

    def _hear_no_more(self) -> None:
        if self.voice >= 0:
            os.close(self.voice)
            self.voice = -1

    def restart(self, now: float) -> float:
        """Plan the next start; returns the seconds until then."""
        self.failures = self.failures + 1 if now - self.began < _SOUND else 1
        delay = delay_before_restart(self.failures)
        self.start_at = now + delay
        self.quiet = False
        return delay

    def not_started(self, now: float) -> float:
        """Plan another try where `start` has failed; returns the seconds until then."""
        self.began = now
        self.stillborn += 1
        return self.restart(now)

    def late(self, now: float) -> bool:
        """Whether the process should long have said that it serves, or have ended."""
        unready = not self.serving and now > self.began + START_SECONDS
        return bool(self.pid) and (unready or now > self.end_by)

    def _live(self, tally: Tally, voice: int, in_child: Callable[[], None]) -> int:
        """The child's whole life; returns its exit code, and never raises: who called is the
        supervisor's code."""
        try:
            return self._life(tally, voice, in_child)
        except BaseException:  # noqa: BLE001 - whatever it is, it ends this process alone
            sys.excepthook(*sys.exc_info())
            return 1

    def _life(self, tally: Tally, voice: int, in_child: Callable[[], None]) -> int:
        signal.set_wakeup_fd(-1)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        _be_chosen()
        in_child()
        tally.begin()
        assert self.job is not None, "a process of another program is not started here"
        return self.job(tally, voice)


def _be_chosen() -> None:
    """Where memory runs out, let the kernel end this process and not the supervisor.

    It ends the largest, which the supervisor is while workers have little to do, and with it goes
    all that would start another.
    """
    with suppress(OSError, ValueError):
        _CHOICE.write_text(str(min(1000, int(_CHOICE.read_text()) + _CHOSEN_BEFORE)))


def _in_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
