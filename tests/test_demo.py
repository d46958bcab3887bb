"""The demo's backends, met directly without the proxy, and what `make run` finds out and says."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.typing import Headers

from proxy.config import Config
from proxy.demo import (
    Upstream,
    announcement,
    is_ready,
    run,
    story,
    survey,
    trust_command,
    vacant,
)
from proxy.demo_backends import API_TOKEN, Programs, kind_suiting, serving
from proxy.demo_http import Place, is_loopback, listening
from proxy.demo_tracker import INTERVAL, MAX_PEERS, Tracker, bencode

PATIENCE = 10.0  # seconds; a bound on every wait
BINARY_HASH = bytes(range(236, 256))  # no text in any encoding
QUOTED_HASH = "".join(f"%{byte:02X}" for byte in BINARY_HASH)


class Ports(NamedTuple):
    """Where the demo of each kind listens in this test run."""

    api: int
    tracker: int
    page: int


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    """All three backends, served by a loop in a thread of their own."""
    serving_now: list[Ports] = []
    ready, loop, finished = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        programs = Programs()
        async with AsyncExitStack() as stack:
            numbers = []
            for site in ("api.test", "http1.test", "grafana.test"):
                backend = listening(Place("127.0.0.1", 0), programs.suiting(site))
                server = await stack.enter_async_context(backend)
                numbers.append(server.sockets[0].getsockname()[1])
            await stack.enter_async_context(programs.live.beating())
            serving_now.append(Ports(*numbers))
            ready.set()
            await finished.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(PATIENCE)
    yield serving_now[0]
    loop.call_soon_threadsafe(finished.set)
    thread.join(PATIENCE)
    loop.close()


class Answer(NamedTuple):
    status: int
    fields: http.client.HTTPMessage
    content: bytes


def ask(port: int, path: str, method: str = "GET", **fields: str) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        return ask_on(connection, path, method, **fields)


def ask_on(
    connection: http.client.HTTPConnection, path: str, method: str = "GET", **fields: str
) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


# ---- HTTP


def test_a_connection_is_kept_for_the_next_request(ports: Ports) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", ports.api, timeout=PATIENCE)) as client:
        ask_on(client, "/api/health_check")
        first = client.sock
        assert ask_on(client, "/api/health_check").status == 200
        assert client.sock is first


@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_head_has_the_fields_of_get_and_no_content(ports: Ports, path: str) -> None:
    get, head = ask(ports.page, path), ask(ports.page, path, "HEAD")
    assert head.status == get.status
    assert head.content == b""
    assert head.fields["Content-Length"] == str(len(get.content))
    assert head.fields["Content-Type"] == get.fields["Content-Type"]


def test_what_is_not_there_is_404_on_every_backend(ports: Ports) -> None:
    assert [ask(port, "/favicon.ico").status for port in ports] == [404, 404, 404]


def test_other_methods_are_405_and_say_what_is_allowed(ports: Ports) -> None:
    answer = ask(ports.api, "/", "DELETE")
    assert answer.status == 405
    assert answer.fields["Allow"] == "GET, HEAD"


def test_a_malformed_request_is_400(ports: Ports) -> None:
    with socket.create_connection(("127.0.0.1", ports.api), PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
        with client.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 400 ")


# ---- the API


def test_the_apis_health_is_torrusts_bytes(ports: Ports) -> None:
    answer = ask(ports.api, "/api/health_check")
    assert answer.content == b'{"status":"Ok"}'
    assert answer.fields["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "reason"),
    [("", "unauthorized"), ("?token=", "unauthorized"), ("?token=wrong", "token not valid")],
)
def test_stats_are_refused_without_the_right_token(ports: Ports, query: str, reason: str) -> None:
    answer = ask(ports.api, f"/api/v1/stats{query}")
    assert answer.status == 401
    assert answer.content == f'Unhandled rejection: Err {{ reason: "{reason}" }}'.encode()


def test_stats_tell_of_the_trackers_announces(ports: Ports) -> None:
    def announces() -> int:
        stats = json.loads(ask(ports.api, f"/api/v1/stats?token={API_TOKEN}").content)
        return int(stats["tcp4_announces_handled"])

    before = announces()
    ask(ports.tracker, "/announce")
    assert announces() == before + 1


# ---- the tracker


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


# ---- the page and its WebSocket


def test_the_page_needs_nothing_from_elsewhere(ports: Ports) -> None:
    answer = ask(ports.page, "/")
    assert answer.fields["Content-Type"] == "text/html; charset=utf-8"
    page = answer.content.decode()
    assert "<canvas" in page
    assert re.findall(r"""(?:src|href)=["'](?!data:)|url\(|@import|//cdn""", page) == []


