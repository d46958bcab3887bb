"""What becomes of an exchange whose upstream or client fails: the verdicts, and patience."""

from __future__ import annotations

from itertools import product

import pytest

from proxy.exchange import HELD_BODY, Exchange
from proxy.pool import FRESH_SECONDS
from proxy.verdict import VERDICTS, Verdict
from tests.playbook import on_stage, settled, stage
from tests.scene import GET, OK, Scene, post, reply

LENGTH_5, CHUNKED = b"Content-Length: 5", b"Transfer-Encoding: chunked"
TWO = ["http://127.0.0.1:1", "http://127.0.0.2:2"]


def failed_with(scene: Scene) -> tuple[int, str]:
    assert scene.client.ends == ["answered"]
    assert scene.client.error is not None
    return scene.client.error.status, scene.client.error.reason


# ---- the table


def test_every_failure_has_a_verdict() -> None:
    assert VERDICTS.keys() == set(product((False, True), repeat=2))


@pytest.mark.parametrize("repeatable", [False, True])
def test_after_the_head_was_sent_on_nothing_is_repeated_or_answered(repeatable: bool) -> None:
    assert VERDICTS[True, repeatable] is Verdict.ABORT


# ---- before a response


@on_stage
async def test_an_origin_that_refuses_is_502() -> None:
    scene = Scene()
    stage().unreachable.add("127.0.0.1")
    await scene.asks(GET)
    assert failed_with(scene) == (502, "refused")
    assert scene.client.persist


@on_stage
async def test_an_origin_that_refuses_is_made_up_for_by_another() -> None:
    scene = Scene(to=TWO)
    stage().unreachable.add("127.0.0.1")
    await scene.asks(GET)
    scene.upstream.says(OK)
    assert [wire.peer for wire in scene.wires] == ["127.0.0.2:2"]
    assert scene.client.ends == ["complete"]


@on_stage
async def test_a_fault_of_ours_is_told_and_leaves_no_client_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def faulty(*_args: object, **_options: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(stage(), "create_connection", faulty)
    faults: list[str] = []
    stage().set_exception_handler(lambda _loop, context: faults.append(str(context["exception"])))
    scene = Scene()
    await scene.asks(GET)
    assert failed_with(scene) == (502, "fault")
    assert faults == ["a fault"]


@on_stage
async def test_all_origins_are_tried_once_before_it_is_502() -> None:
    scene = Scene(to=TWO)
    stage().unreachable.update(("127.0.0.1", "127.0.0.2"))
    await scene.asks(GET)
    assert failed_with(scene) == (502, "refused")


@pytest.mark.parametrize("how", ["ends", "lost"])
@on_stage
async def test_an_upstream_that_breaks_before_its_head_is_502(how: str) -> None:
    scene = Scene()
    await scene.asks(GET)
    getattr(scene.upstream, how)()
    assert failed_with(scene)[0] == 502


@pytest.mark.parametrize(
    "octets",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\nDate: d\n\n",
        b"\x00",
        reply(LENGTH_5, b"Content-Length: 6"),
        reply(LENGTH_5, CHUNKED),
        reply(b"A : b"),
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000,
        reply(CHUNKED, body=b"x\r\n"),
    ],
    ids=["nonsense", "bare LF", "NUL", "two lengths", "two framings", "blank before the colon",
         "too long", "malformed first chunk"],
)  # fmt: skip
@on_stage
async def test_a_malformed_answer_is_502_and_nothing_of_it_is_sent(octets: bytes) -> None:
    scene = Scene()
    await scene.asks(GET)
    scene.upstream.says(octets)
    assert failed_with(scene)[0] == 502
    assert scene.client.take() == b""
    assert scene.upstream.aborted


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


