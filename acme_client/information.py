"""Renewal information for the hosts of a process: whom to ask, when, and what to remember.

Law: asking can move a renewal and nothing else. Every failure is no answer; an authority that is in
trouble is left alone for all hosts, so that not each of them waits for the same silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from .errors import AcmeError, GiveUp, NotUnderstood, Stopped
from .issuer import Desk
from .memory import Memory
from .pair import Pair
from .renewal import ARI_POLL, HOUR, MINUTE, Window, next_poll
from .state import State

_DEADLINE = 10.0
# After an answer that was none.
_AGAIN = HOUR
# What an authority in trouble is left alone by all hosts.
_QUIET = 10 * MINUTE


class Inquiries:
    """Asks for renewal information where it is time to."""

    def __init__(self, desk: Desk, chance: Callable[[], float]) -> None:
        self._desk = desk
        self._chance = chance
        self._quiet: dict[str, datetime] = {}

    def clock_set(self) -> None:
        """Forget what was planned on a clock that has been set since."""
        self._quiet.clear()

    def ask(self, memory: Memory, present: Pair | None) -> None:
        """Learn when the authority wants the certificate renewed, when it is time to ask.

        Raises Stopped. RFC 9773 §4.3.1: not for an expired certificate.
        """
        now = self._desk.clock()
        directory = memory.state.directory or self._desk.settings.directory
        if present is None or now >= present.not_after or not poll_due(memory.state, now):
            return
        if now < self._quiet.get(directory, now):
            return
        try:
            suggestion = brief(self._desk, present).suggestion(directory, present)
        except Stopped:
            raise
        except AcmeError as error:
            if not isinstance(error, NotUnderstood | GiveUp):
                self._quiet[directory] = now + _QUIET
            memory.note(replace(memory.state, polled=now, next_poll=now + _AGAIN))
            return
        window, again = memory.state.window_of(present.serial), None
        if suggestion is not None:
            start, end, again = suggestion
            if window is None or not window.same(start, end):
                window = Window.draw(start, end, self._chance())
        found = replace(
            memory.state,
            window=window,
            suggested_for=present.serial,
            polled=now,
            next_poll=next_poll(again, now),
        )
        memory.note(found)


def brief(desk: Desk, present: Pair) -> Desk:
    """A desk that does not wait so long that a short certificate could expire meanwhile."""
    lifetime = (present.not_after - present.not_before).total_seconds()
    return replace(desk, deadline=min(desk.deadline, _DEADLINE, max(0.5, lifetime / 20)))


def poll_due(state: State, now: datetime) -> bool:
    """Also when the plan lies further ahead than any plan can: the clock was set back."""
    _, longest = ARI_POLL
    return state.next_poll is None or not now < state.next_poll <= now + longest


def poll_soon(state: State) -> State:
    """For a restart, which may follow a repair or a revocation: ask again, a minute after the last
    time at the earliest."""
    shortest, _ = ARI_POLL
    earliest = None if state.polled is None else state.polled + shortest
    return replace(state, next_poll=earliest)
