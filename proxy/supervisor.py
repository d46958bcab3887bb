"""The process that starts the workers, replaces those that die, and passes signals on.

Law: it does nothing else. It runs no event loop, reads no request and keeps no state that a worker
needs, so it has no reason to die.
"""

import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from . import issuing, worker
from .certificates import Certificates
from .config import Config, local_names
from .doors import name_of, open_admin_door, open_doors
from .log import Log
from .notify import notify
from .routing import Table
from .tally import Tallies, Tally
from .tls import Base
from .worker import Doors, Plan

# Seconds to wait before a worker is started again that lived shorter than _SOUND: the first time at
# once, then ever longer, so that one that cannot live does not eat the machine.
BACKOFF = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
_SOUND = 60.0
_NO_DOORS = Doors()
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
# What a worker may take beyond `drain` before it is killed.
_GRACE = 5.0


def delay_before_restart(failures: int) -> float:
    """Seconds to wait after that many short lives in a row. Pure."""
    return BACKOFF[min(failures, len(BACKOFF)) - 1] if failures else 0.0


@dataclass
class _Seat:
    """The place of one process; a worker's sockets outlive the processes that serve them.

    `job` is the process's whole life, given the tally that it counts in and the descriptor to write
    a byte to when it is ready.
    """

    job: Callable[[Tally, int], None]
    doors: Doors = _NO_DOORS
    pid: int = 0
    began: float = 0.0
    failures: int = 0
    start_at: float = 0.0
    ready: int = -1
    serving: bool = False
    tally: Tally = field(init=False)


