"""A worker process: one uvloop loop that serves clients until it is told to stop.

Law: nothing in here blocks, and a worker whose supervisor is gone ends too.
"""

import asyncio
import gc
import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import uvloop

from .access_log import AccessLogs
from .admin import administering, only_here
from .announced import announceable
from .bulletin import Bulletin, News
from .certificates import Certificates
from .config import Config
from .descriptors import TurnedAway
from .doors import BACKLOG, Doors
from .downstream import Downstream
from .errors import OperatorError
from .fair_share import FairShare
from .findings import Findings
from .listener import Listener
from .log import Log
from .plain import PlainConnection
from .proxy_protocol import Endpoints
from .pyopenssl import silence_refusals
from .redirect import port_for_visitors, redirecting
from .routing import Table
from .seat import QUIET, READY
from .sockets import hold_little
from .status.report import Report
from .strays import fault
from .tally import Tallies, Tally
from .tls import Base
from .watch import Watch

# How old the news from the store may be: one stat() each time.
LOOK_SECONDS = 0.25
# Files elsewhere cost two stat() for each site, so each is looked at every two seconds.
_FILES_LOOKS = 8
# A leaf of the local authority lives for days, but a clock may be set by years.
_RENEWAL_LOOKS = 40
_COLLECTOR_THRESHOLDS = (50_000, 20, 50)


class Plan(NamedTuple):
    """All that the workers of one configuration share, made before they are forked."""

    config: Config
    aliases: Mapping[str, str]
    table: Table
    certificates: Certificates
    base: Base
    workers: int
    tallies: Tallies
    findings: Findings
    fair_share: FairShare


class Ties(NamedTuple):
    """What ties a worker to its supervisor.

    `voice` is the descriptor by which it speaks, `lifeline` one whose end tells that the supervisor
    is gone, `bulletin` where the newest configuration stands.
    """

    voice: int
    lifeline: int
    bulletin: Bulletin


def run(plan: Plan, doors: Doors, log: Log, tally: Tally, ties: Ties) -> None:
    """Serve until SIGTERM, or until `lifeline` ends, which only the supervisor can write to.

    Says READY when every socket accepts. After SIGUSR2 it takes no more clients, says QUIET, serves
    those it has by what stands on the `bulletin`, and ends with the last of them. A second SIGTERM
    ends at once.
    """
    silence_refusals()
    # What is here now stays: the collector need not look at it again. (If it did so now it would
    # write into each object, and so copy what is the supervisor's: 16 MB.) Of what comes, most dies
    # by its count; to look for cycles seldom keeps the pauses (7 ms seen at the default) rare.
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    with log.in_background():
        uvloop.run(_serve(plan, doors, log, tally, ties))


async def _serve(plan: Plan, doors: Doors, log: Log, tally: Tally, ties: Ties) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(ties.lifeline, stop.set)
    plan.base.choose = plan.certificates.context
    plan.base.challenge = plan.certificates.challenge
    logs = AccessLogs(log)
    loop.add_signal_handler(signal.SIGUSR1, logs.reopen)
    plan.fair_share.join()
    listener = Listener(
        plan.config,
        plan.table,
        plan.base,
        workers=plan.workers,
        tally=tally,
        access_log=logs.follow(plan.config.access_log),
        findings=plan.findings,
        fair_share=plan.fair_share,
        log=log,
    )
    loop.set_exception_handler(lambda _loop, context: _failed(listener, log, context))
    watch = Watch(listener, plan.findings, log)
    watching = loop.create_task(watch.run())
    fresh_looks = looks(plan.certificates, listener.memory.met, log)
    # What was prepared may be as old as the last reload, where this worker follows one that died.
    next(fresh_looks)
    servers = await _open(loop, listener, plan, doors, watch)
    fresh = loop.create_task(_keep_fresh(fresh_looks))

    def retire() -> None:
        _close(servers, doors)
        watching.cancel()
        # Clients have their turn in between: of a thousand sites each of the two takes 7 ms.
        loop.call_soon(adopt, ties.bulletin.read())

    def adopt(news: News | None) -> None:
        if news is not None:
            listener.adopt(news.config, Table(news.config.sites, news.aliases))
            listener.access_log = logs.follow(news.config.access_log)
        listener.retire(then=stop.set)
        os.write(ties.voice, QUIET)

    loop.add_signal_handler(signal.SIGUSR2, retire)
    os.write(ties.voice, READY)
    await stop.wait()
    loop.remove_reader(ties.lifeline)
    loop.add_signal_handler(signal.SIGTERM, listener.abort)
    _close(servers, doors)
    watching.cancel()
    await listener.drain()
    fresh.cancel()
    logs.close()


def _failed(listener: Listener, log: Log, context: Mapping[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, MemoryError):
        listener.memory.met()
    else:
        fault(log, context.get("message"), error)


def _close(servers: Iterable[asyncio.Server], doors: Doors) -> None:
    for server in servers:
        server.close()
    doors.close()


async def _open(
    loop: asyncio.AbstractEventLoop, listener: Listener, plan: Plan, doors: Doors, watch: Watch
) -> list[asyncio.Server]:
    port = port_for_visitors([door.getsockname()[1] for door in doors.https])
    redirect = redirecting(listener, port, plan.certificates.http_token)
    report = Report(listener, plan.certificates, plan.tallies, watch, plan.config.store)
    guarded = any(only_here(door) for door in doors.admin)
    admin = administering(listener, plan.certificates, plan.tallies, watch, report, guarded=guarded)

    def secured(ends: Endpoints | None) -> asyncio.Protocol | asyncio.BufferedProtocol:
        return TurnedAway() if listener.overfull else Downstream(listener, ends)

    def plain(ends: Endpoints | None) -> asyncio.Protocol:
        return TurnedAway() if listener.overfull else PlainConnection(listener, redirect, ends)

    behind: list[tuple[Sequence[socket.socket], Callable[[], asyncio.BaseProtocol]]] = [
        (doors.https, announceable(listener, secured)),
        (doors.http, announceable(listener, plain)),
        (doors.admin, lambda: PlainConnection(listener, admin, kind="admin")),
    ]
    for door in doors.https:
        hold_little(door)
    return [
        await loop.create_server(connection, sock=door, backlog=BACKLOG)
        for sockets, connection in behind
        for door in sockets
    ]


async def _keep_fresh(fresh_looks: Iterator[None]) -> None:
    """Serve new certificates soon after they are there."""
    for _ in fresh_looks:
        await asyncio.sleep(LOOK_SECONDS)


def looks(
    certificates: Certificates, out_of_memory: Callable[[], object], log: Log
) -> Iterator[None]:
    """Each step takes new certificates: the first all there are, later ones a part of the files.

    Whatever is wrong with one look, what was there before is served on, and the next look comes.
    """
    told = ""
    for look in itertools.count():
        part, of = (look % _FILES_LOOKS, _FILES_LOOKS) if look else (0, 1)
        try:
            certificates.look_again()
            for problem in certificates.look_at_files(part, of):
                log.error("certificate-unusable", message=problem)
            if look % _RENEWAL_LOOKS == 0:
                certificates.renew_local(datetime.now(UTC))
                told = ""
        except MemoryError:
            out_of_memory()
        except Exception as error:  # noqa: BLE001 - one fault must not be the end of all looks
            if str(error) != told:
                told = str(error)
                if isinstance(error, OperatorError):
                    log.error("certificate-unusable", message=told)
                else:
                    fault(log, "looking for new certificates", error)
        yield
