"""The checks of origins, on stage: what is asked, how an answer is judged, who asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from proxy.checks import CHECK_SECONDS, Checks, ask, request_of
from proxy.config import Config, Limits, Origin
from proxy.dialer import Dialer
from proxy.findings import Finding, Findings
from proxy.health import Check
from proxy.routing import Route, Table
from tests.playbook import Wire, on_stage, settled, stage

SITE = "a.example.com"
HEALTH = {"path": "/health", "every": "10s"}
REQUEST = b"GET /health HTTP/1.1\r\n\r\n"
A = Origin("http", "127.0.0.1", 1)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def table_of(**site: object) -> Table:
    written = {"to": "http://127.0.0.1:1", "health": HEALTH, **site}
    return Table(Config.model_validate({"sites": {SITE: written}}).sites)


def route_of(table: Table) -> Route:
    return table.sites[SITE].default


async def asked(*, limits: Limits | None = None) -> tuple[asyncio.Task[str], Wire]:
    """A check under way, and its connection."""
    check = asyncio.create_task(ask(Dialer(A, None), REQUEST, limits or Limits(), CHECK_SECONDS))
    await settled()
    return check, stage().opened[-1]


async def judged(*said: bytes, ends: bool = False) -> str:
    """What is found wrong with an answer."""
    check, wire = await asked()
    for octets in said:
        wire.says(octets)
    if ends:
        wire.ends()
    found = await check
    assert wire.closed
    return found


# ---- the question


def test_a_check_looks_like_a_clients_request() -> None:
    table = table_of(request_headers={"X-Api": "internal"})
    [check] = route_of(table).checks
    line, *fields = request_of(check, route_of(table)).split(b"\r\n")
    assert line == b"GET /health HTTP/1.1"
    assert {
        b"Host: a.example.com",
        b"User-Agent: hopward-health-check",
        b"X-Forwarded-Proto: https",
        b"X-Api: internal",
    } <= set(fields)


@on_stage
async def test_the_question_is_sent_as_soon_as_the_connection_is_open() -> None:
    check, wire = await asked()
    assert wire.take() == REQUEST
    check.cancel()


# ---- the answer


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"301 Moved", b"399 Odd"])
@on_stage
async def test_2xx_and_3xx_are_well(status: bytes) -> None:
    assert await judged(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") == ""


@pytest.mark.parametrize("status", [b"400", b"404", b"500", b"503"])
@on_stage
async def test_4xx_and_5xx_are_not(status: bytes) -> None:
    answer = b"HTTP/1.1 " + status + b" No\r\nContent-Length: 0\r\n\r\n"
    assert await judged(answer) == "status " + status.decode()


@on_stage
async def test_interim_answers_are_passed_over() -> None:
    assert await judged(b"HTTP/1.1 103 Early Hints\r\n\r\n", HEAD + b"ok") == ""


@pytest.mark.parametrize(
    "body",
    [
        (HEAD, b"o", b"k"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", b"0\r\n\r\n"),
    ],
)
@on_stage
async def test_an_answer_is_read_to_its_end(body: tuple[bytes, ...]) -> None:
    check, wire = await asked()
    for octets in body[:-1]:
        wire.says(octets)
    await settled()
    assert not check.done()
    wire.says(body[-1])
    assert await check == ""


@on_stage
async def test_an_answer_may_end_with_its_connection() -> None:
    assert await judged(b"HTTP/1.1 200 OK\r\n\r\nok", ends=True) == ""


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", HEAD + b"o"])
@on_stage
async def test_an_answer_that_breaks_off_is_none(said: bytes) -> None:
    assert await judged(said, ends=True) == "closed"


@on_stage
async def test_an_answer_without_end_is_not_read_for_ever() -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 65536] * 17
    assert await judged(*endless) == ""


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
@on_stage
async def test_garbage_is_no_answer(said: bytes) -> None:
    assert await judged(said) in ("malformed", "malformed_head", "malformed_framing")


@on_stage
async def test_an_origin_that_cannot_be_reached_is_not_well() -> None:
    stage().unreachable.add(A.host)
    assert await ask(Dialer(A, None), REQUEST, Limits(), CHECK_SECONDS) == "refused"


@pytest.mark.parametrize("silent", ["connecting", "answering"])
@on_stage
async def test_a_check_that_hangs_is_cut(silent: str) -> None:
    if silent == "connecting":
        stage().silent.add(A.host)
    check = asyncio.create_task(ask(Dialer(A, None), REQUEST, Limits(), CHECK_SECONDS))
    await settled()
    stage().now += CHECK_SECONDS
    assert await check == "timeout"
    assert all(wire.closed for wire in stage().opened)


# ---- one after the other


class Series:
    """The checks of a table, made here, and what they told."""

    def __init__(self, table: Table, findings: Findings | None = None) -> None:
        self.findings = findings or Findings()
        self.told: list[tuple[bool, str]] = []
        self.route = route_of(table)
        self.check = self.route.checks[0]
        self.task = asyncio.create_task(Checks(self.findings, table, Limits(), self._hear).run())

    def _hear(self, check: Check, finding: Finding) -> None:
        self.told.append((finding.healthy, finding.reason))

    async def answered(self, status: int) -> None:
        """The origin answers the check that is under way."""
        await settled()
        stage().opened[-1].says(b"HTTP/1.1 %d .\r\nContent-Length: 0\r\n\r\n" % status)
        await settled()

    async def due(self, seconds: float = 11.0) -> bool:
        """Whether another check is under way after some seconds."""
        before = len(stage().opened)
        stage().now += seconds
        await settled()
        return len(stage().opened) > before


@contextlib.contextmanager
def ended(series: Series) -> Iterator[Series]:
    try:
        yield series
    finally:
        series.task.cancel()


@on_stage
async def test_the_first_check_is_made_at_once_and_decides() -> None:
    with ended(Series(table_of())) as series:
        await series.answered(503)
        assert series.told == [(False, "status 503")]


@on_stage
async def test_that_all_is_well_from_the_start_is_no_news() -> None:
    with ended(Series(table_of())) as series:
        await series.answered(200)
        assert series.told == []


@on_stage
async def test_an_origin_that_fails_is_asked_again_soon_and_then_taken_out() -> None:
    with ended(Series(table_of())) as series:
        await series.answered(200)
        assert not await series.due(5.0)
        assert await series.due(6.0)
        await series.answered(500)
        assert series.told == []
        assert await series.due(1.1)
        await series.answered(500)
        assert series.told == [(False, "status 500")]


@on_stage
async def test_an_origin_that_is_well_again_comes_back_at_once() -> None:
    with ended(Series(table_of())) as series:
        await series.answered(500)
        assert await series.due()
        await series.answered(200)
        assert series.told == [(False, "status 500"), (True, "")]


@on_stage
async def test_no_check_begins_before_the_one_before_has_ended() -> None:
    with ended(Series(table_of(health={"path": "/", "every": "500ms"}))) as series:
        await settled()
        assert len(stage().opened) == 1
        stage().now += 0.4
        await settled()
        assert len(stage().opened) == 1
        assert await series.due(0.2)
        assert [wire.closed for wire in stage().opened] == [True, False]


@on_stage
async def test_routes_that_ask_the_same_share_their_checks() -> None:
    table = table_of(routes={"/x/": {"to": "http://127.0.0.1:1"}, "/y/": "http://127.0.0.1:2"})
    with ended(Series(table)):
        await settled()
        assert sorted(wire.peer for wire in stage().opened) == ["127.0.0.1:1", "127.0.0.1:2"]


@on_stage
async def test_who_comes_later_knows_what_was_found() -> None:
    """A worker that takes over, or one of a new configuration."""
    with ended(Series(table_of())) as series:
        await series.answered(500)
        series.task.cancel()
        await settled()
        with ended(Series(table_of(), series.findings)) as later:
            await later.answered(500)
            assert later.told == []
            assert await later.due()
            await later.answered(200)
            assert later.told == [(True, "")]


@on_stage
async def test_an_origin_whose_authority_cannot_be_read_is_not_well_and_others_are_checked_on() -> (
    None
):
    lost = {"url": "https://127.0.0.1:2", "ca": "/nonexistent/ca.pem"}
    with ended(Series(table_of(to=[lost, "http://127.0.0.1:1"]))) as series:
        await series.answered(200)
        assert series.told == [(False, "tls")]
        assert await series.due()
        await series.answered(500)
        assert await series.due(1.1)
        await series.answered(500)
        assert series.told[1:] == [(False, "status 500")]
