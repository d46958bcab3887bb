"""What all client connections of one worker share: limits, ids, the clock, the end."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from unittest.mock import Mock

import pytest

from proxy.clock import TICK
from proxy.config import Config
from proxy.listener import Listener
from proxy.routing import Table
from proxy.tls import Base
from tests.playbook import on_stage, settled, stage


class Guest:
    """A client's connection that writes down what it is told."""

    kind = "https"

    def __init__(self, listener: Listener, *, deadline: float = math.inf) -> None:
        self.listener, self.deadline = listener, deadline
        self.told: list[str] = []
        listener.joined(self)

    def expired(self) -> None:
        self.told.append("expired")
        self.deadline = math.inf

    def drain(self) -> None:
        self.told.append("drain")

    def retired(self) -> None:
        self.told.append("retired")

    def abort(self) -> None:
        self.told.append("abort")
        self.listener.parted(self)


def opened(*, workers: int = 1, **config: object) -> Listener:
    written = Config.model_validate({"sites": {"a": "http://127.0.0.1:1"}, **config})
    return Listener(written, Table(written.sites), Base(), workers=workers)


@pytest.mark.parametrize(("workers", "share"), [(1, 4), (2, 2), (3, 2), (8, 1)])
@on_stage
async def test_the_limit_of_connections_is_shared_among_the_workers(
    workers: int, share: int
) -> None:
    listener = opened(workers=workers, limits={"connections": "4"})
    for _ in range(share - 1):
        Guest(listener)
    assert not listener.full
    last = Guest(listener)
    assert listener.full
    listener.parted(last)
    assert not listener.full


@on_stage
async def test_without_a_limit_there_is_always_room() -> None:
    listener = opened(limits={"connections": "off"})
    for _ in range(100):
        Guest(listener)
    assert not listener.full


@on_stage
async def test_no_two_requests_have_one_id_in_this_worker_or_another() -> None:
    one, other = opened(), opened()
    ids = [next(listener.request_ids) for listener in (one, other) for _ in range(100)]
    assert len(set(ids)) == 200


@on_stage
async def test_whose_patience_has_ended_is_told_with_the_next_tick() -> None:
    listener = opened()
    now = stage().now
    patient, impatient = Guest(listener), Guest(listener, deadline=now + TICK / 2)
    await settled()
    assert impatient.told == []
    stage().now += TICK
    await settled()
    assert (patient.told, impatient.told) == ([], ["expired"])


@on_stage
async def test_of_many_whose_patience_ends_at_once_some_are_told_in_each_turn() -> None:
    listener = opened()
    guests = [Guest(listener, deadline=stage().now) for _ in range(1000)]
    stage().now += TICK
    told = [0]
    while told[-1] < len(guests) and len(told) < 100:
        await asyncio.sleep(0)
        told.append(sum(bool(guest.told) for guest in guests))
    assert told[-1] == len(guests)
    assert max(after - before for before, after in pairwise(told)) <= 100
    assert all(guest.told == ["expired"] for guest in guests)


@on_stage
async def test_a_drain_tells_everybody_and_ends_when_the_last_has_gone() -> None:
    listener = opened()
    first, last = Guest(listener), Guest(listener)
    draining = asyncio.create_task(listener.drain())
    await settled()
    assert (first.told, last.told) == (["drain"], ["drain"])
    listener.parted(first)
    await settled()
    assert not draining.done()
    listener.parted(last)
    await draining
    assert last.told == ["drain"]


@pytest.mark.parametrize("word", ["drain", "retired", "abort"])
@on_stage
async def test_a_connection_that_fails_at_its_end_keeps_no_other_from_it(word: str) -> None:
    listener, faults = opened(), []
    stage().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    guests = [Guest(listener) for _ in range(3)]
    for guest in guests[:2]:
        setattr(guest, word, Mock(side_effect=[RuntimeError("the handle is closed"), None, None]))
    if word == "abort":
        listener.abort()
    elif word == "retired":
        listener.retire(then=lambda: None)
    ending = asyncio.create_task(listener.drain())
    await settled()
    assert word in guests[2].told
    assert [type(fault) for fault in faults] == [RuntimeError] * 2
    for guest in guests:
        listener.parted(guest)
    await ending


@on_stage
async def test_a_drain_with_nobody_there_ends_at_once() -> None:
    listener = opened()
    await listener.drain()
    assert listener.draining


@on_stage
async def test_who_stays_longer_than_the_drain_allows_is_ended() -> None:
    listener = opened(timeouts={"drain": "5s"})
    guest = Guest(listener)
    draining = asyncio.create_task(listener.drain())
    await settled()
    stage().now += 5
    await draining
    assert guest.told[0] == "drain"
    assert guest.told[-1] == "abort"


@on_stage
async def test_after_a_drain_the_clock_stands_still() -> None:
    listener = opened()
    await listener.drain()
    late = Guest(listener, deadline=stage().now)
    stage().now += 10 * TICK
    await settled()
    assert late.told == []


@on_stage
async def test_a_retired_worker_closes_no_connection_and_ends_with_the_last() -> None:
    """A client may have sent its next request at the very moment of the reload."""
    listener = opened()
    guest = Guest(listener)
    ended: list[bool] = []
    listener.retire(then=lambda: ended.append(True))
    await settled()
    assert (guest.told, ended) == (["retired"], [])
    listener.parted(guest)
    await settled()
    assert ended == [True]


@on_stage
async def test_a_retired_worker_judges_by_the_rules_it_was_told() -> None:
    listener = opened()
    news = Config.model_validate({"sites": {"b": "http://127.0.0.1:1"}})
    listener.adopt(news, Table(news.sites))
    assert listener.table.site("a") is None
