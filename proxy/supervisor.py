"""The process that starts the workers, replaces those that die, and passes signals on.

Law: it does nothing else. It runs no event loop, reads no request and keeps no state that a worker
needs, so it has no reason to die.

Theory. A `Generation` is the processes of one configuration. To reload is to prepare a generation
from the file, to start it beside the one that serves, and, once all of it is ready, to retire the
former: its workers take no more clients, serve those they have by the new rules (`bulletin`), and
end with the last of them. Whatever goes wrong before that point leaves everything as it was. To
start is the same with no former generation, and to upgrade in place is to become the new program
first (`trial`, `handover`), with the old one's workers as the former generation.
"""

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .bulletin import Bulletin, News
from .config import Config
from .config.file import Loaded
from .counts import Oversight
from .entrance import Entrance
from .errors import in_words
from .fair_share import FairShare
from .findings import Findings
from .generation import Common, Generation, prepare
from .handover import Handover, Survivor, adopted, given, received
from .log import Log
from .notify import notify, watchdog_seconds
from .seat import SIGNALS, Kind, Seat
from .tally import Tallies
from .tidings import Tidings
from .tls import Base
from .trial import Trial, lent
from .vigil import LOOK_SECONDS, Vigil
from .waiting import readable

# What a worker may take beyond `drain` before it is killed.
_GRACE = 5.0
# How long retired workers get to say that they take no more clients.
_QUIET_SECONDS = 5.0


