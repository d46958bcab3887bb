"""The fast lane where it must leave, and where it must not."""

from __future__ import annotations

from proxy.account import Account
from proxy.engine import Plain
from proxy.exchange import Exchange
from proxy.fast_lane import FastLane
from proxy.head import read_request
from tests.playbook import ClientOnStage, Wire, on_stage
from tests.scene import GET, OK, Scene


class Slow(ClientOnStage):
    """A client whose kernel takes only a part of what is sent, and says so at once."""

    lane: FastLane
    exchange: Exchange | None = None

    def send(self, data: Plain) -> None:
        super().send(data)
        self.lane.client_full()

    def left_fast_lane(self, exchange: Exchange) -> None:
        self.exchange = exchange


async def under_way() -> tuple[Slow, Wire]:
    """A request on the fast lane, whose answer will be known."""
    scene = Scene()
    wire = await scene.warm()
    listener, site = scene.listener, scene.listener.table.sites["a"]
    request = read_request(GET)
    listener.memos.learn(scene.route, GET, request)
    memo = listener.memos.of(scene.route)
    assert memo is not None
    memo.answer(OK, listener.clock.date, persist=True)
    for _ in range(2):
        memo.learn_answer(OK, request, listener.limits, listener.clock.date)
    client = Slow()
    account = Account(listener, "192.0.2.1")
    client.lane = FastLane(listener, client, account, site, "192.0.2.1")
    assert client.lane.begin(GET)
    return client, wire


@on_stage
async def test_a_client_that_is_full_of_its_answer_leaves_the_connection_as_it_was() -> None:
    """Left paused, it would never give the next client its answer."""
    client, wire = await under_way()
    wire.says(OK)
    assert client.take().endswith(b"\r\n\r\nok")
    assert client.ends == ["complete"]
    assert client.exchange is None
    assert wire.reading


@on_stage
async def test_a_client_that_is_full_before_its_answer_slows_its_upstream() -> None:
    client, wire = await under_way()
    client.lane.client_full()
    assert client.exchange is not None
    assert not wire.reading
