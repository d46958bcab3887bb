"""Passwords verified beside the loop: what waits, what is remembered, what is refused."""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from collections.abc import Iterator

import pytest

from proxy.credentials import Guard
from proxy.doorkeeper import KNOWN_SECONDS, PATIENCE, QUEUE, Doorkeeper, Question
from proxy.errors import ClientError
from proxy.head import Fields, read_request
from tests.playbook import on_stage, settled, stage
from tests.scene import GET, OK, Scene, post


class Faulty:
    """A hash that cannot be made."""

    def matches(self, password: bytes) -> bool:
        raise RuntimeError("a fault")


class Slow:
    """A hash of the password `secret` that takes until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.asked = 0

    def matches(self, password: bytes) -> bool:
        self.asked += 1
        self.begun.release()
        assert self.let_go.wait(30)
        return password == b"secret"


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.let_go.set()


def said(user: bytes, password: bytes = b"secret") -> Fields:
    field = b"Authorization: Basic " + b64encode(user + b":" + password)
    return read_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n").fields


def asked(keeper: Doorkeeper, guard: Guard, fields: Fields) -> Question:
    question = keeper.ask(guard, fields)
    assert question is not None
    return question


async def verdict(question: Question) -> int:
    refusal = await question.answer()
    return 200 if refusal is None else refusal.status


def asker(question: Question) -> asyncio.Task[None]:
    async def ask() -> None:
        await question.answer()

    task = asyncio.ensure_future(ask())
    question.awaited_by(task)
    return task


def refused(keeper: Doorkeeper, guard: Guard, fields: Fields) -> ClientError:
    with pytest.raises(ClientError) as caught:
        keeper.ask(guard, fields)
    return caught.value


@on_stage
async def test_without_credentials_nobody_is_asked(slow: Slow) -> None:
    keeper, guard = Doorkeeper(), Guard("a.example.com", {b"ann": slow})
    nothing = read_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").fields
    refusal = refused(keeper, guard, nothing)
    assert (refusal.status, refusal.realm, slow.asked) == (401, "a.example.com", 0)
    keeper.close()


@on_stage
async def test_who_says_the_same_at_the_same_time_costs_one_verification(slow: Slow) -> None:
    keeper, guard = Doorkeeper(), Guard("a", {b"ann": slow})
    questions = [asked(keeper, guard, said(b"ann")) for _ in range(50)]
    slow.let_go.set()
    assert [await verdict(question) for question in questions] == [200] * 50
    assert slow.asked == 1
    keeper.close()


@on_stage
async def test_who_was_admitted_is_known_for_minutes_and_then_asked_again(slow: Slow) -> None:
    keeper, guard = Doorkeeper(), Guard("a", {b"ann": slow})
    slow.let_go.set()
    assert await verdict(asked(keeper, guard, said(b"ann"))) == 200
    stage().now += KNOWN_SECONDS - 1
    assert keeper.ask(guard, said(b"ann")) is None
    stage().now += 1
    assert await verdict(asked(keeper, guard, said(b"ann"))) == 200
    assert slow.asked == 2
    keeper.close()


@on_stage
async def test_who_is_known_at_one_door_is_asked_at_another(slow: Slow) -> None:
    keeper, guard = Doorkeeper(), Guard("a", {b"ann": slow})
    slow.let_go.set()
    assert await verdict(asked(keeper, guard, said(b"ann"))) == 200
    assert keeper.ask(Guard("a", {b"ann": slow}), said(b"ann")) is not None
    assert keeper.ask(guard, said(b"ann", b"other")) is not None
    keeper.close()


@on_stage
async def test_who_was_refused_is_not_remembered_for_anything(slow: Slow) -> None:
    keeper, guard = Doorkeeper(), Guard("a", {b"ann": slow})
    slow.let_go.set()
    for _ in range(2):
        assert await verdict(asked(keeper, guard, said(b"ann", b"wrong"))) == 401
    assert slow.asked == 2
    keeper.close()


@on_stage
async def test_what_waits_is_bounded_and_the_excess_told_to_come_later(slow: Slow) -> None:
    keeper, guard = Doorkeeper(), Guard("a", {b"ann": slow})
    questions = [asked(keeper, guard, said(b"ann", b"%d" % n)) for n in range(QUEUE)]
    refusal = refused(keeper, guard, said(b"ann"))
    assert (refusal.status, refusal.retry_after) == (503, 5)
    again = asked(keeper, guard, said(b"ann", b"0"))
    assert again is questions[0]
    slow.let_go.set()
    assert [await verdict(question) for question in questions] == [401] * QUEUE
    assert await verdict(asked(keeper, guard, said(b"ann"))) == 200
    keeper.close()


@on_stage
async def test_a_question_whose_askers_have_all_left_is_dropped(slow: Slow) -> None:
    keeper, guard = Doorkeeper(), Guard("a", {b"ann": slow})
    first = asyncio.ensure_future(verdict(asked(keeper, guard, said(b"ann", b"first"))))
    await asyncio.to_thread(slow.begun.acquire)
    second = asked(keeper, guard, said(b"ann", b"second"))
    askers = [asker(second) for _ in range(2)]
    await settled()
    askers[0].cancel()
    await settled()
    assert asked(keeper, guard, said(b"ann", b"second")) is second
    askers[1].cancel()
    await settled()
    assert asked(keeper, guard, said(b"ann", b"second")) is not second
    slow.let_go.set()
    assert await first == 401
    keeper.close()


@on_stage
async def test_a_question_that_is_asked_again_as_its_asker_leaves_is_not_dropped(
    slow: Slow,
) -> None:
    keeper, guard = Doorkeeper(), Guard("a", {b"ann": slow})
    first = asyncio.ensure_future(verdict(asked(keeper, guard, said(b"ann", b"first"))))
    await asyncio.to_thread(slow.begun.acquire)
    leaving = asker(asked(keeper, guard, said(b"ann")))
    await settled()
    leaving.cancel()
    question = asked(keeper, guard, said(b"ann"))
    asker(question)
    joined = asyncio.ensure_future(verdict(question))
    await settled()
    slow.let_go.set()
    assert (await first, await joined) == (401, 200)
    keeper.close()


@on_stage
async def test_a_question_that_waits_too_long_is_told_to_come_later(slow: Slow) -> None:
    keeper, guard = Doorkeeper(), Guard("a", {b"ann": slow})
    waiting = asyncio.ensure_future(verdict(asked(keeper, guard, said(b"ann"))))
    await settled()
    stage().now += PATIENCE
    assert await waiting == 503
    keeper.close()


# An exchange that waits for its password


def guarded(slow: Slow) -> tuple[Scene, Question]:
    scene = Scene()
    keeper, guard = scene.listener.doorkeeper, Guard("a", {b"ann": slow})
    return scene, asked(keeper, guard, said(b"ann"))


async def answered(slow: Slow, question: Question) -> None:
    slow.let_go.set()
    await question.answer()
    await settled()


@on_stage
async def test_no_origin_hears_of_a_request_before_its_password_is_verified(slow: Slow) -> None:
    scene, question = guarded(slow)
    await scene.asks(GET, question=question)
    assert scene.wires == []
    await answered(slow, question)
    scene.upstream.says(OK)
    assert scene.client.ends == ["complete"]
    scene.listener.doorkeeper.close()


@on_stage
async def test_a_body_waits_in_bounded_space_and_goes_on_whole(slow: Slow) -> None:
    scene, question = guarded(slow)
    body = b"x" * 200_000
    exchange = await scene.asks(post(b"Content-Length: 200000"), question=question)
    exchange.client_received(body[:100_000])
    assert scene.client.held
    await answered(slow, question)
    assert not scene.client.held
    exchange.client_received(body[100_000:])
    assert scene.upstream.take().endswith(b"\r\n\r\n" + body)
    exchange.client_left()
    scene.listener.doorkeeper.close()


@on_stage
async def test_a_client_that_leaves_takes_its_question_along(slow: Slow) -> None:
    scene, before = guarded(slow)
    keeper, guard = scene.listener.doorkeeper, Guard("a", {b"ann": slow})
    question = asked(keeper, guard, said(b"ann"))
    exchange = await scene.asks(GET, question=question)
    assert asked(keeper, guard, said(b"ann")) is question
    exchange.client_left()
    await settled()
    assert asked(keeper, guard, said(b"ann")) is not question
    await answered(slow, before)
    assert scene.wires == []
    keeper.close()


@on_stage
async def test_who_is_refused_may_ask_again_on_the_same_connection(slow: Slow) -> None:
    scene, _ = guarded(slow)
    question = asked(scene.listener.doorkeeper, Guard("a", {b"ann": slow}), said(b"ann", b"x"))
    await scene.asks(GET, question=question)
    await answered(slow, question)
    assert scene.client.error is not None
    assert (scene.client.error.status, scene.client.persist) == (401, True)
    scene.listener.doorkeeper.close()


@on_stage
async def test_a_password_that_cannot_be_verified_is_502_and_told() -> None:
    faults: list[str] = []
    stage().set_exception_handler(lambda _loop, context: faults.append(str(context["exception"])))
    scene = Scene()
    question = asked(scene.listener.doorkeeper, Guard("a", {b"ann": Faulty()}), said(b"ann"))
    await scene.asks(GET, question=question)
    with pytest.raises(RuntimeError):
        await question.answer()
    await settled()
    assert scene.client.error is not None
    assert (scene.client.error.status, faults) == (502, ["a fault"])
    assert scene.wires == []
    scene.listener.doorkeeper.close()