@pytest.mark.parametrize("pieces", [1, 2000], ids=["at once", "one by one"])
@on_stage
async def test_interim_responses_without_end_are_502(pieces: int) -> None:
    """All heads of a response together are bounded by the limit of one."""
    scene = Scene()
    await scene.asks(GET)
    for _ in range(pieces):
        if not scene.client.ends:
            scene.upstream.says(HINTS * (2000 // pieces))
    assert failed_with(scene)[0] == 502
    assert len(scene.client.take()) <= scene.config.limits.response_head
    assert scene.upstream.aborted


@on_stage
async def test_each_response_has_the_whole_limit_for_its_heads() -> None:
    """RFC 9110 §15.2: any number of interim responses may come, so a kept connection forgets."""
    scene = Scene()
    for _ in range(3):
        await scene.asks(GET)
        scene.upstream.says(HINTS * 1000 + OK)
        assert scene.client.ends == ["complete"]
    assert len(scene.wires) == 1


# ---- after the response's head


@pytest.mark.parametrize("how", ["ends", "lost"])
@pytest.mark.parametrize(
    "octets",
    [reply(LENGTH_5, body=b"hell"), reply(CHUNKED, body=b"5\r\nhello\r\n"),
     reply(CHUNKED, body=b"5\r\nhello\r\n0\r\n")],
    ids=["length", "chunks", "trailers"],
)  # fmt: skip
@on_stage
async def test_an_upstream_dying_mid_body_aborts_the_client(octets: bytes, how: str) -> None:
    """RFC 9112 §8: a truncated body never looks complete."""
    scene = Scene()
    await scene.asks(GET)
    scene.upstream.says(octets)
    getattr(scene.upstream, how)()
    assert scene.client.ends == ["aborted"]
    assert b"0\r\n\r\n" not in scene.client.take()


@on_stage
async def test_a_reset_is_no_end_of_a_body_that_ends_with_its_connection() -> None:
    scene = Scene()
    await scene.asks(GET)
    scene.upstream.says(reply(body=b"hello"))
    scene.upstream.lost()
    assert scene.client.ends == ["aborted"]


@on_stage
async def test_a_malformed_chunk_within_a_body_aborts_the_client() -> None:
    scene = Scene()
    await scene.asks(GET)
    scene.upstream.says(reply(CHUNKED, body=b"5\r\nhello\r\n"))
    scene.upstream.says(b"x\r\n")
    assert scene.client.ends == ["aborted"]
    assert scene.upstream.aborted


# ---- the retry (RFC 9110 §9.2.2)


async def dies_stale(scene: Scene, octets: bytes, said: bytes = b"") -> bytes:
    """A reused connection breaks before an answer; returns what was sent on it."""
    stale = await scene.warm()
    await scene.asks(octets)
    assert scene.upstream is stale, "the connection is reused"
    sent = stale.take()
    if said:
        stale.says(said)
    stale.lost()
    await settled()
    return sent


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
@on_stage
async def test_an_idempotent_request_is_repeated_on_a_fresh_connection(method: bytes) -> None:
    scene = Scene()
    request = post(LENGTH_5, body=b"hello").replace(b"POST", method)
    sent = await dies_stale(scene, request)
    assert len(scene.wires) == 2
    assert scene.upstream.take() == sent
    scene.upstream.says(reply(b"Content-Length: 0"))
    assert (scene.client.ends, scene.client.persist) == (["complete"], True)


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"PROPFIND", b"get"])
@on_stage
async def test_any_other_request_is_never_repeated(method: bytes) -> None:
    scene = Scene()
    await dies_stale(scene, GET.replace(b"GET", method))
    assert len(scene.wires) == 1
    assert failed_with(scene)[0] == 502


@on_stage
async def test_a_request_is_repeated_once_only() -> None:
    scene = Scene()
    await dies_stale(scene, GET)
    scene.upstream.lost()
    await settled()
    assert len(scene.wires) == 2
    assert failed_with(scene)[0] == 502


@on_stage
async def test_the_repeated_request_gets_no_second_stale_connection() -> None:
    scene = Scene()
    first, second = await scene.asks(GET), await scene.asks(GET)
    assert first is not second
    for wire in list(scene.wires):
        wire.says(OK)
    await scene.asks(GET)
    scene.wires[1].lost()
    await settled()
    assert len(scene.wires) == 3


