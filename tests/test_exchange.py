"""One request and its one response: what passes, how it is framed, and who waits for whom."""

from __future__ import annotations

import pytest

from proxy.errors import ClientError
from tests.playbook import on_stage, stage
from tests.scene import GET, OK, Scene, post, reply

CHUNKED, LENGTH_5 = b"Transfer-Encoding: chunked", b"Content-Length: 5"
HEAD = GET.replace(b"GET", b"HEAD")
HTTP10 = GET.replace(b"HTTP/1.1", b"HTTP/1.0")


def body_of(octets: bytes) -> bytes:
    return octets.partition(b"\r\n\r\n")[2]


def head_of(octets: bytes) -> bytes:
    return octets.partition(b"\r\n\r\n")[0] + b"\r\n"


# ---- requests


@on_stage
async def test_a_request_reaches_the_origin_in_one_piece() -> None:
    scene = Scene()
    await scene.asks(post(LENGTH_5, body=b"hello"))
    sent = scene.upstream.take()
    assert sent.startswith(b"POST /x HTTP/1.1\r\nHost: a\r\n")
    assert body_of(sent) == b"hello"


@on_stage
async def test_what_stands_behind_a_request_is_not_sent_with_it() -> None:
    scene = Scene()
    await scene.asks(post(LENGTH_5, body=b"helloGET /"))
    assert body_of(scene.upstream.take()) == b"hello"
    assert scene.rest == b"GET /"


@on_stage
async def test_a_request_body_streams_as_it_comes() -> None:
    scene = Scene()
    exchange = await scene.asks(post(LENGTH_5, body=b"he"))
    assert body_of(scene.upstream.take()) == b"he"
    assert exchange.client_received(b"lloGET /") == b"GET /"
    assert scene.upstream.take() == b"llo"
    assert exchange.request_complete


@on_stage
async def test_a_request_body_in_chunks_is_framed_anew() -> None:
    """RFC 9112 §7.1: the client's extensions and line ends do not reach the origin."""
    scene = Scene()
    exchange = await scene.asks(post(CHUNKED, body=b"0003;a=b\r\nabc\r\n"))
    assert body_of(scene.upstream.take()) == b"3\r\nabc\r\n"
    exchange.client_received(b"2\r\nde\r\n0;x\r\nX-Sum: 1\r\nKeep-Alive: 2\r\n\r\n")
    assert scene.upstream.take() == b"2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"


@on_stage
async def test_what_comes_before_the_connection_is_open_is_sent_then() -> None:
    scene = Scene()
    stage().silent.add("127.0.0.1")
    exchange = await scene.asks(post(LENGTH_5, body=b"he"))
    exchange.client_received(b"llo")
    assert scene.wires == []
    await stage().heard()
    assert body_of(scene.upstream.take()) == b"hello"


@on_stage
async def test_a_malformed_chunk_is_the_clients_fault() -> None:
    exchange = await Scene().asks(post(CHUNKED))
    with pytest.raises(ClientError) as caught:
        exchange.client_received(b"x\r\n")
    assert caught.value.status == 400


@on_stage
async def test_a_body_over_the_limit_is_413_and_no_origin_hears_of_it() -> None:
    scene = Scene(limits={"request_body": "4B"})
    with pytest.raises(ClientError) as caught:
        await scene.asks(post(LENGTH_5, body=b"hello"))
    assert caught.value.status == 413
    assert scene.wires == []


@pytest.mark.parametrize(("rule", "host"), [("preserve", b"a"), ("upstream", b"127.0.0.1:1")])
@on_stage
async def test_host_is_the_clients_unless_the_operator_wants_the_upstreams(
    rule: str, host: bytes
) -> None:
    scene = Scene(site={"host_header": rule})
    await scene.asks(GET)
    sent = scene.upstream.take()
    assert sent.startswith(b"GET /x HTTP/1.1\r\nHost: " + host + b"\r\n")
    assert b"X-Forwarded-Host: a\r\n" in sent


