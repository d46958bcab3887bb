"""How long a worker that dies young is waited with before it is started again."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from itertools import pairwise

import pytest

from proxy.seat import (
    BACKOFF,
    END_SECONDS,
    SIGNALS,
    START_SECONDS,
    Kind,
    Seat,
    delay_before_restart,
)
from proxy.tally import Tallies, Tally
from tests.programs import wait_for


def test_a_worker_that_never_failed_is_started_at_once() -> None:
    assert delay_before_restart(0) == 0


def test_the_first_death_is_forgiven() -> None:
    assert delay_before_restart(1) == 0


def test_each_further_death_in_a_row_is_waited_with_longer() -> None:
    delays = [delay_before_restart(failures) for failures in range(1, len(BACKOFF) + 1)]
    assert all(shorter < longer for shorter, longer in pairwise(delays))


def test_the_wait_has_an_end() -> None:
    assert delay_before_restart(1000) == delay_before_restart(len(BACKOFF)) == max(BACKOFF)


def test_where_no_process_can_be_had_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    tallies = Tallies()
    tallies.release(tallies.take())
    seat = Seat(Kind.WORKER, lambda _tally, _voice: 0)
    before = os.listdir("/dev/fd")
    with pytest.raises(BlockingIOError):
        seat.start(tallies, lambda: None)
    assert os.listdir("/dev/fd") == before
    assert not any(tally.taken for tally in tallies)
    assert not seat.pid
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS)


def ended(job: Callable[[Tally, int], int]) -> Seat:
    seat = Seat(Kind.WORKER, job)
    seat.start(Tallies(), lambda: None)
    wait_for(seat.has_ended, what="the process's end")
    return seat


def killed(_tally: Tally, _voice: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_how_a_process_ended_is_known() -> None:
    assert ended(lambda _tally, _voice: 3).end == "exit code 3"
    assert ended(killed).end == "killed by SIGKILL"


def test_nothing_of_a_process_that_has_ended_stays_open() -> None:
    tallies = Tallies()
    tallies.release(tallies.take())
    seat = Seat(Kind.WORKER, lambda _tally, _voice: 0)
    before = os.listdir("/dev/fd")
    for _ in range(10):
        seat.start(tallies, lambda: None)
        wait_for(seat.has_ended, what="the process's end")
        assert seat.tally is not None
        tallies.release(seat.tally)
    assert os.listdir("/dev/fd") == before


def test_a_process_that_is_not_ready_in_time_is_late() -> None:
    seat = Seat(Kind.WORKER, None, pid=7, began=100.0)
    assert not seat.late(100.0 + START_SECONDS)
    assert seat.late(101.0 + START_SECONDS)
    seat.serving = True
    assert not seat.late(101.0 + START_SECONDS)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Who was sent which signal, instead of its being sent."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def test_an_issuer_that_has_not_ended_a_minute_after_it_was_told_to_is_late(
    signals: list[tuple[int, int]],
) -> None:
    """However often it is told: its successor waits for it."""
    seat = Seat(Kind.ISSUER, None, pid=4711, serving=True)
    assert not seat.late(now=1e9)
    for now in (100.0, 130.0):
        seat.retire(now)
    assert signals == [(4711, signal.SIGTERM)] * 2
    assert not seat.late(100.0 + END_SECONDS)
    assert seat.late(100.1 + END_SECONDS)


def test_a_worker_that_is_told_to_take_no_more_clients_is_never_late(
    signals: list[tuple[int, int]],
) -> None:
    seat = Seat(Kind.WORKER, None, pid=4711, serving=True)
    seat.retire(100.0)
    assert signals == [(4711, signal.SIGUSR2)]
    assert not seat.late(now=1e9)