@on_stage
async def test_a_request_on_a_fresh_connection_is_not_repeated() -> None:
    scene = Scene()
    await scene.asks(GET)
    scene.upstream.lost()
    await settled()
    assert len(scene.wires) == 1


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"])
@on_stage
async def test_after_one_byte_of_an_answer_nothing_is_repeated(said: bytes) -> None:
    scene = Scene()
    await dies_stale(scene, GET, said)
    assert len(scene.wires) == 1
    assert failed_with(scene)[0] == 502


@on_stage
async def test_a_malformed_answer_is_not_asked_for_again() -> None:
    scene = Scene()
    stale = await scene.warm()
    await scene.asks(GET)
    stale.says(b"nonsense\r\n\r\n")
    await settled()
    assert len(scene.wires) == 1


@on_stage
async def test_a_time_out_is_not_repeated() -> None:
    scene = Scene()
    await scene.warm()
    exchange = await scene.asks(GET)
    exchange.expired()
    await settled()
    assert len(scene.wires) == 1
    assert failed_with(scene) == (504, "timeout")


@on_stage
async def test_a_body_too_large_to_be_kept_is_not_repeated() -> None:
    scene = Scene()
    body = b"x" * (HELD_BODY + 1)
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    stale = await scene.warm()
    exchange = await scene.asks(head)
    exchange.client_received(body)
    stale.lost()
    await settled()
    assert len(scene.wires) == 1
    assert failed_with(scene)[0] == 502


@pytest.mark.parametrize("framing", [b"Content-Length: %d" % (HELD_BODY + 1), CHUNKED])
@on_stage
async def test_a_request_that_may_be_too_large_to_be_kept_meets_no_stale_connection(
    framing: bytes,
) -> None:
    scene = Scene()
    await scene.warm()
    stage().now += FRESH_SECONDS
    await scene.asks(post(framing).replace(b"POST", b"PUT"))
    assert len(scene.wires) == 2


@pytest.mark.parametrize(
    "octets", [post(b"Content-Length: %d" % HELD_BODY), post(CHUNKED, body=b"1\r\nx\r\n0\r\n\r\n")]
)
@on_stage
async def test_one_that_will_be_kept_whole_goes_on_a_kept_connection(octets: bytes) -> None:
    scene = Scene()
    await scene.warm()
    stage().now += FRESH_SECONDS
    await scene.asks(octets.replace(b"POST", b"PUT"))
    assert len(scene.wires) == 1


@on_stage
async def test_what_comes_while_a_request_is_repeated_is_sent_with_it() -> None:
    scene = Scene()
    stale = await scene.warm()
    exchange = await scene.asks(post(LENGTH_5, body=b"he").replace(b"POST", b"PUT"))
    stale.lost()
    exchange.client_received(b"llo")
    await settled()
    assert scene.upstream is not stale
    assert scene.upstream.take().endswith(b"\r\n\r\nhello")


async def repeats_slowly() -> tuple[Scene, Exchange]:
    """A reused connection breaks before an answer, and a fresh one takes long to open."""
    scene = Scene(timeouts=PATIENCE)
    stale = await scene.warm()
    exchange = await scene.asks(GET)
    stage().silent.add("127.0.0.1")
    stale.lost()
    await settled()
    return scene, exchange


@on_stage
async def test_what_a_stale_connection_took_is_not_counted_against_a_fresh_one() -> None:
    scene, _ = await repeats_slowly()
    assert seconds_left(scene) is None
    await stage().heard()
    assert seconds_left(scene) == 2


@on_stage
async def test_a_request_that_was_answered_is_not_repeated_any_more() -> None:
    scene, exchange = await repeats_slowly()
    exchange.expired()
    assert failed_with(scene) == (504, "timeout")
    await stage().heard()
    assert len(scene.wires) == 1


# ---- a client that leaves


