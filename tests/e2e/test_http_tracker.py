"""A BitTorrent tracker behind the proxy: opentracker, and two aria2 that meet through it.

Debian builds opentracker without WANT_IP_FROM_PROXY: it answers with the address of its TCP peer.
A tap before it therefore shows what it is told in X-Forwarded-For; the demo tracker acts on it.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.e2e import bencode
from tests.e2e.conftest import Front
from tests.e2e.demo import Demo
from tests.http_client import Answer, exchange, get, read_answer
from tests.origins import Resolver, Tap
from tests.programs import Hopward, Program, accepts, free_port, requires, wait_for
from tests.tls_client import PlainClient, TLSClient

HOST = "http1.example.com"
SWARM = bytes([0x00, 0xFF, *b" +%&=/?#", 0x0A, 0x0D, 0x7F, 0x80, *range(0xF8, 0xFF)])[:20]
CONTENT = random.Random(20).randbytes(3 * 1024 * 1024 + 17)

pytestmark = requires("opentracker", "apt-get install opentracker")


METAINFO, MEETING = bencode.torrent("film", CONTENT, "")


@pytest.fixture(scope="module")
def tap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tap]:
    """An opentracker that serves SWARM and MEETING, and the tap before it."""
    folder, port = tmp_path_factory.mktemp("opentracker"), free_port()
    folder.chmod(0o755)  # opentracker started by root becomes nobody, in a chroot
    whitelist = folder / "whitelist.txt"
    whitelist.write_text(f"{SWARM.hex()}\n{MEETING.hex()}\n")
    whitelist.chmod(0o644)
    listen = ["-i", "127.0.0.1", "-p", str(port), "-P", str(port)]
    command = ["opentracker", *listen, "-d", str(folder), "-w", "whitelist.txt"]
    with Program("opentracker", command, folder, until=lambda: accepts(port)), Tap(port) as tap:
        yield tap


@pytest.fixture(scope="module")
def proxy(tap: Tap, front: Front) -> Hopward:
    return front({HOST: f"http://127.0.0.1:{tap.port}"})


def announce(port: int, **more: str) -> bytes:
    """The target of an announce as clients write it: every byte of the info_hash escaped."""
    asked = {"uploaded": "0", "downloaded": "0", "left": "1", "compact": "1", **more}
    swarm = "".join(f"%{octet:02X}" for octet in SWARM)
    query = f"info_hash={swarm}&peer_id=-TE0001-{port:012d}&port={port}"
    return f"/announce?{query}{''.join(f'&{key}={value}' for key, value in asked.items())}".encode()


def scrape(swarm: bytes = SWARM) -> bytes:
    return b"/scrape?info_hash=" + "".join(f"%{octet:02x}" for octet in swarm).encode()


def direct(tap: Tap, request: bytes) -> Answer:
    with PlainClient(tap.origin) as client:
        return exchange(client, request)


def connect(proxy: Hopward, authority: Authority, source: str = "") -> TLSClient:
    return TLSClient(proxy.https, HOST, cafile=authority.pem, source=source)


def without_intervals(content: bytes) -> dict[bytes, bencode.Bencodable]:
    """opentracker spreads its clients over time: the intervals differ from answer to answer."""
    intervals = (b"interval", b"min interval")
    return {
        key: value for key, value in bencode.dictionary(content).items() if key not in intervals
    }


def test_the_bytes_of_an_announce_reach_the_tracker_as_sent(
    proxy: Hopward, tap: Tap, authority: Authority
) -> None:
    with connect(proxy, authority) as client:
        exchange(client, get(announce(5001), HOST))
    assert tap.passages[-1].requested.startswith(b"GET " + announce(5001) + b" HTTP/1.1\r\n")


def test_the_bencoded_answer_arrives_byte_for_byte(
    proxy: Hopward, tap: Tap, authority: Authority
) -> None:
    with connect(proxy, authority) as client:
        answer = exchange(client, get(announce(5002), HOST))
    assert tap.passages[-1].answered.endswith(b"\r\n\r\n" + answer.content)
    asked_directly = direct(tap, get(announce(5002), HOST))
    assert without_intervals(answer.content) == without_intervals(asked_directly.content)
    assert answer.field("content-type") == asked_directly.field("content-type")


def test_a_scrape_is_byte_identical_with_the_direct_one(
    proxy: Hopward, tap: Tap, authority: Authority
) -> None:
    with connect(proxy, authority) as client:
        exchange(client, get(announce(5003), HOST))
        scraped = exchange(client, get(scrape(), HOST))
    assert SWARM in scraped.content
    assert scraped.essence() == direct(tap, get(scrape(), HOST)).essence()


@pytest.mark.parametrize("target", [scrape(bytes(20)), b"/announce?port=1", b"/nothing"])
def test_refusals_of_the_tracker_arrive_as_it_gave_them(
    proxy: Hopward, tap: Tap, authority: Authority, target: bytes
) -> None:
    with connect(proxy, authority) as client:
        refused = exchange(client, get(target, HOST))
    assert refused.essence() == direct(tap, get(target, HOST)).essence()


def test_head_is_answered_as_directly_and_without_content(
    proxy: Hopward, tap: Tap, authority: Authority
) -> None:
    request = get(scrape(), HOST, method=b"HEAD")
    with connect(proxy, authority) as client:
        client.send(request + get(scrape(), HOST))
        head, following = read_answer(client, b"HEAD"), read_answer(client)
    assert head.essence() == direct(tap, request).essence()
    assert following.essence() == direct(tap, get(scrape(), HOST)).essence()


def test_every_request_of_a_kept_connection_is_answered_though_the_tracker_closes_each(
    proxy: Hopward, tap: Tap, authority: Authority
) -> None:
    expected = direct(tap, get(scrape(), HOST)).essence()
    with connect(proxy, authority) as client:
        answers = [exchange(client, get(scrape(), HOST)).essence() for _ in range(50)]
    assert answers == [expected] * 50


def test_one_request_per_connection_is_ended_by_the_proxy(
    proxy: Hopward, tap: Tap, authority: Authority
) -> None:
    with connect(proxy, authority) as client:
        answer = exchange(client, get(scrape(), HOST, b"Connection: close"))
        assert client.recv() == b""
    assert answer.essence() == direct(tap, get(scrape(), HOST)).essence()


def test_the_tracker_is_told_the_clients_address_once_and_bare(
    proxy: Hopward, tap: Tap, authority: Authority
) -> None:
    with connect(proxy, authority, source="127.0.0.2") as client:
        claims = (b"X-Forwarded-For: 203.0.113.7", b"x-forwarded-for: 198.51.100.1, 10.0.0.1")
        exchange(client, get(announce(5004), HOST, *claims))
    told = re.findall(rb"(?im)^x-forwarded-for:(.*)\r$", tap.passages[-1].requested)
    assert [value.strip() for value in told] == [b"127.0.0.2"]


def scraped(tap: Tap) -> bytes:
    return direct(tap, get(scrape(MEETING), HOST)).content


def test_a_tracker_behind_the_proxy_gives_peers_the_clients_address(tmp_path: Path) -> None:
    with Demo(tmp_path, HOST) as demo:
        for source, port in (("127.0.0.2", 5005), ("127.0.0.3", 5006)):
            client = TLSClient(demo.port, "http1.localhost", cafile=demo.root, source=source)
            with client:
                answer = exchange(client, get(announce(port), f"http1.localhost:{demo.port}"))
    assert bencode.dictionary(answer.content)[b"peers"] == b"\x7f\x00\x00\x02\x13\x8d"


def aria2(folder: Path, authority: Authority, resolver: Resolver, *more: str) -> Program:
    """An aria2 that knows no way to peers but the torrent's tracker."""
    alone = ["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"]
    quiet = ["--no-conf", "--enable-peer-exchange=false", "--file-allocation=none"]
    trust = ["--check-certificate=true", f"--ca-certificate={authority.pem}"]
    listen = [f"--listen-port={free_port()}", f"--dir={folder}", "--disable-ipv6=true"]
    listen += [f"--https-proxy=http://127.0.0.1:{resolver.port}"]
    command = ["aria2c", *alone, *quiet, *trust, *listen, *more, str(folder / "film.torrent")]
    return Program("aria2", command, folder)


@requires("aria2c", "apt-get install aria2")
def test_two_clients_find_each_other_through_the_https_tracker_alone(
    proxy: Hopward, tap: Tap, authority: Authority, tmp_path: Path
) -> None:
    metainfo, _ = bencode.torrent("film", CONTENT, f"https://{HOST}/announce")
    seeding, leeching = tmp_path / "seeding", tmp_path / "leeching"
    for folder in (seeding, leeching):
        folder.mkdir()
        (folder / "film.torrent").write_bytes(metainfo)
    (seeding / "film").write_bytes(CONTENT)
    seed = ("--check-integrity=true", "--seed-ratio=0.0")
    with Resolver(proxy.https) as resolver, aria2(seeding, authority, resolver, *seed):
        wait_for(lambda: b"8:completei1e" in scraped(tap), what="the seeder's announce")
        with aria2(leeching, authority, resolver, "--seed-time=0") as leecher:
            wait_for(lambda: leecher.process.poll() is not None, what="the download's end")
            assert leecher.process.returncode == 0, leecher.output()
    received = (leeching / "film").read_bytes()
    assert hashlib.sha256(received).digest() == hashlib.sha256(CONTENT).digest()
