"""Opening a connection to an origin: by address, by name, by path, and over TLS."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from proxy.config import Origin
from proxy.dialer import FRESH_ANSWER_SECONDS, RESOLVE_SECONDS
from proxy.errors import UpstreamError
from proxy.pool import Pool
from tests.authority import Authority
from tests.playbook import on_stage, settled, stage

A = Origin("http", "127.0.0.1", 1)
NAMED = Origin("http", "tracker", 1212)


def blamed(error: pytest.ExceptionInfo[UpstreamError]) -> tuple[int, str]:
    return error.value.status, error.value.reason


@on_stage
async def test_an_origin_that_refuses_is_502() -> None:
    stage().unreachable.add(A.host)
    with pytest.raises(UpstreamError) as caught:
        await Pool(A, 5).connect()
    assert blamed(caught) == (502, "refused")


@on_stage
async def test_an_origin_that_takes_too_long_to_connect_is_504() -> None:
    stage().silent.add(A.host)
    pool = Pool(A, 5)
    opening = asyncio.create_task(pool.connect())
    await asyncio.sleep(0)
    stage().now += 5
    with pytest.raises(UpstreamError) as caught:
        await opening
    assert blamed(caught) == (504, "connect_timeout")
    assert pool.leased == 0


@on_stage
async def test_an_authority_that_cannot_be_read_is_looked_for_again_by_the_next_connection(
    tmp_path: Path,
) -> None:
    file = tmp_path / "ca.pem"
    pool = Pool(Origin("https", "127.0.0.1", 1, ca=file), 5)
    with pytest.raises(UpstreamError) as caught:
        await pool.connect()
    assert blamed(caught) == (502, "tls")
    Authority(tmp_path).pem.rename(file)
    await pool.connect()
    assert pool.leased == 1


@pytest.mark.parametrize("verify", [True, False])
@on_stage
async def test_an_https_origin_is_verified_by_its_name_unless_the_operator_says_otherwise(
    verify: bool,
) -> None:
    """RFC 9110 §4.3.4."""
    stage().names["tracker"] = ["192.0.2.1"]
    await Pool(Origin("https", "tracker", 443, verify=verify), 5).connect()
    options = stage().opened[-1].options
    context = options["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert (context.check_hostname, context.verify_mode == ssl.CERT_REQUIRED) == (verify, verify)
    assert options["server_hostname"] == "tracker"


@on_stage
async def test_an_http_origin_is_spoken_to_without_tls() -> None:
    await Pool(A, 5).connect()
    assert stage().opened[-1].options["ssl"] is None


@on_stage
async def test_an_origin_whose_certificate_is_not_trusted_is_502_and_no_other_is_tried() -> None:
    stage().names["tracker"] = ["192.0.2.1", "192.0.2.2"]
    stage().untrusted.add("192.0.2.1")
    with pytest.raises(UpstreamError) as caught:
        await Pool(Origin("https", "tracker", 443), 5).connect()
    assert blamed(caught) == (502, "tls")
    assert stage().opened == []


@on_stage
async def test_a_unix_socket_is_connected_to_by_its_path() -> None:
    await Pool(Origin("http", "localhost", 80, unix=Path("/run/app.sock")), 5).connect()
    assert [wire.peer for wire in stage().opened] == ["unix:/run/app.sock"]


@on_stage
async def test_a_name_is_connected_to_at_the_first_of_its_addresses_that_answers() -> None:
    stage().names["tracker"] = ["192.0.2.1", "192.0.2.2"]
    stage().unreachable.add("192.0.2.1")
    await Pool(NAMED, 5).connect()
    assert [wire.peer for wire in stage().opened] == ["192.0.2.2:1212"]


@on_stage
async def test_a_name_that_does_not_resolve_is_502_until_it_does() -> None:
    pool = Pool(NAMED, 5)
    with pytest.raises(UpstreamError) as caught:
        await pool.connect()
    assert blamed(caught) == (502, "unresolved")
    stage().names["tracker"] = ["192.0.2.1"]
    await pool.connect()
    assert [wire.peer for wire in stage().opened] == ["192.0.2.1:1212"]


@on_stage
async def test_a_name_is_asked_for_again_when_its_answer_is_old() -> None:
    """In a container network a service changes its address when it is started anew."""
    pool = Pool(NAMED, 5)
    stage().names["tracker"] = ["192.0.2.1"]
    await pool.connect()
    stage().names["tracker"] = ["192.0.2.9"]
    await pool.connect()
    stage().now += RESOLVE_SECONDS
    await pool.connect()
    assert [wire.peer for wire in stage().opened] == [
        "192.0.2.1:1212", "192.0.2.1:1212", "192.0.2.9:1212",
    ]  # fmt: skip


@on_stage
async def test_a_resolver_that_fails_leaves_the_last_answer_in_force() -> None:
    pool = Pool(NAMED, 5)
    stage().names["tracker"] = ["192.0.2.1"]
    await pool.connect()
    del stage().names["tracker"]
    stage().now += RESOLVE_SECONDS
    await pool.connect()
    assert [wire.peer for wire in stage().opened] == ["192.0.2.1:1212"] * 2
    assert stage().questions == 2


def peers() -> list[str]:
    return [wire.peer for wire in stage().opened]


@on_stage
async def test_all_who_wait_for_a_name_wait_for_one_answer() -> None:
    pool = Pool(NAMED, 5)
    stage().names["tracker"] = ["192.0.2.1"]
    stage().silent.add("tracker")
    opening = [asyncio.create_task(pool.connect()) for _ in range(3)]
    await settled()
    await stage().heard()
    await asyncio.gather(*opening)
    assert (peers(), stage().questions) == (["192.0.2.1:1212"] * 3, 1)


@on_stage
async def test_who_waits_no_longer_leaves_the_answer_to_the_next() -> None:
    pool = Pool(NAMED, 5)
    stage().names["tracker"] = ["192.0.2.1"]
    stage().silent.add("tracker")
    opening = asyncio.create_task(pool.connect())
    await settled()
    stage().now += 5
    with pytest.raises(UpstreamError) as caught:
        await opening
    assert blamed(caught) == (504, "connect_timeout")
    opening = asyncio.create_task(pool.connect())
    await stage().heard()
    await opening
    assert (peers(), stage().questions) == (["192.0.2.1:1212"], 1)


@on_stage
async def test_while_a_resolver_is_slow_the_last_answer_is_in_force() -> None:
    pool = Pool(NAMED, 5)
    stage().names["tracker"] = ["192.0.2.1"]
    await pool.connect()
    stage().silent.add("tracker")
    stage().now += RESOLVE_SECONDS
    opening = asyncio.create_task(pool.connect())
    await settled()
    assert len(peers()) == 1
    stage().now += FRESH_ANSWER_SECONDS
    await opening
    await pool.connect()
    assert (peers(), stage().questions) == (["192.0.2.1:1212"] * 3, 2)