@dataclass
class Supervisor:
    """Runs the workers of one configuration, and the process that keeps its certificates."""

    config: Config
    local: bool
    log: Log
    _tallies: Tallies = field(default_factory=Tallies)
    _workers: list[_Seat] = field(default_factory=list)
    _issuer: _Seat | None = None
    _stopping: bool = False
    _announced: bool = False
    _failed: bool = False

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit code. Raises StartError."""
        plan = self._make_plan()
        self._lifeline, self._lifeline_end = os.pipe()
        self._take_seats(plan)
        self._signals, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        while not self._stopping or any(seat.pid for seat in self._seats):
            self._start_due()
            self._wait()
        return 1 if self._failed else 0

    @property
    def _seats(self) -> list[_Seat]:
        return self._workers if self._issuer is None else [*self._workers, self._issuer]

    def _make_plan(self) -> Plan:
        config = self.config
        workers = _usable_cpus() if config.workers == "auto" else config.workers
        aliases = local_names(config.sites) if self.local else {}
        table = Table(config.sites, aliases)
        certificates = Certificates(config, table, aliases)
        return Plan(config, table, certificates, Base(), workers, self._tallies)

    def _take_seats(self, plan: Plan) -> None:
        listen = self.config.listen
        https = open_doors(listen.https, plan.workers)
        http = open_doors(listen.http, plan.workers)
        admin = [open_admin_door(listen.admin), *[()] * (plan.workers - 1)]
        for each in zip(https, http, admin, strict=True):
            doors = Doors(*each)
            job = partial(self._be_worker, plan, doors)
            self._workers.append(_Seat(job, doors))
        if issuing.hosts_of(self.config):
            # Load, listen, then talk to the authority: it may be down, and nobody waits for it.
            self._issuer = _Seat(self._be_issuer, start_at=math.inf)

    def _be_worker(self, plan: Plan, doors: Doors, tally: Tally, ready: int) -> None:
        worker.run(plan, doors, self.log, tally, ready=ready, lifeline=self._lifeline)

    def _be_issuer(self, tally: Tally, ready: int) -> None:
        issuing.run(self.config, self.log, tally, ready=ready, lifeline=self._lifeline)

    def _start_due(self) -> None:
        now = time.monotonic()
        for seat in self._seats:
            if not self._stopping and not seat.pid and seat.start_at <= now:
                self._start(seat)

    def _start(self, seat: _Seat) -> None:
        receive, send = os.pipe()
        seat.tally = self._tallies.take()
        # What is buffered would be written once more by the child.
        sys.stderr.flush()
        sys.stdout.flush()
        # A signal for the child must not meet the supervisor's own handlers, which it inherits.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if not pid:
            os._exit(self._live(seat, send))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(send)
        seat.pid, seat.ready, seat.began = pid, receive, time.monotonic()

    def _live(self, seat: _Seat, ready: int) -> int:
        """The child's whole life; returns its exit code."""
        signal.set_wakeup_fd(-1)
        # A terminal sends Ctrl-C to all of us; the supervisor passes it on as SIGTERM.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(self._lifeline_end)
        for other in self._seats:
            if other is not seat:
                other.doors.close()
        try:
            seat.tally.begin()
            seat.job(seat.tally, ready)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this process alone
            self.log.error("process-failed", error=f"{type(error).__name__}: {error}")
            return 1
        return 0

    def _wait(self) -> None:
        """Sleep until a signal, a worker's readiness or a due restart."""
        starting = {seat.ready: seat for seat in self._seats if seat.ready >= 0}
        readable, _, _ = select.select([self._signals, *starting], [], [], self._patience())
        for descriptor in readable:
            if descriptor != self._signals:
                self._heard_of(starting[descriptor])
        if self._signals in readable:
            for number in os.read(self._signals, 64):
                self._signalled(number)
        if self._stopping and time.monotonic() > self._kill_at:
            self._signal_all(signal.SIGKILL)

    def _patience(self) -> float | None:
        now = time.monotonic()
        if self._stopping:
            return None if math.isinf(self._kill_at) else max(0.0, self._kill_at - now) + 0.05
        due = [seat.start_at - now for seat in self._seats if not seat.pid]
        soonest = min(due, default=math.inf)
        return None if math.isinf(soonest) else max(0.0, soonest)

    def _heard_of(self, seat: _Seat) -> None:
        """A worker serves now, or its end of the pipe was closed by its death."""
        seat.serving = os.read(seat.ready, 1) == b"R"
        os.close(seat.ready)
        seat.ready = -1
        if not self._announced and all(each.serving for each in self._workers):
            self._announced = True
            self._announce()
            if self._issuer is not None:
                self._issuer.start_at = 0.0

    def _announce(self) -> None:
        first = self._workers[0].doors
        self.log.info(
            "ready",
            https=[name_of(door) for door in first.https],
            http=[name_of(door) for door in first.http],
            admin=[name_of(door) for door in first.admin],
            workers=len(self._workers),
            pid=os.getpid(),
        )
        notify("READY=1")

    def _signalled(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP:
            self.log.warning(
                "no-reload", message="the configuration is read at start only: restart"
            )

    def _stop(self) -> None:
        """Drain; when asked a second time, end at once."""
        if not self._stopping:
            self._stopping = True
            self.log.info("stopping")
            notify("STOPPING=1")
            drain = self.config.timeouts.drain
            self._kill_at = math.inf if drain is None else time.monotonic() + drain + _GRACE
            for seat in self._workers:
                seat.doors.close()
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for seat in self._seats:
            if seat.pid:
                os.kill(seat.pid, number)

    def _reap(self) -> None:
        for seat in self._seats:
            if seat.pid and os.waitpid(seat.pid, os.WNOHANG)[0]:
                self._ended(seat)

    def _ended(self, seat: _Seat) -> None:
        pid, seat.pid, seat.serving = seat.pid, 0, False
        self._tallies.release(seat.tally)
        if self._stopping:
            return
        if not self._announced:
            # It never served: what is wrong is wrong for good.
            self._failed = True
            self._stop()
            return
        now = time.monotonic()
        seat.failures = seat.failures + 1 if now - seat.began < _SOUND else 1
        delay = delay_before_restart(seat.failures)
        seat.start_at = now + delay
        kind = "issuer" if seat is self._issuer else "worker"
        self.log.error(f"{kind}-died", process=pid, restart_in_seconds=delay)


def _usable_cpus() -> int:
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
