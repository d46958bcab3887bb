"""A connection to what the proxy answers itself, where an answer takes several steps."""

from __future__ import annotations

import asyncio

from proxy.config import Config
from proxy.head import RequestHead
from proxy.listener import Listener
from proxy.plain import PlainConnection
from proxy.routing import Table
from proxy.steps import Steps
from proxy.tls import Base
from tests.playbook import Wire, on_stage, settled

STEPS = 3
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
HEAD = b"GET /%d HTTP/1.1\r\nHost: a.example\r\n\r\n"


class Work:
    """What is asked for, in the order in which steps towards it are taken."""

    def __init__(self) -> None:
        self.steps: list[bytes] = []

    def respond(self, request: RequestHead, _close: bool) -> Steps[bytes]:
        for _ in range(STEPS):
            self.steps.append(request.target)
            yield
        return ANSWER + request.target


def connected(work: Work) -> Wire:
    config = Config.model_validate({"sites": {"a.example": "http://127.0.0.1:1"}})
    listener = Listener(config, Table(config.sites), Base(), workers=1)
    connection = PlainConnection(listener, work.respond, kind="admin")
    wire = Wire(connection)
    connection.connection_made(wire)
    return wire


def protocol(wire: Wire) -> PlainConnection:
    assert isinstance(wire.protocol, PlainConnection)
    return wire.protocol


@on_stage
async def test_an_answer_made_in_steps_is_given_when_the_last_is_taken() -> None:
    wire = connected(Work())
    wire.says(HEAD % 1)
    assert wire.take() == b""
    await settled()
    assert wire.take() == ANSWER + b"/1"
    assert wire.reading


@on_stage
async def test_two_clients_take_their_steps_in_turn() -> None:
    work = Work()
    one, other = connected(work), connected(work)
    one.says(HEAD % 1)
    other.says(HEAD % 2)
    await settled()
    assert work.steps == [b"/1", b"/2"] * STEPS


@on_stage
async def test_requests_sent_at_once_are_answered_one_after_the_other() -> None:
    work = Work()
    wire = connected(work)
    wire.says(HEAD % 1 + HEAD % 2)
    assert not wire.reading
    await settled()
    assert wire.take() == ANSWER + b"/1" + ANSWER + b"/2"
    assert work.steps == [b"/1"] * STEPS + [b"/2"] * STEPS


@on_stage
async def test_an_answer_that_is_being_made_is_given_before_the_end() -> None:
    wire = connected(Work())
    wire.says(HEAD % 1)
    protocol(wire).drain()
    assert not wire.half_closed
    await settled()
    assert wire.take() == ANSWER + b"/1"
    assert wire.half_closed


@on_stage
async def test_when_its_worker_retires_a_client_has_its_first_request_answered() -> None:
    wire = connected(Work())
    protocol(wire).retired()
    assert not wire.half_closed
    wire.says(HEAD % 1)
    await settled()
    assert wire.take() == ANSWER + b"/1"
    protocol(wire).retired()
    assert wire.half_closed


@on_stage
async def test_for_a_client_that_has_left_no_more_steps_are_taken() -> None:
    work = Work()
    wire = connected(work)
    wire.says(HEAD % 1)
    wire.lost()
    await settled()
    assert work.steps == [b"/1"]
    assert wire.take() == b""


@on_stage
async def test_a_step_that_fails_ends_the_connection() -> None:
    class Broken(Work):
        def respond(self, request: RequestHead, close: bool) -> Steps[bytes]:
            yield from super().respond(request, close)
            raise OverflowError

    told: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, failure: told.append(failure["exception"]))
    wire = connected(Broken())
    wire.says(HEAD % 1)
    await settled()
    assert wire.aborted
    assert [type(error) for error in told] == [OverflowError]