class PageSocket:
    """A browser's side of /live."""

    def __init__(self, port: int, headers: Headers, *, compress: bool = False) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._events = self._received()
        self.send(
            Request(
                host=f"127.0.0.1:{port}",
                target="/live",
                extra_headers=headers,
                extensions=[PerMessageDeflate()] if compress else [],
            )
        )

    def send(self, event: Event) -> None:
        self._socket.sendall(self._websocket.send(event))

    def next(self, wanted: Callable[[Event], bool]) -> Event:
        """The next event that is wanted; the others before it are dropped."""
        return next(event for event in self._events if wanted(event))

    def next_message(self, kind: str) -> dict[str, object]:
        for event in self._events:
            if isinstance(event, TextMessage):
                message: dict[str, object] = json.loads(event.data)
                if message["type"] == kind:
                    return message
            elif isinstance(event, Ping):
                self.send(event.response())
        raise AssertionError(f"the connection ended before a {kind}")

    def _received(self) -> Iterator[Event]:
        while data := self._socket.recv(65536):
            self._websocket.receive_data(data)
            yield from self._websocket.events()

    def close(self) -> None:
        self._socket.close()


def is_a(kind: type[Event]) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, kind)


@pytest.fixture
def page(ports: Ports) -> Iterator[PageSocket]:
    origin = f"http://127.0.0.1:{ports.page}".encode()
    with closing(PageSocket(ports.page, [(b"Origin", origin)])) as page:
        page.next(is_a(AcceptConnection))
        yield page


def test_a_viewer_is_greeted_with_the_last_minute(page: PageSocket) -> None:
    hello = page.next_message("hello")
    history = hello["history"]
    assert isinstance(history, list)
    assert len(history) * float(str(hello["every"])) == pytest.approx(60)
    assert all(0 <= value < 2000 for value in history)


def test_the_rate_moves_smoothly_from_sample_to_sample(page: PageSocket) -> None:
    history = page.next_message("hello")["history"]
    assert isinstance(history, list)
    steps = [abs(one - other) for one, other in pairwise(history)]
    assert 0 < max(steps) < 40


def test_samples_come_several_times_a_second(page: PageSocket) -> None:
    begin = time.monotonic()
    samples = [page.next_message("sample") for _ in range(5)]
    assert time.monotonic() - begin < 3
    times = [sample["time"] for sample in samples]
    assert times == sorted(times, key=lambda when: int(str(when)))
    assert len(set(map(str, times))) == 5


def test_every_viewer_is_counted(ports: Ports, page: PageSocket) -> None:
    alone = int(str(page.next_message("sample")["viewers"]))
    with closing(PageSocket(ports.page, [])) as other:
        other.next_message("hello")
        assert page.next_message("sample")["viewers"] == alone + 1


def test_the_page_is_told_what_the_backend_saw(ports: Ports) -> None:
    fields: Headers = [(b"X-Forwarded-For", b"203.0.113.5"), (b"Via", b"1.1 hopward")]
    with closing(PageSocket(ports.page, fields)) as page:
        seen = page.next_message("hello")["seen"]
    assert seen == {
        "host": f"127.0.0.1:{ports.page}",
        "x-forwarded-for": "203.0.113.5",
        "x-forwarded-proto": None,
        "x-forwarded-host": None,
        "x-request-id": None,
        "via": "1.1 hopward",
    }


def test_compression_is_used_when_it_is_offered(ports: Ports) -> None:
    with closing(PageSocket(ports.page, [], compress=True)) as page:
        accepted = page.next(is_a(AcceptConnection))
        assert isinstance(accepted, AcceptConnection)
        assert [extension.name for extension in accepted.extensions] == ["permessage-deflate"]
        assert page.next_message("hello")["compressed"] is True


