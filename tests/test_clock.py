"""One coarse clock per worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from proxy.clock import TICK, Clock
from tests.playbook import on_stage, settled, stage


@on_stage
async def test_the_clock_ticks_with_the_loops_time() -> None:
    began, ticks = stage().time(), list[float]()
    clock = Clock(stage(), ticks.append)
    for _ in range(3):
        stage().now += TICK
        await settled()
    clock.stop()
    assert ticks == [began + n * TICK for n in range(4)]


@on_stage
async def test_a_stopped_clock_ticks_no_more() -> None:
    ticks = list[float]()
    Clock(stage(), ticks.append).stop()
    stage().now += 10 * TICK
    await settled()
    assert len(ticks) == 1


@on_stage
async def test_the_date_is_an_imf_fixdate_of_now_from_the_start() -> None:
    """RFC 9110 §5.6.7."""
    clock = Clock(stage(), lambda now: None)
    clock.stop()
    said = parsedate_to_datetime(clock.date.decode())
    assert abs(datetime.now(UTC) - said) < timedelta(seconds=3)
    assert said.strftime("%a, %d %b %Y %H:%M:%S GMT").encode() == clock.date


def test_the_clock_ticks_often_enough_for_a_date_true_to_the_second() -> None:
    assert TICK < 1
