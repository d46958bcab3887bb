"""`make run`: who answers, what is said, and how it ends."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from proxy.config import Config
from proxy.demo.http import Place
from proxy.demo.launcher import (
    Upstream,
    announcement,
    is_ready,
    run,
    story,
    survey,
    trust_command,
    vacant,
)
from tests.demo_client import PATIENCE
from tests.programs import Program, alive, children, free_port, wait_for


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


# ---- the whole of it


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Program]:
    """`make run` on two sites: one that nobody serves, and one of the tester's own."""
    with socket.create_server(("127.0.0.1", 0)) as own:
        config = {
            "listen": {"https": f"127.0.0.1:{free_port()}", "http": False, "admin": False},
            "store": str(tmp_path / "store"),
            "sites": {
                "api.test": f"unix:{tmp_path}/api",
                "own.test": f"http://127.0.0.1:{own.getsockname()[1]}",
            },
        }
        (tmp_path / "hopward.yml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "proxy.demo", "-c", str(tmp_path / "hopward.yml")]
        environ = {"PYTHONPATH": str(Path(__file__).parents[1])}
        with Program("demo", command, tmp_path, environ=environ) as demo:
            wait_for(lambda: "Ctrl-C ends" in demo.stdout_text(), what="the announcement")
            yield demo


def test_make_run_serves_demos_and_names_what_is_the_users_own(demo: Program) -> None:
    lines = demo.stdout_text().splitlines()
    stories = dict(re.findall(r"^  (https://\S+) +(\w+)", "\n".join(lines), re.MULTILINE))
    assert list(stories.values()) == ["demo", "yours"]
    api = urlsplit(next(iter(stories)))
    assert api.hostname == "api.localhost"
    root = demo.folder / "store" / "local-ca" / "root.pem"
    assert fetched(api.port, api.hostname, "/api/health_check", root).endswith(b'{"status":"Ok"}')


def fetched(port: int | None, host: str, path: str, root: Path) -> bytes:
    """The whole answer; browsers know .localhost names by themselves, the C library may not."""
    trusting = ssl.create_default_context(cafile=root)
    with (
        socket.create_connection(("127.0.0.1", port or 443), PATIENCE) as raw,
        trusting.wrap_socket(raw, server_hostname=host) as connection,
        connection.makefile("rb") as answer,
    ):
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        return answer.read()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_make_run_ends_quietly_with_all_it_started(demo: Program, by: signal.Signals) -> None:
    below = children(demo.pid)
    assert len(below) == 2
    assert demo.stop(by=by) == 0
    assert "Traceback" not in demo.output()
    assert not any(alive(pid) for pid in below)
    assert not (demo.folder / "api").exists()


def test_make_run_leaves_nothing_behind_even_when_it_is_killed(demo: Program) -> None:
    below = [pid for child in children(demo.pid) for pid in (child, *children(child))]
    demo.process.kill()
    wait_for(lambda: not any(alive(pid) for pid in below), what="the end of what it started")


def test_make_run_fails_as_the_proxy_does(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / "hopward.yml").write_text(yaml.safe_dump({
            "listen": {"https": f"127.0.0.1:{taken.getsockname()[1]}", "http": False},
            "store": str(tmp_path / "store"),
            "sites": {"api.test": f"unix:{tmp_path}/api"},
        }))  # fmt: skip
        command = [sys.executable, "-m", "proxy.demo", "-c", str(tmp_path / "hopward.yml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    # A warning is an event of the log: a machine may have few descriptors to give.
    assert len([line for line in done.stderr.splitlines() if not line.startswith("{")]) == 1