def test_a_ping_is_answered_with_its_own_payload(page: PageSocket) -> None:
    page.send(Ping(b"are you there"))
    pong = page.next(is_a(Pong))
    assert isinstance(pong, Pong)
    assert pong.payload == b"are you there"


def test_the_round_trip_is_told_once_a_pong_came_back(page: PageSocket) -> None:
    page.next_message("hello")
    page.next_message("sample")
    trip = page.next_message("sample")["round_trip"]
    assert isinstance(trip, float)
    assert 0 < trip < PATIENCE * 1000


def test_a_close_is_answered_with_its_code(page: PageSocket) -> None:
    page.send(CloseConnection(1000, "done"))
    closed = page.next(is_a(CloseConnection))
    assert isinstance(closed, CloseConnection)
    assert closed.code == 1000


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:1", "http://127.0.0.1", "null"]
)
def test_another_sites_page_is_refused_the_websocket(ports: Ports, origin: str) -> None:
    with closing(PageSocket(ports.page, [(b"Origin", origin.encode())])) as page:
        refused = page.next(is_a(RejectConnection))
        assert isinstance(refused, RejectConnection)
        assert refused.status_code == 403


HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket"}
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def test_what_is_no_whole_handshake_is_400(ports: Ports) -> None:
    assert ask(ports.page, "/live", Sec_WebSocket_Version="13", **HANDSHAKE).status == 400


def test_an_unknown_websocket_version_is_426_with_the_known_one(ports: Ports) -> None:
    version = {"Sec_WebSocket_Version": "12", "Sec_WebSocket_Key": KEY}
    answer = ask(ports.page, "/live", **HANDSHAKE, **version)
    assert answer.status == 426
    assert answer.fields["Sec-WebSocket-Version"] == "13"


def test_viewers_get_a_close_1001_when_the_demo_ends() -> None:
    async def watch_the_end() -> bytes:
        programs = Programs()
        async with (
            listening(Place("127.0.0.1", 0), programs.suiting("grafana")) as server,
            contextlib.AsyncExitStack() as beating,
        ):
            await beating.enter_async_context(programs.live.beating())
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            await reader.readuntil(b"hello")
            await beating.aclose()
            end = await reader.readuntil(b"\x88\x02\x03\xe9")
            writer.close()
            await writer.wait_closed()
            return end

    assert asyncio.run(asyncio.wait_for(watch_the_end(), PATIENCE)).endswith(b"\x03\xe9")


# ---- make run


@pytest.mark.parametrize(
    ("site", "kind"),
    [
        ("api.example.com", "JSON API"),
        ("API-v2.example.com", "JSON API"),
        ("http1.example.com", "tracker"),
        ("tracker.example.com", "tracker"),
        ("udp1.example.com", "tracker"),
        ("grafana.example.com", "live page"),
        ("example.com", "live page"),
    ],
)
def test_a_sites_first_label_chooses_its_demo(site: str, kind: str) -> None:
    assert kind_suiting(site) == kind
    assert Programs().suiting(site).kind == kind


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("a.localhost", True), ("0.0.0.0", False), ("10.0.0.1", False), ("tracker", False)],
)  # fmt: skip
def test_a_demo_stands_on_loopback_only(host: str, here: bool) -> None:
    assert is_loopback(host) is here

    async def problems() -> dict[str, str]:
        async with serving([("site", Place(host, 0))]) as found:
            return dict(found)

    if not here:
        assert "not a loopback address" in asyncio.run(problems())["site"]


def test_a_taken_place_is_told_and_the_others_are_served(tmp_path: Path) -> None:
    async def problems(taken: int) -> dict[str, str]:
        sites = [("a", Place("127.0.0.1", taken)), ("b", Place("", 0, str(tmp_path / "s")))]
        async with serving(sites) as found:
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert b"hopward" in await reader.read()
            writer.close()
            await writer.wait_closed()
            return dict(found)

    with socket.create_server(("127.0.0.1", 0)) as other:
        assert list(asyncio.run(problems(other.getsockname()[1]))) == ["a"]