@on_stage
async def test_expect_and_its_100_pass_end_to_end() -> None:
    """RFC 9110 §10.1.1."""
    scene = Scene()
    exchange = await scene.asks(post(LENGTH_5, b"Expect: 100-continue"))
    assert b"Expect: 100-continue\r\n" in scene.upstream.take()
    scene.upstream.says(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert scene.client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    exchange.client_received(b"hello")
    assert scene.upstream.take() == b"hello"
    scene.upstream.says(OK)
    assert scene.client.take() == OK


# ---- responses


@on_stage
async def test_an_answer_reaches_the_client_and_both_connections_live_on() -> None:
    scene = Scene()
    await scene.asks(GET)
    scene.upstream.says(OK)
    assert scene.client.take() == OK
    assert (scene.client.ends, scene.client.persist) == (["complete"], True)
    await scene.asks(GET)
    assert len(scene.wires) == 1


@on_stage
async def test_an_answer_in_single_bytes_is_the_same_answer() -> None:
    scene = Scene()
    await scene.asks(GET)
    for octet in OK:
        scene.upstream.says(bytes([octet]))
    assert (scene.client.take(), scene.client.ends) == (OK, ["complete"])


@on_stage
async def test_each_piece_of_an_answer_is_passed_on_at_once() -> None:
    """Server-sent events wait for nobody."""
    scene = Scene()
    await scene.asks(GET)
    scene.upstream.says(reply(CHUNKED))
    assert CHUNKED in scene.client.take()
    for event in (b"data: 1\n\n", b"data: 2\n\n"):
        scene.upstream.says(b"%x\r\n%b\r\n" % (len(event), event))
        assert scene.client.take() == b"9\r\n" + event + b"\r\n"
    scene.upstream.says(b"0\r\nX-Sum: 1\r\n\r\n")
    assert scene.client.take() == b"0\r\nX-Sum: 1\r\n\r\n"
    assert scene.client.ends == ["complete"]


@on_stage
async def test_an_interim_response_is_passed_on_before_the_final_one() -> None:
    """RFC 9110 §15.2."""
    scene = Scene()
    await scene.asks(GET)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    scene.upstream.says(hints + hints + OK)
    assert scene.client.take() == hints + hints + OK


@on_stage
async def test_a_client_of_http10_gets_no_interim_response() -> None:
    """RFC 9110 §15.2."""
    scene = Scene()
    await scene.asks(HTTP10)
    scene.upstream.says(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert scene.client.take().startswith(b"HTTP/1.1 200 OK\r\n")


UNTIL_CLOSE, IN_CHUNKS, SIZED = [b"A: b"], [CHUNKED], [LENGTH_5]


@pytest.mark.parametrize(
    ("asked", "fields", "body", "passed_on", "persists"),
    [
        (GET, SIZED, b"hello", b"hello", True),
        (GET, IN_CHUNKS, b"3;x\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", True),
        (GET, UNTIL_CLOSE, b"hello", b"5\r\nhello\r\n0\r\n\r\n", True),
        (HTTP10, SIZED, b"hello", b"hello", False),
        (HTTP10, IN_CHUNKS, b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", b"abc", False),
        (HTTP10, UNTIL_CLOSE, b"hello", b"hello", False),
        (HEAD, SIZED, b"", b"", True),
        (HEAD, IN_CHUNKS, b"", b"", True),
        (HEAD, UNTIL_CLOSE, b"", b"", True),
    ],
)
@on_stage
async def test_a_body_is_framed_for_each_hop(
    asked: bytes, fields: list[bytes], body: bytes, passed_on: bytes, persists: bool
) -> None:
    """RFC 9112 §6.3."""
    scene = Scene()
    await scene.asks(asked)
    scene.upstream.says(reply(*fields, body=body))
    if fields is UNTIL_CLOSE and asked is not HEAD:
        assert scene.client.ends == []
        scene.upstream.ends()
    assert body_of(scene.client.take()) == passed_on
    assert (scene.client.ends, scene.client.persist) == (["complete"], persists)


@pytest.mark.parametrize("fields", [SIZED, IN_CHUNKS, UNTIL_CLOSE])
@on_stage
async def test_a_client_of_http10_is_never_sent_chunks(fields: list[bytes]) -> None:
    """RFC 9112 §6.1."""
    scene = Scene()
    await scene.asks(HTTP10)
    scene.upstream.says(reply(*fields))
    assert b"Transfer-Encoding" not in scene.client.take()


@on_stage
async def test_a_client_of_http10_may_ask_to_keep_its_connection() -> None:
    """RFC 9112 §9.3."""
    scene = Scene()
    await scene.asks(HTTP10.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"))
    scene.upstream.says(OK)
    assert b"Connection: keep-alive\r\n" in scene.client.take()
    assert scene.client.persist


@on_stage
async def test_a_client_that_closes_is_told_so() -> None:
    scene = Scene()
    await scene.asks(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    scene.upstream.says(OK)
    assert b"Connection: close\r\n" in scene.client.take()
    assert scene.client.persist is False


@on_stage
async def test_while_the_process_drains_each_answer_is_the_last() -> None:
    scene = Scene()
    await scene.asks(GET)
    scene.listener.draining = True
    scene.upstream.says(OK)
    assert b"Connection: close\r\n" in scene.client.take()
    assert scene.client.persist is False


@on_stage
async def test_the_operators_rules_hold_for_the_answer() -> None:
    scene = Scene(site={"response_headers": {"Server": None, "X-A": "1"}})
    await scene.asks(GET)
    scene.upstream.says(reply(b"Server: x", LENGTH_5, body=b"hello"))
    head = head_of(scene.client.take())
    assert b"Server" not in head
    assert b"X-A: 1\r\n" in head


# ---- which upstream connection is kept


@pytest.mark.parametrize(
    "answer",
    [
        reply(LENGTH_5, b"Connection: close", body=b"hello"),
        reply(LENGTH_5, body=b"hello").replace(b"HTTP/1.1", b"HTTP/1.0"),
        reply(LENGTH_5, body=b"hello and more"),
        reply(CHUNKED, body=b"0\r\n\r\nmore"),
        reply(b"Content-Length: 0", body=b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
    ids=["close", "http10", "bytes behind", "bytes behind chunks", "a response nobody asked for"],
)
@on_stage
async def test_a_connection_that_cannot_be_kept_is_closed(answer: bytes) -> None:
    """RFC 9112 §9.3, §9.2."""
    scene = Scene()
    await scene.asks(GET)
    scene.upstream.says(answer)
    assert (scene.client.ends, scene.client.persist) == (["complete"], True)
    assert scene.upstream.aborted


@on_stage
async def test_a_connection_on_which_a_request_still_waits_is_closed() -> None:
    """Its transport says that it is full once only: the next client would never be held."""
    scene = Scene()
    await scene.asks(post(LENGTH_5, body=b"hello"))
    scene.upstream.waiting = 100_000
    scene.upstream.says(OK)
    assert (scene.client.ends, scene.client.persist) == (["complete"], True)
    assert scene.upstream.aborted


@on_stage
async def test_a_connection_is_read_again_when_its_slow_client_is_done() -> None:
    scene = Scene()
    exchange = await scene.asks(GET)
    scene.upstream.says(reply(LENGTH_5, body=b"he"))
    exchange.client_full()
    assert not scene.upstream.reading
    scene.upstream.says(b"llo")
    assert scene.upstream.reading


# ---- an answer that comes early


@on_stage
async def test_an_early_answer_is_passed_on_and_ends_both_connections() -> None:
    """RFC 9112 §9.5: the rest of the request is read by nobody."""
    scene = Scene()
    exchange = await scene.asks(post(LENGTH_5, body=b"he"))
    scene.upstream.says(reply(b"Content-Length: 2", body=b"no", status=b"413 x"))
    said = scene.client.take()
    assert said.startswith(b"HTTP/1.1 413 x\r\n")
    assert b"Connection: close\r\n" in said
    assert (scene.client.ends, scene.client.persist) == (["complete"], False)
    assert not exchange.request_complete
    assert scene.upstream.aborted


@on_stage
async def test_while_an_early_answer_streams_the_request_goes_on() -> None:
    scene = Scene()
    exchange = await scene.asks(post(LENGTH_5, body=b"he"))
    scene.upstream.take()
    scene.upstream.says(reply(LENGTH_5, body=b"he"))
    exchange.client_received(b"llo")
    assert scene.upstream.take() == b"llo"
    scene.upstream.says(b"llo")
    assert body_of(scene.client.take()) == b"hello"


# ---- backpressure


@on_stage
async def test_a_slow_client_slows_its_upstream() -> None:
    scene = Scene()
    exchange = await scene.asks(GET)
    exchange.client_full()
    assert not scene.upstream.reading
    exchange.client_drained()
    assert scene.upstream.reading


@on_stage
async def test_a_slow_upstream_slows_its_client() -> None:
    scene = Scene()
    await scene.asks(post(LENGTH_5))
    protocol = scene.upstream.get_protocol()
    protocol.pause_writing()
    assert scene.client.held
    protocol.resume_writing()
    assert not scene.client.held


@on_stage
async def test_while_a_connection_is_opened_only_so_much_is_taken_from_the_client() -> None:
    scene = Scene()
    stage().silent.add("127.0.0.1")
    exchange = await scene.asks(post(b"Content-Length: 1000000"))
    exchange.client_received(b"x" * 60_000)
    assert not scene.client.held
    exchange.client_received(b"x" * 60_000)
    assert scene.client.held
    await stage().heard()
    assert not scene.client.held
    assert len(body_of(scene.upstream.take())) == 120_000
