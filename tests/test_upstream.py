"""Connections to origins: which one an exchange gets, and what becomes of it afterwards."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.config import Origin
from proxy.errors import UpstreamError
from proxy.pool import FRESH_SECONDS, HASTY_SECONDS, IDLE_SECONDS, Pool, Pools
from proxy.upstream import Upstream
from tests.playbook import Wire, on_stage, stage

A = Origin("http", "127.0.0.1", 1)
B = Origin("http", "127.0.0.2", 2)
C = Origin("http", "127.0.0.3", 3)


class Holder:
    """An exchange that writes down what its upstream does."""

    def __init__(self, *, stays_open: bool = False) -> None:
        self.heard: list[object] = []
        self.stays_open = stays_open

    def upstream_received(self, data: bytes) -> None:
        self.heard.append(data)

    def upstream_ended(self) -> bool:
        self.heard.append("ended")
        return self.stays_open

    def upstream_lost(self) -> None:
        self.heard.append("lost")

    def upstream_full(self) -> None:
        self.heard.append("full")

    def upstream_drained(self) -> None:
        self.heard.append("drained")


def wire_of(upstream: Upstream) -> Wire:
    assert isinstance(upstream.transport, Wire)
    return upstream.transport


async def kept(pool: Pool, number: int = 1) -> list[Upstream]:
    """Connections whose exchanges have ended, the longest unused first."""
    opened = [await pool.connect() for _ in range(number)]
    for upstream in opened:
        upstream.give_back()
    return opened


# ---- leasing


@on_stage
async def test_an_empty_pool_has_nothing_to_lease() -> None:
    assert Pool(A, 5).lease(repeatable=True) is None


@on_stage
async def test_a_connection_given_back_is_leased_again() -> None:
    pool = Pool(A, 5)
    [first] = await kept(pool)
    assert pool.lease(repeatable=True) is first
    assert first.reused


@on_stage
async def test_the_connection_kept_most_recently_is_leased_first() -> None:
    """The others may so grow old and be closed."""
    pool = Pool(A, 5)
    first, second = await kept(pool, 2)
    assert [pool.lease(repeatable=True) for _ in range(3)] == [second, first, None]


@on_stage
async def test_a_new_connection_is_not_a_reused_one() -> None:
    assert not (await Pool(A, 5).connect()).reused


@on_stage
async def test_a_connection_idle_too_long_is_closed_and_not_leased() -> None:
    pool = Pool(A, 5)
    [old] = await kept(pool)
    stage().now += IDLE_SECONDS
    assert pool.lease(repeatable=True) is None
    assert wire_of(old).aborted


@on_stage
async def test_a_request_that_must_not_be_repeated_gets_a_fresh_connection_only() -> None:
    """RFC 9110 §9.2.2: should it prove stale, nobody could try again."""
    pool = Pool(A, 5)
    [old] = await kept(pool)
    stage().now += FRESH_SECONDS
    assert pool.lease(repeatable=False) is None
    assert pool.lease(repeatable=True) is old


@on_stage
async def test_a_connection_that_is_closing_is_not_leased() -> None:
    pool = Pool(A, 5)
    [old] = await kept(pool)
    wire_of(old).close()
    assert pool.lease(repeatable=True) is None


@on_stage
async def test_an_origin_that_ends_a_connection_right_after_an_answer_may_do_so_at_any_moment() -> (
    None
):
    """Such a request would have to race the end of its connection; GET may be sent again."""
    pool = Pool(A, 5)
    hasty, other = await kept(pool, 2)
    wire_of(hasty).ends()
    assert pool.lease(repeatable=False) is None
    assert pool.lease(repeatable=True) is other
    stage().now += HASTY_SECONDS
    [later] = await kept(pool)
    assert pool.lease(repeatable=False) is later


@on_stage
async def test_an_origin_that_ends_a_connection_it_has_tired_of_is_not_hasty() -> None:
    pool = Pool(A, 5)
    [tired] = await kept(pool)
    stage().now += FRESH_SECONDS
    wire_of(tired).ends()
    [fresh] = await kept(pool)
    assert pool.lease(repeatable=False) is fresh


@on_stage
async def test_what_the_proxy_itself_closes_makes_no_origin_hasty() -> None:
    pool = Pool(A, 5)
    [idle] = await kept(pool)
    wire_of(idle).says(b"unasked")
    wire_of(idle).lost()
    [fresh] = await kept(pool)
    assert pool.lease(repeatable=False) is fresh


@on_stage
async def test_an_end_that_waits_to_be_read_is_seen_before_such_a_request_is_sent() -> None:
    """The loop has not come to it yet."""
    pool = Pool(A, 5)
    [first] = await kept(pool)
    mine, theirs = socket.socketpair()
    with mine, theirs:
        wire_of(first).socket = mine
        assert pool.lease(repeatable=False) is first
        first.give_back()
        theirs.close()
        assert pool.lease(repeatable=False) is None
        assert wire_of(first).aborted


# ---- idle connections


@on_stage
async def test_bytes_on_an_idle_connection_are_no_response_and_close_it() -> None:
    """RFC 9112 §9.2."""
    pool = Pool(A, 5)
    [idle] = await kept(pool)
    wire_of(idle).says(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert wire_of(idle).aborted
    assert pool.lease(repeatable=True) is None


@on_stage
async def test_an_origin_that_ends_an_idle_connection_is_not_asked_on_it() -> None:
    pool = Pool(A, 5)
    [idle] = await kept(pool)
    wire_of(idle).ends()
    assert pool.lease(repeatable=True) is None


@on_stage
async def test_idle_connections_expire_by_the_clock() -> None:
    pool = Pool(A, 5)
    [old] = await kept(pool)
    stage().now += IDLE_SECONDS / 2
    young = await pool.connect()
    young.give_back()
    stage().now += IDLE_SECONDS / 2
    pool.ticked(stage().now)
    assert (wire_of(old).aborted, wire_of(young).aborted) == (True, False)


@on_stage
async def test_a_leased_connection_never_expires() -> None:
    pool = Pool(A, 5)
    leased = await pool.connect()
    pool.ticked(stage().now + 1000)
    assert not wire_of(leased).is_closing()


@on_stage
async def test_closing_a_pool_closes_what_is_idle_and_leaves_what_is_leased() -> None:
    pool = Pool(A, 5)
    [idle] = await kept(pool)
    leased = await pool.connect()
    pool.close()
    assert (wire_of(idle).aborted, wire_of(leased).aborted) == (True, False)


# ---- the one who holds a lease


@on_stage
async def test_the_holder_hears_what_its_upstream_does() -> None:
    upstream, holder = await Pool(A, 5).connect(), Holder()
    upstream.receiver = holder
    upstream.pause_writing()
    upstream.resume_writing()
    wire_of(upstream).says(b"HTTP")
    wire_of(upstream).ends()
    assert holder.heard == ["full", "drained", b"HTTP", "ended", "lost"]


@on_stage
async def test_a_holder_may_go_on_writing_after_its_upstream_has_ended() -> None:
    upstream = await Pool(A, 5).connect()
    upstream.receiver = Holder(stays_open=True)
    wire_of(upstream).ends()
    assert not wire_of(upstream).is_closing()


@on_stage
async def test_who_has_closed_its_upstream_hears_no_more_of_it() -> None:
    upstream, holder = await Pool(A, 5).connect(), Holder()
    upstream.receiver = holder
    upstream.close()
    wire_of(upstream).lost()
    assert holder.heard == []


# ---- counting leases


@on_stage
async def test_leases_are_counted_from_connecting_to_giving_back() -> None:
    pool = Pool(A, 5)
    upstream = await pool.connect()
    assert pool.leased == 1
    upstream.give_back()
    assert pool.leased == 0
    again = pool.lease(repeatable=True)
    assert again is not None
    assert pool.leased == 1
    again.close()
    assert pool.leased == 0


@on_stage
async def test_a_connection_being_opened_counts_as_leased() -> None:
    pool = Pool(A, None)
    opening = asyncio.create_task(pool.connect())
    await asyncio.sleep(0)
    assert pool.leased == 1
    await opening


@pytest.mark.parametrize("end", ["close", "lost", "close and lost"])
@on_stage
async def test_a_lease_that_ends_badly_is_counted_once(end: str) -> None:
    pool = Pool(A, 5)
    await pool.connect()
    upstream = await pool.connect()
    if "close" in end:
        upstream.close()
    if "lost" in end:
        wire_of(upstream).lost()
    assert pool.leased == 1


@on_stage
async def test_a_connection_that_could_not_be_opened_counts_no_more() -> None:
    stage().unreachable.add(A.host)
    pool = Pool(A, 5)
    with pytest.raises(UpstreamError):
        await pool.connect()
    assert pool.leased == 0


@on_stage
async def test_a_connection_nobody_waits_for_any_more_counts_no_more() -> None:
    stage().silent.add(A.host)
    pool = Pool(A, None)
    opening = asyncio.create_task(pool.connect())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert pool.leased == 0


# ---- choosing an origin


@on_stage
async def test_the_origin_with_the_fewest_leases_is_chosen() -> None:
    pools = Pools(5)
    for origin in (A, A, B, C, C):
        pool = pools.choose([origin])
        assert pool is not None
        await pool.connect()
    chosen = pools.choose([A, B, C])
    assert chosen is not None
    assert chosen.origin is B


@on_stage
async def test_among_equals_the_longest_unused_is_chosen() -> None:
    pools = Pools(5)
    chosen = [pools.choose([A, B, C]) for _ in range(7)]
    assert [pool.origin for pool in chosen if pool] == [A, B, C, A, B, C, A]


@on_stage
async def test_the_same_origin_has_the_same_pool_in_any_list() -> None:
    pools = Pools(5)
    assert pools.choose([A]) is pools.choose([A])


@on_stage
async def test_of_no_origin_none_is_chosen() -> None:
    assert Pools(5).choose([]) is None


@on_stage
async def test_the_clock_and_the_end_reach_every_pool() -> None:
    pools, idle = Pools(5), []
    for origin in (A, B):
        pool = pools.choose([origin])
        assert pool is not None
        idle += await kept(pool)
    pools.ticked(stage().now)
    assert not any(wire_of(upstream).aborted for upstream in idle)
    pools.close()
    assert all(wire_of(upstream).aborted for upstream in idle)
