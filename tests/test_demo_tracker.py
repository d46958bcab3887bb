"""The demo's tracker: announces and scrapes byte for byte, and whose address it takes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from proxy.demo.tracker import INTERVAL, MAX_PEERS, Tracker, bencode
from tests.demo_client import Ports, ask, demo_serving

BINARY_HASH = bytes(range(236, 256))  # no text in any encoding
QUOTED_HASH = "".join(f"%{byte:02X}" for byte in BINARY_HASH)


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    with demo_serving() as ports:
        yield ports


def announce(port: int, peer: str, client: str, **more: str) -> bytes:
    query = f"info_hash={more.pop('info_hash', QUOTED_HASH)}&peer_id={peer:-<20}&port=6881"
    query += "".join(f"&{name}={value}" for name, value in ({"left": "0"} | more).items())
    return ask(port, f"/announce?{query}", X_Forwarded_For=client).content


EMPTY = b"d8:completei1e10:incompletei0e8:intervali120e12:min intervali120e5:peers0:6:peers60:e"


def test_the_first_to_announce_is_alone_byte_for_byte(ports: Ports) -> None:
    assert announce(ports.tracker, "one", "203.0.113.5", info_hash="%00" * 20) == EMPTY


def test_peers_find_each_other_in_compact_form(ports: Ports) -> None:
    announce(ports.tracker, "seeder", "203.0.113.5")
    found = announce(ports.tracker, "leecher", "203.0.113.6", left="99")
    assert found == (
        b"d8:completei1e10:incompletei1e8:intervali120e12:min intervali120e"
        b"5:peers6:\xcb\x00\x71\x05\x1a\xe1" + b"6:peers60:e"
    )


def test_ipv6_peers_are_in_a_list_of_their_own(ports: Ports) -> None:
    announce(ports.tracker, "six", "2001:db8::5", info_hash="%66" * 20)
    found = announce(ports.tracker, "four", "203.0.113.6", info_hash="%66" * 20)
    address = socket.inet_pton(socket.AF_INET6, "2001:db8::5")
    assert found.endswith(b"5:peers0:6:peers618:" + address + b"\x1a\xe1e")


@pytest.mark.parametrize(
    ("forwarded", "packed"),
    [
        ("198.51.100.1, 203.0.113.77", b"\xcb\x00\x71\x4d"),
        ("::ffff:203.0.113.77", b"\xcb\x00\x71\x4d"),
        (" 203.0.113.77 ", b"\xcb\x00\x71\x4d"),
    ],
)
def test_the_client_is_the_right_most_forwarded_address(
    ports: Ports, forwarded: str, packed: bytes
) -> None:
    announce(ports.tracker, "client", forwarded, info_hash="%77" * 20)
    found = announce(ports.tracker, "other", "203.0.113.6", info_hash="%77" * 20)
    assert b"5:peers6:" + packed + b"\x1a\xe1" in found


@pytest.mark.parametrize("forwarded", ["unknown", "203.0.113.5:443", "203.0.113.5, ", "[::1]"])
def test_a_forwarded_address_that_is_none_is_a_bencoded_failure(
    ports: Ports, forwarded: str
) -> None:
    answer = ask(ports.tracker, "/announce", X_Forwarded_For=forwarded)
    assert answer.status == 200
    assert answer.content.startswith(b"d14:failure reason")


def test_without_a_proxy_the_client_is_who_connected(ports: Ports) -> None:
    query = f"info_hash={'%88' * 20}&peer_id={'direct':-<20}&port=6881"
    assert b"5:peers" in ask(ports.tracker, f"/announce?{query}").content
    found = announce(ports.tracker, "other", "203.0.113.6", info_hash="%88" * 20)
    assert b"5:peers6:\x7f\x00\x00\x01\x1a\xe1" in found


@pytest.mark.parametrize(
    "query",
    ["", "info_hash=short&peer_id=x", f"info_hash={QUOTED_HASH}&peer_id={'p' * 20}&port=0"],
    ids=["nothing", "short hash", "port 0"],
)
def test_an_incomplete_announce_is_a_bencoded_failure(ports: Ports, query: str) -> None:
    answer = ask(ports.tracker, f"/announce?{query}")
    assert answer.status == 200
    assert answer.content.startswith(b"d14:failure reason")


def test_who_stops_is_forgotten_and_a_completed_download_counted(ports: Ports) -> None:
    info_hash = "%99" * 20
    announce(ports.tracker, "one", "203.0.113.5", info_hash=info_hash, event="completed")
    announce(ports.tracker, "two", "203.0.113.6", info_hash=info_hash, left="1")
    announce(ports.tracker, "two", "203.0.113.6", info_hash=info_hash, event="stopped")
    scraped = ask(ports.tracker, f"/scrape?info_hash={info_hash}").content
    figures = b"d8:completei1e10:downloadedi1e10:incompletei0ee"
    assert scraped == b"d5:filesd20:" + b"\x99" * 20 + figures + b"ee"


def test_a_scrape_answers_for_each_hash_unknown_ones_too(ports: Ports) -> None:
    query = f"info_hash={'%01' * 20}&info_hash={'%02' * 20}"
    nothing = b"d8:completei0e10:downloadedi0e10:incompletei0ee"
    expected = b"20:" + b"\x01" * 20 + nothing + b"20:" + b"\x02" * 20 + nothing
    assert ask(ports.tracker, f"/scrape/key?{query}").content == b"d5:filesd" + expected + b"ee"


def test_a_key_behind_announce_is_taken(ports: Ports) -> None:
    query = f"info_hash={'%03' * 20}&peer_id={'one':-<20}&port=1&left=0"
    assert ask(ports.tracker, f"/announce/SECRETKEY?{query}").content == EMPTY


def test_a_plus_in_a_hash_is_a_plus(ports: Ports) -> None:
    announce(ports.tracker, "one", "203.0.113.5", info_hash="+" * 20)
    scraped = ask(ports.tracker, f"/scrape?info_hash={'%2B' * 20}").content
    assert b"8:completei1e" in scraped


def test_peers_not_heard_of_for_two_intervals_are_gone() -> None:
    now = [0.0]
    tracker = Tracker(lambda: now[0])
    query = f"info_hash={QUOTED_HASH}&peer_id={'one':-<20}&port=1&left=0"
    tracker.announce(query, next(addresses()))
    now[0] = 2 * INTERVAL
    assert tracker.totals()["seeders"] == 1
    now[0] += 1
    assert tracker.totals()["seeders"] == 0


def test_a_swarm_is_bounded_and_keeps_the_newest() -> None:
    tracker = Tracker(time.monotonic)
    for number in range(MAX_PEERS + 5):
        query = f"info_hash={QUOTED_HASH}&peer_id={number:020}&port=1&left=0"
        tracker.announce(query, next(addresses()))
    assert tracker.totals()["seeders"] == MAX_PEERS


def addresses() -> Iterator[IPv4Address]:
    yield IPv4Address("203.0.113.5")


def test_bencoding_sorts_keys_as_bytes() -> None:
    assert bencode({b"b": [1, b"x"], b"a": -3, b"B": b""}) == b"d1:B0:1:ai-3e1:bli1e1:xee"
