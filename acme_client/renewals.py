"""Renewals on a person's word: now, or as a rehearsal.

Law: a renewal goes through the process that holds the store's lock, wherever that is; a rehearsal
touches no live file but the answers to challenges, which the running servers give.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from .attempt import Attempts, Tell
from .errors import StoreError
from .files import failures_named
from .issuer import Desk
from .keeper import tell_nobody
from .memory import Memory
from .names import normal
from .patience import Patience
from .settings import Settings
from .store import Store
from .times import Clock, utc_now
from .transport import DEADLINE

Outcome = tuple[str, str | None]
"""(host, None or the authority's words)"""

# Two orders with two validations each, at worst: what one host takes.
LONGEST_SILENCE = 600.0
REHEARSAL = "rehearsal"


def renew_now(
    settings: Settings,
    store: Store,
    hosts: Sequence[str],
    *,
    clock: Clock = utc_now,
    stop: threading.Event | None = None,
    tell: Tell = tell_nobody,
    deadline: float = DEADLINE,
    silence: float = LONGEST_SILENCE,
) -> list[Outcome]:
    """Renew whether due or not; one outcome per host, in order.

    Where another process keeps the store, it is asked to do it, and waited for until it has told
    nothing for `silence` seconds. Waits of our own making are disregarded, times that an authority
    named are not. Raises StoreError and Stopped.
    """
    stop = stop or threading.Event()
    had_lock = store.locked
    if had_lock or store.take_lock():
        attempts = Attempts(Desk(settings, store, clock, stop, deadline), tell)
        try:
            return [_renew(attempts, store, normal(host)) for host in hosts]
        finally:
            if not had_lock:
                store.release_lock()
    return wait_for_answers(store, hosts, Patience(stop), silence)


def _renew(attempts: Attempts, store: Store, host: str) -> Outcome:
    return host, attempts.run(Memory(store, host), store.load(host), forced=True)


def wait_for_answers(
    store: Store, hosts: Sequence[str], patience: Patience, silence: float
) -> list[Outcome]:
    """Have the process that keeps the store renew the hosts; it takes them one by one."""
    for host in hosts:
        store.wishes.ask(host)
    left, answers = set(hosts), dict[str, str | None]()
    while left and (heard := _next_answers(store, left, patience, silence)):
        answers |= heard
        left -= heard.keys()
    for host in left:
        store.wishes.forget(host)
        answers[host] = f"no word for {silence:.0f} s from the running process: still under way?"
    return [(host, answers[host]) for host in hosts]


def _next_answers(
    store: Store, hosts: set[str], patience: Patience, silence: float
) -> dict[str, str | None]:
    """What is answered next for any of the hosts; nothing when that takes longer than `silence`."""
    for _ in patience.looks(silence):
        answers = {host: store.wishes.answered(host) for host in hosts}
        heard = {host: error for host, (answered, error) in answers.items() if answered}
        if heard:
            return heard
    return {}


def rehearse(
    settings: Settings,
    store: Store,
    hosts: Sequence[str],
    *,
    clock: Clock = utc_now,
    stop: threading.Event | None = None,
    tell: Tell = tell_nobody,
    deadline: float = DEADLINE,
) -> list[Outcome]:
    """An issuance and a renewal for each host at `settings.directory`, a staging one.

    Challenges are answered through the live store's `challenges`, so by whoever serves. What is
    issued stays in the folder `rehearsal` of the store until the next one. The account is a new
    one each time, since an authority does not validate again what an account has proved lately.
    Raises StoreError where another rehearsal is under way.
    """
    stage = Store(store.folder / REHEARSAL, answers=store.answers, clock=clock)
    if not stage.take_lock():
        raise StoreError(f"{stage.folder}: another rehearsal is under way")
    try:
        _clear(stage)
        alone = replace(settings, fallback=())
        desk = Desk(alone, stage, clock, stop or threading.Event(), deadline)
        attempts = Attempts(desk, tell)
        return [_rehearse(attempts, stage, normal(host)) for host in hosts]
    finally:
        stage.release_lock()


def _rehearse(attempts: Attempts, stage: Store, host: str) -> Outcome:
    for occasion in ("issuance", "renewal"):
        _, error = _renew(attempts, stage, host)
        if error is not None:
            return host, f"{occasion}: {error}"
    return host, None


def _clear(stage: Store) -> None:
    with failures_named():
        for path in stage.folder.iterdir():
            if path.is_file() and path.name != "lock":
                path.unlink()
