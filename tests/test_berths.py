"""A number for each process."""

from __future__ import annotations

import os
import signal

from proxy.berths import BERTHS, Berths
from tests.forks import Fork, forks


def taken(berths: Berths) -> int:
    berth = berths.take()
    return -1 if berth is None else berth


def test_no_two_processes_have_one_berth() -> None:
    berths = Berths("test")
    with forks(5, lambda: taken(berths)) as workers:
        assert sorted(worker.said() for worker in workers) == [0, 1, 2, 3, 4]
        assert berths.used == 5


def test_the_berth_of_a_process_that_died_falls_to_the_next() -> None:
    berths = Berths("test")
    with Fork(lambda: taken(berths)) as first, Fork(lambda: first.pid and taken(berths)) as second:
        died = first.said()
        assert second.said() != died
        first.kill()
        with Fork(lambda: taken(berths)) as successor:
            assert successor.said() == died


def test_a_stopped_process_keeps_its_berth_and_holds_up_nobody() -> None:
    berths = Berths("test")
    with Fork(lambda: taken(berths)) as stopped:
        assert stopped.said() == 0
        os.kill(stopped.pid, signal.SIGSTOP)
        with Fork(lambda: taken(berths)) as other:
            assert other.said() == 1


def test_with_every_berth_taken_a_process_does_without() -> None:
    berths = Berths("test")
    with forks(BERTHS, lambda: taken(berths)) as workers:
        assert {worker.said() for worker in workers} == set(range(BERTHS))
        with Fork(lambda: taken(berths)) as late:
            assert late.said() == -1


def test_whatever_the_dead_left_is_vacated_by_who_comes_next() -> None:
    berths = Berths("test")
    with forks(3, lambda: taken(berths)) as workers:
        held = [worker.said() for worker in workers]
        for worker in workers[:2]:
            worker.kill()
        vacated = list[int]()
        berths.take(vacated.append)
        assert vacated == sorted(held[:2])