def test_the_survey_knows_who_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        config = Config.model_validate({"sites": {
            "api.test": f"http://127.0.0.1:{there.getsockname()[1]}",
            "grafana.test": f"unix:{tmp_path}/nobody",
            "tls.test": "https://127.0.0.1:1",
        }})  # fmt: skip
        found = asyncio.run(survey(config))
    assert [(u.site, u.answers, u.replaceable) for u in found] == [
        ("api.test", True, True),
        ("grafana.test", False, True),
        ("tls.test", False, False),
    ]


HERE, ELSEWHERE = Place("127.0.0.1", 7070), Place("tracker", 7070)
REFUSES = Upstream("http1.test", HERE, answers=False, replaceable=True)


def test_a_demo_takes_each_vacant_place_once() -> None:
    second = REFUSES._replace(site="http2.test")
    real = REFUSES._replace(place=Place("127.0.0.1", 7071), answers=True)
    far = Upstream("far.test", ELSEWHERE, answers=False, replaceable=False)
    assert vacant([REFUSES, second, real, far]) == [("http1.test", HERE)]


@pytest.mark.parametrize(
    ("upstream", "problems", "said"),
    [
        (REFUSES, {}, "demo tracker, as nobody answered at 127.0.0.1:7070"),
        (REFUSES, {"http1.test": "taken"}, "no demo at 127.0.0.1:7070: taken"),
        (REFUSES._replace(answers=True), {}, "yours, at 127.0.0.1:7070"),
        (REFUSES._replace(replaceable=False), {}, "nobody answers at 127.0.0.1:7070"),
    ],
)
def test_each_site_says_what_a_visitor_meets(
    upstream: Upstream, problems: dict[str, str], said: str
) -> None:
    assert story("http1.test", [upstream], problems) == said


def test_the_announcement_shows_each_sites_local_url_and_how_to_trust() -> None:
    sites = {"api.example.com": "http://127.0.0.1:1", "*.example.com": "http://127.0.0.1:2"}
    config = Config.model_validate({"listen": {"https": ["127.0.0.1:8443"]}, "sites": sites})
    text = announcement(config, dict.fromkeys(sites, "its story"))
    assert re.findall(r"https://\S+   .*", text) == ["https://api.localhost:8443/   its story"]
    assert trust_command() in text


@pytest.mark.parametrize(
    ("line", "ready"),
    [
        (b'{"time": "2026-01-01", "event": "ready", "workers": 1}\n', True),
        (b'{"event":"ready"}\n', True),
        (b"level=info event=ready workers=1\n", True),
        (b"level=info event=readying\n", False),
        (b'{"event": "already"}\n', False),
    ],
)
def test_the_ready_line_is_known_in_both_formats(line: bytes, ready: bool) -> None:
    assert is_ready(line) is ready


def test_a_broken_file_is_told_as_hopward_run_tells_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hopward.yml"
    file.write_text("sitse: {}\n")
    assert asyncio.run(run(file)) == 2
    assert capsys.readouterr().err.startswith(f"{file}:1:1: ")


def test_the_backends_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    sites = [("api.test", ["", 0, str(tmp_path / "api")])]
    parent_program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'proxy.demo_backends'],"
        " stdin=subprocess.PIPE)\n"
        f"child.stdin.write({json.dumps(sites).encode()!r} + b'\\n')\n"
        "child.stdin.flush()\n"
        "child.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent_program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"{}\n"
        parent.send_signal(signal.SIGKILL)
        # The child holds the other end of this pipe: its end is the child's.
        readable, _, _ = select.select([parent.stdout], [], [], PATIENCE)
        assert readable
        assert parent.stdout.read() == b""
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "api"))


def test_an_orphaned_proxy_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "proxy.demo_backends"]
    with (
        subprocess.Popen(["sleep", "60"]) as proxy,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as backends,
    ):
        backends.communicate(b"[]\n%d\n" % proxy.pid, timeout=PATIENCE)
        assert proxy.wait(PATIENCE) == -signal.SIGTERM


def test_a_proxy_that_has_ended_is_left_alone() -> None:
    command = [sys.executable, "-m", "proxy.demo_backends"]
    with (
        subprocess.Popen(["sleep", "60"]) as other,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as backends,
    ):
        backends.communicate(b"[]\n%d\n0\n" % other.pid, timeout=PATIENCE)
        assert backends.returncode == 0
        assert other.poll() is None
        os.kill(other.pid, signal.SIGTERM)
