"""The loop: load what there is, find what is due, have it issued, tell, sleep.

Law: whatever happens to one host, the others are looked after; and what is served is only ever
replaced by something better.

One process keeps a store: the one that holds its lock. Others try for the lock at each tick, so
one of them takes over within a second when the first is gone.

Where renewals are due, they come first; authorities are asked for renewal information afterwards,
since that may never delay anything. A host that has no certificate goes before those that have.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from .attempt import Attempts, Event, Tell
from .crew import AT_ONCE, together
from .errors import Stopped, StoreError
from .information import Inquiries, poll_soon
from .issuer import Desk
from .memory import Memory
from .names import normal
from .pair import Pair, validity
from .renewal import (
    FAILING_FOR_TOO_LONG,
    HOUR,
    Validity,
    due,
    in_danger,
    jumped,
)
from .settings import Settings
from .state import State
from .store import Store
from .times import Clock, Monotonic, monotonic, to_text, utc_now
from .transport import DEADLINE

TICK = timedelta(minutes=1)
# How soon a wish, a reload or a free lock is noticed.
_GLANCE = 1.0
_SHORTEST_SLEEP = timedelta(milliseconds=20)
_ARI_DEADLINE = 10.0
# After renewal information could not be had.
_ARI_AGAIN = HOUR
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def tell_nobody(event: str, host: str, details: Mapping[str, Any]) -> None:
    """For those who do not listen."""


class Keeper:
    """Keeps the certificates of some hosts. `run` is the process' whole life."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        hosts: Sequence[str],
        *,
        clock: Clock = utc_now,
        monotonic: Monotonic = monotonic,
        stop: threading.Event | None = None,
        tell: Tell = tell_nobody,
        deadline: float = DEADLINE,
        chance: Callable[[], float] = random.random,
        at_once: int = AT_ONCE,
        reloaded: bool = False,
    ) -> None:
        """`tell` is called from one thread at a time; `reloaded` says that a person wanted this
        start, so that what an authority refused for good is tried again."""
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._stop = stop or threading.Event()
        self._tell = _one_at_a_time(tell)
        self._at_once = at_once
        # A plain flag, since a signal sets it: an Event would wait for its own lock there.
        self._wanted = reloaded
        self._memories: dict[str, Memory] = {}
        self._store_trouble: str | None = None
        self._seen = (clock(), monotonic())
        self._hosts = list(dict.fromkeys(normal(host) for host in hosts))
        self._desk = Desk(settings, store, clock, self._stop, deadline)
        self._attempts = Attempts(self._desk, self._tell)
        self._inquiries = Inquiries(self._desk, chance)

    # ---- from outside

    def run(self) -> None:
        """Keep until `stop`; the lock is released then."""
        try:
            while not self._stop.is_set():
                self._sleep(self.tick())
        except Stopped:
            pass
        finally:
            self._store.release_lock()

    def stop(self) -> None:
        """End `run` within a second, but for a TXT record that is being taken away; what is under
        way is resumed at the next start. From any thread, but no signal's handler
        (`patience.set_by`)."""
        self._stop.set()

    def try_again(self) -> None:
        """Have what was refused tried at the next look, for a person has been at work; from any
        thread or signal. Times that an authority named are kept to."""
        self._wanted = True

    def tick(self) -> float:
        """Do what is due; the seconds until something will be. Raises Stopped."""
        if not self._lead():
            return _GLANCE
        self._compare_clocks()
        self._forgive()
        self._grant_wishes()
        due_now = self._due_now()
        if due_now:
            together(self._attempt, due_now, self._at_once)
            self._watch_store()
        for host in self._hosts:
            self._review(host)
        self._inquire()
        return self._until_next()

    # ---- the frame of a tick

    def _lead(self) -> bool:
        """Whether this process keeps the store."""
        if self._store.locked:
            return True
        try:
            leads = self._store.take_lock()
        except StoreError as error:
            self._heard_of_store(str(error))
            # Nothing can be renewed here, and nobody else says that the end is near.
            for host in self._hosts:
                self._judge(self._memory(host), self._store.load(host))
            return False
        if leads:
            # Whoever led before may have written since.
            self._memories.clear()
            self._heard_of_store(None)
        return leads

    def _compare_clocks(self) -> None:
        """A wall clock that was set makes every plan doubtful; they are begun anew."""
        now, ticks = self._clock(), self._monotonic()
        wall, elapsed = now - self._seen[0], timedelta(seconds=ticks - self._seen[1])
        self._seen = (now, ticks)
        if jumped(wall, elapsed):
            self._attempts.clock_set()
            self._inquiries.clock_set()
            self._tell(Event.CLOCK_SET, "", {"seconds": (wall - elapsed).total_seconds()})

    def _forgive(self) -> None:
        if self._wanted:
            self._wanted = False
            for host in self._hosts:
                memory = self._memory(host)
                memory.note(poll_soon(memory.state.forgiven()))

    def _grant_wishes(self) -> None:
        for wished in self._store.wishes.asked():
            host = normal(wished)
            if host not in self._hosts:
                self._store.wishes.answer(wished, f"{wished} is not among the hosts that are kept")
                continue
            error = self._attempts.run(self._memory(host), self._load(host), forced=True)
            self._store.wishes.answer(wished, error)

    def _inquire(self) -> None:
        if self._attempts.outage() is None:
            for host in self._hosts:
                self._inquiries.ask(self._memory(host), self._store.load(host))

    def _due_now(self) -> list[str]:
        """Hosts without a certificate first, then those whose certificate ends first."""
        return [host for host in sorted(self._hosts, key=self._ends) if self._is_due(host)]

    def _ends(self, host: str) -> datetime:
        pair = self._load(host)
        return _LONG_AGO if pair is None else pair.not_after

    def _is_due(self, host: str) -> bool:
        now = self._clock()
        return now >= self._planned(host, self._store.load(host), now)

    def _until_next(self) -> float:
        now = self._clock()
        plans = [self._planned(host, self._store.load(host), now) for host in self._hosts]
        soonest = min([plan - now for plan in plans], default=TICK)
        return min(TICK, max(_SHORTEST_SLEEP, soonest)).total_seconds()

    def _sleep(self, seconds: float) -> None:
        end = self._monotonic() + seconds
        while (left := end - self._monotonic()) > 0:
            if self._stop.wait(min(left, _GLANCE)):
                return
            if self._wanted or self._store.wishes.asked():
                return

    # ---- one host

    def _memory(self, host: str) -> Memory:
        """The host's memory, with waits that fit the clock of now."""
        memory = self._memories.get(host)
        if memory is None:
            memory = self._memories[host] = Memory(self._store, host)
            memory.note(self._at_the_start(memory.state))
        memory.note(_on_this_clock(memory.state, self._clock()))
        return memory

    def _at_the_start(self, state: State) -> State:
        fingerprint = self._desk.settings.fingerprint
        if state.settings != fingerprint:
            state = replace(state.forgiven(), settings=fingerprint)
        return poll_soon(state)

    def _load(self, host: str) -> Pair | None:
        pair = self._store.load(host)
        if self._store.set_aside:
            files = [path.name for path in self._store.set_aside]
            self._store.set_aside.clear()
            self._tell(Event.SET_ASIDE, host, {"files": files})
        return pair

    def _attempt(self, host: str) -> None:
        if self._stop.is_set():
            raise Stopped
        self._attempts.run(self._memory(host), self._store.load(host))

    def _review(self, host: str) -> None:
        """What is planned, and whether it has to be worried about."""
        memory, pair, now = self._memory(host), self._load(host), self._clock()
        if pair is None or now >= self._due(host, pair):
            self._note_outage(memory)
        elif memory.state.failing_since is not None:
            # It was a wish that failed: nobody needs another certificate yet.
            memory.note(replace(memory.state, failing_since=None))
        memory.note(replace(memory.state, next_renewal=self._planned(host, pair, now)))
        self._judge(memory, pair)

    def _due(self, host: str, pair: Pair) -> datetime:
        dates = Validity(pair.not_before, pair.not_after)
        return due(dates, host, self._memory(host).state.window_of(pair.serial))

    def _planned(self, host: str, pair: Pair | None, now: datetime) -> datetime:
        """When the next attempt is to be made; `now` at the earliest for a host without a pair."""
        allowed = self._attempts.allowed_at(self._memory(host), pair, now)
        return allowed if pair is None else max(self._due(host, pair), allowed)

    def _note_outage(self, memory: Memory) -> None:
        """A host that waits for an authority to come back is failing, though nobody was asked."""
        error = self._attempts.outage()
        if error is not None:
            since = memory.state.failing_since or self._clock()
            memory.note(replace(memory.state, last_error=error, failing_since=since))

    def _judge(self, memory: Memory, pair: Pair | None) -> None:
        """Raise the alert when the host is in danger, and take it back when it is well."""
        reason = self._danger(memory.state, validity(pair))
        if (reason is not None) == memory.state.in_danger:
            return
        memory.note(replace(memory.state, in_danger=reason is not None))
        details = {"not_after": None if pair is None else to_text(pair.not_after)}
        if reason is None:
            self._tell(Event.WELL, memory.host, details)
        else:
            error = memory.state.last_error
            self._tell(Event.DANGER, memory.host, {"reason": reason, "error": error, **details})

    def _danger(self, state: State, dates: Validity | None) -> str | None:
        now = self._clock()
        if dates is not None and now >= dates.not_after:
            return "the certificate has expired"
        if dates is not None and in_danger(dates, now):
            return "less than a sixth of the certificate's lifetime is left"
        if state.failing_since is not None and now - state.failing_since >= FAILING_FOR_TOO_LONG:
            return "no certificate could be had for a day"
        return None

    # ---- the store

    def _watch_store(self) -> None:
        try:
            self._store.probe()
        except StoreError as error:
            self._heard_of_store(str(error))
        else:
            self._heard_of_store(None)

    def _heard_of_store(self, trouble: str | None) -> None:
        if (trouble is None) != (self._store_trouble is None):
            if trouble is None:
                self._tell(Event.STORE_WELL, "", {})
            else:
                self._tell(Event.STORE_TROUBLE, "", {"error": trouble})
        self._store_trouble = trouble


def _one_at_a_time(tell: Tell) -> Tell:
    lock = threading.Lock()

    def told(event: str, host: str, details: Mapping[str, Any]) -> None:
        with lock:
            tell(event, host, details)

    return told


def _on_this_clock(state: State, now: datetime) -> State:
    """The state with every wait that began in the future begun anew."""
    troubles = {
        directory: replace(trouble, wait=trouble.wait.seen_at(now))
        for directory, trouble in state.troubles.items()
    }
    pause = None if state.pause is None else state.pause.seen_at(now)
    return replace(state, troubles=troubles, pause=pause)
