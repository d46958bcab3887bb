"""The demo's programs over plain HTTP, where they stand, and when their process ends."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.demo.backends import API_TOKEN, Programs, kind_suiting, serving
from proxy.demo.http import Place, is_loopback
from tests.demo_client import PATIENCE, Ports, ask, ask_on, demo_serving


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    with demo_serving() as ports:
        yield ports


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


# ---- the page


def test_the_page_needs_nothing_from_elsewhere(ports: Ports) -> None:
    answer = ask(ports.page, "/")
    assert answer.fields["Content-Type"] == "text/html; charset=utf-8"
    page = answer.content.decode()
    assert "<canvas" in page
    assert re.findall(r"""(?:src|href)=["'](?!data:)|url\(|@import|//cdn""", page) == []


# ---- where they stand


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


# ---- the child process


def test_the_backends_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    sites = [("api.test", ["", 0, str(tmp_path / "api")])]
    parent_program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'proxy.demo.backends'],"
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
    assert not (tmp_path / "api").exists()


def test_an_orphaned_proxy_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "proxy.demo.backends"]
    with (
        subprocess.Popen(["sleep", "60"]) as proxy,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as backends,
    ):
        backends.communicate(b"[]\n%d\n" % proxy.pid, timeout=PATIENCE)
        assert proxy.wait(PATIENCE) == -signal.SIGTERM


def test_a_proxy_that_has_ended_is_left_alone() -> None:
    command = [sys.executable, "-m", "proxy.demo.backends"]
    with (
        subprocess.Popen(["sleep", "60"]) as other,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as backends,
    ):
        backends.communicate(b"[]\n%d\n0\n" % other.pid, timeout=PATIENCE)
        assert backends.returncode == 0
        assert other.poll() is None
        os.kill(other.pid, signal.SIGTERM)
