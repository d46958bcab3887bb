"""Which origin a request goes to when some of them fail."""

from __future__ import annotations

import pytest

from proxy.config import Origin
from proxy.errors import UpstreamError
from proxy.health import FAILURES, FORGOTTEN_SECONDS, PAUSES
from proxy.pool import Pool, Pools
from tests.playbook import on_stage, settled, stage

A = Origin("http", "127.0.0.1", 1)
B = Origin("http", "127.0.0.2", 2)
BOTH = [A, B]


class Said:
    """Pools, and what they told of their origins."""

    def __init__(self) -> None:
        self.pools = Pools(5)
        self.told: list[tuple[Origin, bool, str]] = []
        self.pools.told = self._hear

    def _hear(self, pool: Pool) -> None:
        self.told.append((pool.origin, not pool.standing.marked, pool.standing.reason))

    def chosen(self, origins: list[Origin] = BOTH) -> Pool:
        pool = self.pools.choose(origins)
        assert pool is not None
        return pool

    def choices(self) -> set[Origin]:
        """The origins that several requests, one after the other, go to."""
        return {self.chosen().origin for _ in range(4)}

    async def connect(self, origin: Origin) -> None:
        """A request's connection is opened, which may fail, and given back."""
        try:
            upstream = await self.chosen([origin]).connect()
        except UpstreamError:
            return
        upstream.give_back()

    def leaves_unanswered(self, origin: Origin, requests: int = FAILURES) -> None:
        for _ in range(requests):
            self.chosen([origin]).failed("reset")

    async def passes(self, seconds: float) -> None:
        stage().now += seconds
        self.pools.ticked(stage().now)
        await settled()


@on_stage
async def test_an_origin_that_refuses_gets_no_more_requests() -> None:
    said = Said()
    assert said.choices() == {A, B}
    stage().unreachable.add(A.host)
    await said.connect(A)
    assert said.choices() == {B}
    assert said.told == [(A, False, "refused")]


@on_stage
async def test_an_origin_that_leaves_requests_unanswered_gets_no_more_of_them() -> None:
    said = Said()
    said.leaves_unanswered(A, FAILURES - 1)
    assert said.choices() == {A, B}
    said.leaves_unanswered(A, 1)
    assert said.choices() == {B}


@on_stage
async def test_an_only_origin_is_tried_all_the_same() -> None:
    said = Said()
    stage().unreachable.add(A.host)
    await said.connect(A)
    assert said.chosen([A]).origin is A


@on_stage
async def test_where_all_origins_are_marked_all_are_tried() -> None:
    said = Said()
    stage().unreachable.update({A.host, B.host})
    for origin in BOTH:
        await said.connect(origin)
    assert said.choices() == {A, B}


@on_stage
async def test_an_origin_that_is_there_again_is_found_without_a_request() -> None:
    said = Said()
    stage().unreachable.add(A.host)
    await said.connect(A)
    stage().unreachable.clear()
    await said.passes(PAUSES[0] / 2)
    assert said.choices() == {B}
    await said.passes(PAUSES[0] / 2)
    assert said.choices() == {A, B}
    assert said.told[1:] == [(A, True, "refused")]
    assert [wire.closed for wire in stage().opened] == [True]


@on_stage
async def test_requests_for_want_of_a_better_one_do_not_put_off_the_search() -> None:
    said = Said()
    stage().unreachable.update({A.host, B.host})
    for _ in range(3):
        for origin in BOTH:
            await said.connect(origin)
    stage().unreachable.clear()
    await said.passes(PAUSES[0])
    assert [(origin, healthy) for origin, healthy, _ in said.told[2:]] == [(A, True), (B, True)]


@on_stage
async def test_an_origin_that_stays_away_is_looked_for_ever_more_seldom() -> None:
    said = Said()
    stage().names["tracker"] = []
    named = Origin("http", "tracker", 1)
    await said.connect(named)
    questions = []
    for _ in range(80):
        before = stage().questions
        await said.passes(0.25)
        questions.append(stage().questions - before)
    assert max(questions) == 1
    assert sum(questions) == 4  # after 1, 3, 7 and 15 s


@on_stage
async def test_a_request_that_comes_through_to_a_marked_only_origin_lifts_its_mark() -> None:
    said = Said()
    stage().unreachable.add(A.host)
    await said.connect(A)
    stage().unreachable.clear()
    await said.connect(A)
    assert said.choices() == {A, B}


@on_stage
async def test_one_request_at_a_time_finds_out_whether_requests_are_answered_again() -> None:
    said = Said()
    said.leaves_unanswered(A)
    await said.passes(PAUSES[0])
    first = [said.chosen() for _ in range(4)]
    assert [pool.origin for pool in first].count(A) == 1
    [tried] = [pool for pool in first if pool.origin is A]
    tried.answered()
    assert said.choices() == {A, B}
    assert said.told == [(A, False, "reset"), (A, True, "reset")]


@on_stage
async def test_a_trial_that_fails_is_followed_by_a_longer_pause() -> None:
    said = Said()
    said.leaves_unanswered(A)
    await said.passes(PAUSES[0])
    assert A in said.choices()
    said.pools.choose([A])
    said.leaves_unanswered(A, 1)
    await said.passes(PAUSES[0])
    assert said.choices() == {B}
    await said.passes(PAUSES[1])
    assert A in said.choices()


@on_stage
async def test_an_origin_nobody_asks_for_is_not_held_to_its_past() -> None:
    said = Said()
    said.leaves_unanswered(A)
    await said.passes(PAUSES[0] + FORGOTTEN_SECONDS)
    assert said.told == [(A, False, "reset"), (A, True, "reset")]


@on_stage
async def test_an_answer_makes_failures_before_it_forgotten() -> None:
    said = Said()
    for _ in range(3):
        said.leaves_unanswered(A, FAILURES - 1)
        said.chosen([A]).answered()
    assert said.told == []


@on_stage
async def test_the_end_ends_a_trial_too() -> None:
    said = Said()
    stage().unreachable.add(A.host)
    await said.connect(A)
    stage().unreachable.clear()
    stage().silent.add(A.host)
    await said.passes(PAUSES[0])
    said.pools.close()
    await settled()
    await stage().heard()
    assert stage().opened == []


@on_stage
async def test_only_an_origin_that_was_asked_for_has_a_standing() -> None:
    said = Said()
    assert said.pools.standing(A) is None
    said.leaves_unanswered(A)
    standing = said.pools.standing(A)
    assert standing is not None
    assert standing.marked


@pytest.mark.parametrize("number", range(1, 4))
@on_stage
async def test_marks_are_counted_right(number: int) -> None:
    """The choice looks at marks only where there are any."""
    said = Said()
    for _ in range(number):
        stage().unreachable.add(A.host)
        await said.connect(A)
        stage().unreachable.clear()
        await said.passes(PAUSES[-1])
    assert said.choices() == {A, B}
    stage().unreachable.add(B.host)
    await said.connect(B)
    assert said.choices() == {A}