@on_stage
async def test_a_client_that_leaves_ends_its_upstream_request() -> None:
    scene = Scene()
    exchange = await scene.asks(GET)
    exchange.client_left()
    assert scene.upstream.aborted
    scene.upstream.lost()
    assert scene.client.ends == []


@on_stage
async def test_a_client_that_leaves_while_a_connection_is_opened_ends_that() -> None:
    scene = Scene()
    stage().silent.add("127.0.0.1")
    exchange = await scene.asks(GET)
    exchange.client_left()
    await settled()
    stage().silent.clear()
    assert (scene.wires, scene.client.ends) == ([], [])
    pool = scene.listener.pools.choose(scene.config.sites["a"].to)
    assert pool is not None
    assert pool.leased == 0


# ---- patience

PATIENCE = {"request_body": "1s", "response_head": "2s", "response_body": "3s"}


def seconds_left(scene: Scene) -> float | None:
    return None if scene.client.deadline is None else scene.client.deadline - stage().now


async def begun(octets: bytes) -> tuple[Scene, Exchange]:
    scene = Scene(timeouts=PATIENCE)
    return scene, await scene.asks(octets)


@on_stage
async def test_each_wait_has_a_patience_of_its_own() -> None:
    scene, exchange = await begun(post(LENGTH_5))
    assert seconds_left(scene) == 1
    exchange.client_received(b"hello")
    assert seconds_left(scene) == 2
    scene.upstream.says(reply(LENGTH_5))
    assert seconds_left(scene) == 3


@on_stage
async def test_each_byte_starts_the_patience_anew() -> None:
    """Time is measured on progress: a long upload is no slow one."""
    scene, exchange = await begun(post(LENGTH_5))
    stage().now += 0.9
    exchange.client_received(b"h")
    assert seconds_left(scene) == 1
    exchange.client_received(b"ello")
    stage().now += 1
    answer = reply(LENGTH_5)
    scene.upstream.says(answer[:9])
    assert seconds_left(scene) == 2
    scene.upstream.says(answer[9:])
    stage().now += 2
    scene.upstream.says(b"h")
    assert seconds_left(scene) == 3


@on_stage
async def test_a_time_out_that_is_off_never_comes() -> None:
    scene = Scene(timeouts={"response_head": "off"})
    await scene.asks(GET)
    assert seconds_left(scene) is None


@on_stage
async def test_a_client_too_slow_with_its_body_is_408() -> None:
    scene, exchange = await begun(post(LENGTH_5, body=b"he"))
    exchange.expired()
    assert failed_with(scene)[0] == 408
    assert scene.client.persist is False
    assert scene.upstream.aborted


@on_stage
async def test_an_upstream_too_slow_to_answer_is_504() -> None:
    scene, exchange = await begun(GET)
    exchange.expired()
    assert failed_with(scene)[0] == 504
    assert scene.upstream.aborted


@on_stage
async def test_an_upstream_that_stalls_within_its_body_aborts_the_client() -> None:
    scene, exchange = await begun(GET)
    scene.upstream.says(reply(LENGTH_5, body=b"he"))
    exchange.expired()
    assert scene.client.ends == ["aborted"]


@on_stage
async def test_a_client_that_reads_slowly_but_reads_is_waited_for() -> None:
    scene, exchange = await begun(GET)
    scene.upstream.says(reply(LENGTH_5, body=b"he"))
    scene.client.takes, scene.client.untaken = False, 5000
    exchange.client_full()
    exchange.expired()
    scene.client.untaken = 4000
    exchange.expired()
    assert scene.client.ends == []
    assert seconds_left(scene) == 3
    exchange.expired()
    assert scene.client.ends == ["aborted"]


@on_stage
async def test_an_upstream_that_takes_a_body_slowly_but_takes_it_is_waited_for() -> None:
    scene, exchange = await begun(post(LENGTH_5, body=b"he"))
    scene.upstream.waiting = 5000
    exchange.expired()
    scene.upstream.waiting = 4000
    exchange.expired()
    assert scene.client.ends == []
    exchange.expired()
    assert failed_with(scene)[0] == 504