class Supervisor:
    """Runs the workers of the configuration that `read` gives, and keeps its certificates.

    `read` is called at the start and for each reload; it raises ConfigError. `file` is what it
    reads.
    """

    def __init__(self, read: Callable[[], Loaded], file: Path, log: Log, *, local: bool) -> None:
        self._read = read
        self._file = file
        self._log = log
        self._local = local
        self._current: Generation | None = None
        self._coming: Generation | None = None
        self._retired: list[Seat] = []
        self._settled_by = math.inf
        self._wanted: Callable[[], None] | None = None
        self._stopping = self._failed = False
        self._kill_at = math.inf
        self._lent = lent()
        self._trial: Trial | None = None
        self._vigil = Vigil()
        self._watched = watchdog_seconds()
        self._next_word = 0.0 if math.isfinite(self._watched) else math.inf
        self._next_look = 0.0

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit code. Raises ConfigError, StartError."""
        loaded = self._load()
        self._inherit(loaded.config)
        self._coming = prepare(loaded.config, self._common, None)
        if self._lent is not None:
            # What could have failed has not.
            self._entrance.close()
            return 0
        self._hear_signals()
        # Of who died while nobody listened, no signal comes any more.
        self._reap()
        while not self._stopping or any(seat.pid for seat in self._seats()):
            self._start_due()
            self._wait()
            self._look_after()
            self._make_rounds()
        self._tidings.end()
        return 1 if self._failed else 0

    # What is there at the start.

    def _inherit(self, config: Config) -> None:
        handover = received()
        if handover is None:
            self._entrance = Entrance(given(config.listen) if self._lent is None else self._lent)
            lifeline, self._lifeline_end = os.pipe()
            self._bulletin = Bulletin()
            self._tallies = Tallies()
        else:
            self._entrance = Entrance(handover.entrance())
            lifeline, self._lifeline_end = handover.lifeline
            self._bulletin = Bulletin(handover.bulletin)
            self._tallies = adopted(handover.tallies, self._log)
            self._retired = [self._survivor(each) for each in handover.survivors]
        self._oversight = Oversight(self._tallies)
        self._tidings = Tidings(self._log, self._oversight, self._file, local=self._local)
        self._common = Common(
            self._log,
            Base(),
            self._entrance,
            self._bulletin,
            lifeline,
            self._tallies,
            Findings(),
            FairShare(),
            self._local,
        )

    def _survivor(self, each: Survivor) -> Seat:
        seat = Seat(Kind(each.kind), None, pid=each.pid, voice=each.voice, serving=True)
        seat.tally = self._tallies.held_by(each.pid)
        return seat

    def _hear_signals(self) -> None:
        self._signals, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        # A predecessor has blocked them for the time that nobody could hear them.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    # A generation: prepared, started, in force.

    def _load(self) -> Loaded:
        loaded = self._read()
        for warning in loaded.warnings:
            self._log.warning("configuration", message=str(warning))
        return loaded

    def _start_due(self) -> None:
        now = time.monotonic()
        for seat in self._seats():
            if not self._stopping and not seat.pid and seat.job and seat.start_at <= now:
                try:
                    seat.start(self._tallies, partial(self._leave_to_others, seat))
                except OSError as error:
                    delay, why = seat.not_started(now), error.strerror
                    self._log.error(f"{seat.kind}-not-started", error=why, again_in_seconds=delay)

    def _leave_to_others(self, seat: Seat) -> None:
        """In a new process: close what belongs to the supervisor and to the other processes."""
        os.close(self._lifeline_end)
        self._entrance.leave_all_but(seat.doors)

    def _look_after(self) -> None:
        """What follows from what was heard."""
        coming, now = self._coming, time.monotonic()
        if self._trial is not None:
            self._judge(self._trial.outcome(now))
        if coming is not None and not self._stopping:
            if coming.ready:
                self._put_in_force(coming)
            elif now > coming.give_up_at:
                self._give_up("the new workers are not ready after a minute")
        quiet = all(seat.quiet for seat in self._former_workers())
        if quiet or now > self._settled_by:
            self._settle()
        if quiet and not self._busy and self._current is not None:
            self._current.pass_over()
        if self._wanted is not None and not self._busy and not self._stopping:
            wanted, self._wanted = self._wanted, None
            wanted()
        if self._stopping and now > self._kill_at:
            self._tell_all(signal.SIGKILL)

    def _put_in_force(self, coming: Generation) -> None:
        try:
            self._bulletin.put_up(News(coming.plan.config, coming.plan.aliases))
        except OSError as error:
            self._give_up(f"the open connections cannot be told: {error.strerror}")
            return
        former, self._current, self._coming = self._current, coming, None
        if former is not None:
            self._retired += [seat for seat in former if seat.pid and seat not in coming]
        self._entrance.close_all_but(coming.doors)
        now = time.monotonic()
        for seat in self._retired:
            seat.retire(now)
        self._settled_by = now + _QUIET_SECONDS

    def _former_workers(self) -> list[Seat]:
        return [seat for seat in self._retired if seat.kind is Kind.WORKER]

    def _settle(self) -> None:
        """The former workers take no more clients: what was begun is done."""
        if math.isinf(self._settled_by):
            return
        self._settled_by = math.inf
        current, names = self._current, self._entrance.names()
        assert current is not None
        store, workers = current.plan.config.store, len(current.workers)
        self._tidings.in_force(store, **names, workers=workers, pid=os.getpid())
        current.begin_to_issue()

    def _give_up(self, why: str) -> None:
        """The coming generation does not come: what serves, serves on."""
        coming, self._coming = self._coming, None
        assert coming is not None
        nothing_serves = self._current is None and not self._former_workers()
        stillborn = [seat for seat in coming if seat not in (self._current or ())]
        for seat in stillborn:
            seat.tell(signal.SIGKILL)
        self._retired += [seat for seat in stillborn if seat.pid]
        if self._current is not None:
            self._entrance.close_all_but(self._current.doors)
        if nothing_serves:
            self._fail(why)
        else:
            self._tidings.refused(why)

    def _make_rounds(self) -> None:
        """Tell the service manager that all is well, and end workers that are stuck."""
        now = time.monotonic()
        if now >= self._next_word:
            self._next_word = now + self._watched
            notify("WATCHDOG=1")
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            for seat in self._vigil.stuck_of(self._seats(), now):
                self._log.error(f"{seat.kind}-stuck", process=seat.pid)
                seat.tell(signal.SIGKILL)
            if self._common.base.rotation.low and self._current is not None and not self._busy:
                self._wanted = self._wanted or self._renew

    # Signals and deaths.

    def _wait(self) -> None:
        """Sleep until a signal, a word of a process, or until something is due."""
        voices = {seat.voice: seat for seat in self._seats() if seat.voice >= 0}
        ready = readable([self._signals, *voices], self._patience())
        for descriptor in ready:
            if descriptor != self._signals:
                voices[descriptor].hear()
        if self._signals in ready:
            for number in os.read(self._signals, 64):
                self._signalled(number)

    def _patience(self) -> float:
        due = [self._kill_at, self._settled_by, self._next_word, self._next_look]
        if not self._stopping:
            due += [seat.start_at for seat in self._seats() if not seat.pid and seat.job]
            due += [self._coming.give_up_at] if self._coming else []
        return max(0.0, min(due) - time.monotonic()) + 0.01

    def _signalled(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP:
            if self._wanted != self._upgrade:
                self._wanted = self._reload
        elif number == signal.SIGUSR2:
            self._wanted = self._upgrade
        elif number == signal.SIGUSR1:
            for seat in self._seats():
                seat.tell(signal.SIGUSR1)

    @property
    def _busy(self) -> bool:
        under_way = self._coming is not None or self._trial is not None
        return under_way or not math.isinf(self._settled_by)

    def _reload(self) -> None:
        """Begin to serve by what the file says now; where it says nothing usable, tell why."""
        self._tidings.begun(asked=True)
        self._begin(lambda: self._load().config)
        if self._coming is not None:
            self._coming.issue_again()

    def _renew(self) -> None:
        """Replace the workers, for the contexts of the days to come: those they have run out."""
        current = self._current
        assert current is not None
        self._log.info("renewing-workers")
        self._tidings.begun(asked=False)
        self._begin(lambda: current.plan.config)

    def _begin(self, config: Callable[[], Config]) -> None:
        try:
            self._coming = prepare(config(), self._common, self._current)
        except Exception as error:  # noqa: BLE001 - no fault of ours may end who serves
            self._tidings.refused(in_words(error))

    def _upgrade(self) -> None:
        """Try the program that is installed now, to become it if it can do what this one does."""
        self._tidings.begun(asked=True)
        try:
            self._trial = Trial(self._entrance.places(), time.monotonic())
        except OSError as error:
            why = f"{sys.executable}: {error.strerror}"
            self._tidings.refused(f"the new program cannot be tried: {why}")

    def _judge(self, outcome: str | None) -> None:
        """Of the trial, where it is over."""
        if outcome is None:
            return
        self._trial = None
        if outcome:
            self._tidings.refused(outcome)
        else:
            self._become_the_new_program()

    def _become_the_new_program(self) -> None:
        self._log.info("upgrading")
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._handover().pass_on()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self._tidings.refused(f"{sys.executable}: {error.strerror}")

    def _handover(self) -> Handover:
        return Handover(
            lifeline=(self._common.lifeline, self._lifeline_end),
            bulletin=self._bulletin.descriptor,
            tallies=self._tallies.descriptor,
            sockets=[
                (place, [sock.fileno() for sock in sockets])
                for place, sockets in self._entrance.places()
            ],
            survivors=[
                Survivor(seat.kind, seat.pid, seat.voice) for seat in self._seats() if seat.pid
            ],
        )

    def _fail(self, why: str) -> None:
        """Nobody serves, and nobody will."""
        self._log.error("start-failed", message=why)
        self._failed = True
        self._stop()

    def _stop(self) -> None:
        """Drain; when asked a second time, end at once."""
        if not self._stopping:
            self._stopping = True
            if self._trial is not None:
                self._trial.end()
                self._trial = None
            self._log.info("stopping")
            notify("STOPPING=1")
            generation = self._current or self._coming
            drain = generation.plan.config.timeouts.drain if generation else 0.0
            self._kill_at = math.inf if drain is None else time.monotonic() + drain + _GRACE
            self._entrance.close()
        self._tell_all(signal.SIGTERM)

    def _tell_all(self, number: signal.Signals) -> None:
        for seat in self._seats():
            seat.tell(number)

    def _seats(self) -> list[Seat]:
        # The issuer of two generations may be the same.
        seats = (*(self._coming or ()), *(self._current or ()), *self._retired)
        return list(dict.fromkeys(seats))

    def _reap(self) -> None:
        for seat in self._seats():
            pid = seat.pid
            if seat.has_ended():
                self._ended(seat, pid)

    def _ended(self, seat: Seat, pid: int) -> None:
        if seat.tally is not None:
            self._tallies.release(seat.tally)
        if seat in self._retired:
            self._retired.remove(seat)
            some_serve = self._current or self._coming or self._former_workers()
            if not some_serve and not self._stopping:
                self._fail("the last worker of the former program has ended")
        elif self._stopping:
            return
        elif self._coming is not None and seat in self._coming.workers:
            # It never served: what is wrong is wrong for good.
            self._give_up(f"a {seat.kind} of the new configuration ended unready: {seat.end}")
        else:
            delay = seat.restart(time.monotonic())
            if seat.kind is Kind.WORKER:
                self._oversight.restarted()
            self._log.error(
                f"{seat.kind}-died", process=pid, end=seat.end, restart_in_seconds=delay
            )
