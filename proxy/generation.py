"""The processes of one configuration, prepared in the supervisor before any of them is started.

Law: to prepare changes nothing that serves. What cannot be served is found out here.
"""

import gc
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from . import descriptors, worker
from .automatic import alike, hosts_of
from .bulletin import Bulletin
from .certificates import Certificates
from .config import Config, local_names
from .doors import Doors
from .entrance import Entrance
from .fair_share import FairShare
from .findings import Findings
from .line_output import try_out
from .log import Log
from .routing import Table
from .seat import START_SECONDS, Kind, Seat
from .tally import Tallies, Tally
from .tls import Base
from .worker import Plan, Ties


@dataclass(frozen=True)
class Common:
    """What all generations share. `lifeline`: its end tells a process that the supervisor is gone;
    `local`: they serve for development."""

    log: Log
    base: Base
    entrance: Entrance
    bulletin: Bulletin
    lifeline: int
    tallies: Tallies
    findings: Findings
    fair_share: FairShare
    local: bool


# So many processes in a row must have ended before they served until others get a seat's clients;
# or soon after that, for then its clients would wait for the next one a fifth of a second and more.
_STILLBORN = 2
_SHORT_LIVED = 3


@dataclass
class Generation:
    """The processes of one configuration."""

    plan: Plan
    workers: list[Seat]
    issuer: Seat | None
    give_up_at: float = field(default_factory=lambda: time.monotonic() + START_SECONDS)

    def __iter__(self) -> Iterator[Seat]:
        yield from self.workers
        if self.issuer is not None:
            yield self.issuer

    @property
    def doors(self) -> list[Doors]:
        """The doors of its workers."""
        return [seat.doors for seat in self.workers]

    @property
    def ready(self) -> bool:
        """Whether all that clients need is there."""
        return all(seat.serving for seat in self.workers)

    def pass_over(self) -> None:
        """Let those that serve take the clients of workers that again and again do not live.

        A successor listens as it begins to serve, and has its share again. To be called only while
        no other generation has the same doors open.
        """
        serving = [seat.doors for seat in self.workers if seat.serving]
        if serving:
            for seat in self.workers:
                hopeless = seat.stillborn >= _STILLBORN or seat.failures >= _SHORT_LIVED
                if hopeless and not seat.pid:
                    seat.doors.rest(
                        but={sock for doors in serving for kind in doors for sock in kind}
                    )

    def issue_again(self) -> None:
        """Have an issuer that is at work try what was refused to it."""
        if self.issuer is not None:
            self.issuer.tell(signal.SIGHUP)

    def begin_to_issue(self) -> None:
        """Have the issuer started, which waits for this.

        What it needs is a third of all there is to load, so it is loaded when clients are served;
        and here, not by itself, so that all issuers are of one version whatever is installed.
        """
        if self.issuer is not None and math.isinf(self.issuer.start_at):
            # Where this fails the issuer says so, and nobody but it ends.
            with suppress(Exception):
                from . import issuing  # noqa: F401
            self.issuer.start_at = 0.0


def prepare(config: Config, common: Common, former: Generation | None) -> Generation:
    """A generation whose processes are not started yet. Raises StartError; nothing has changed.

    The issuer of the former one goes on where nothing changes for it: an order may be under way.
    """
    common.base.rotation.refill()
    if config.access_log is not None:
        try_out(config.access_log.to)
    workers = _usable_cpus() if config.workers == "auto" else config.workers
    descriptors.warn(common.log, config.limits.connections, workers)
    aliases = local_names(config.sites) if common.local else {}
    table = Table(config.sites, aliases)
    before = former.plan.certificates if former is not None else None
    certificates = Certificates(config, table, aliases, before)
    plan = Plan(
        config,
        aliases,
        table,
        certificates,
        common.base,
        workers,
        common.tallies,
        common.findings,
        common.fair_share,
    )
    doors = common.entrance.arrange(config.listen, workers)
    # What is garbage now would stay so in each worker. To look for it writes into each object, and
    # makes what workers share their own (15 MB each): what is here at first is left alone later.
    gc.collect()
    if former is None:
        gc.freeze()
    return Generation(
        plan,
        [Seat(Kind.WORKER, _worker(plan, each, common), each) for each in doors],
        issuer_seat(plan, common, former),
    )


def issuer_seat(plan: Plan, common: Common, former: Generation | None) -> Seat | None:
    """Who issues: the former one where nothing changes for it."""
    if not hosts_of(plan.config):
        return None
    if former is not None and alike(former.plan.config, plan.config):
        return former.issuer
    # Load, listen, then talk to the authority: it may be down, and nobody waits for it.
    seat = Seat(Kind.ISSUER, None, start_at=math.inf)
    seat.job = _issuer(plan, common, seat)
    return seat


def _worker(plan: Plan, doors: Doors, common: Common) -> Callable[[Tally, int], int]:
    def job(tally: Tally, voice: int) -> int:
        ties = Ties(voice, common.lifeline, common.bulletin)
        return _alone(common.log, partial(worker.run, plan, doors, common.log, tally, ties))

    return job


def _issuer(plan: Plan, common: Common, seat: Seat) -> Callable[[Tally, int], int]:
    def job(tally: Tally, voice: int) -> int:
        from . import issuing

        # A person started or reloaded: that is so of the first process, not of its successors.
        wanted = not seat.failures
        life = partial(issuing.run, ready=voice, lifeline=common.lifeline, wanted=wanted)
        return _alone(common.log, partial(life, plan.config, common.log, tally))

    return job


def _alone(log: Log, life: Callable[[], None]) -> int:
    """A process's life; returns its exit code."""
    try:
        life()
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this process alone
        log.error("process-failed", error=f"{type(error).__name__}: {error}")
        return 1
    return 0


def _usable_cpus() -> int:
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
