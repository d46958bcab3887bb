"""How many connections each client has, in all workers together."""

from __future__ import annotations

import os
import signal

import pytest

from proxy.headcount import Headcount
from tests.forks import Fork, forks

CLIENT = "192.0.2.1"


@pytest.fixture
def headcount() -> Headcount:
    made = Headcount()
    made.join()
    return made


def test_each_connection_of_a_client_counts_until_it_ends(headcount: Headcount) -> None:
    assert [headcount.arrive(CLIENT) for _ in range(3)] == [1, 2, 3]
    headcount.leave(CLIENT)
    assert headcount.arrive(CLIENT) == 3


def test_each_client_is_counted_alone(headcount: Headcount) -> None:
    headcount.arrive(CLIENT)
    assert headcount.arrive("192.0.2.2") == 1
    assert headcount.arrive("2001:db8::1") == 1


def test_an_ipv6_network_of_64_bits_is_one_client(headcount: Headcount) -> None:
    headcount.arrive("2001:db8::1")
    assert headcount.arrive("2001:db8::2") == 2
    assert headcount.arrive("2001:db8:0:1::1") == 1


def test_in_a_crowd_strangers_are_hardly_ever_taken_for_each_other(headcount: Headcount) -> None:
    crowd = [f"10.0.{n >> 8}.{n & 255}" for n in range(20000)]
    counts = [headcount.arrive(address) for address in crowd]
    assert sum(count > 1 for count in counts) < 200
    assert max(counts) <= 3


def test_all_workers_count_together() -> None:
    headcount = Headcount()

    def serve() -> int:
        headcount.join()
        for _ in range(999):
            headcount.arrive(CLIENT)
        return headcount.arrive(CLIENT)

    with forks(3, serve) as workers:
        assert max(worker.said() for worker in workers) == 3000


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_connections_of_a_worker_that_died_are_forgotten_with_the_next(end: signal.Signals) -> None:
    headcount = Headcount()

    def serve() -> int:
        headcount.join()
        return headcount.arrive(CLIENT)

    with Fork(serve) as first, Fork(lambda: first.pid and serve()) as second:
        assert {first.said(), second.said()} == {1, 2}
        os.kill(first.pid, end)
        first.kill()
        with Fork(serve) as successor:
            assert successor.said() == 2


def test_a_worker_for_which_there_is_no_berth_shuts_nobody_out(headcount: Headcount) -> None:
    headcount._column = None
    assert [headcount.arrive(CLIENT) for _ in range(3)] == [0, 0, 0]
    headcount.leave(CLIENT)
