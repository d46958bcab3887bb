"""The status document, and who gets it."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import only_here
from tests.authority import Authority
from tests.e2e.watched import API, PAIR, SHUT, Watched, origin, the, watched
from tests.http_client import exchange, get
from tests.programs import free_port

DOCS = Path(__file__).parents[2] / "docs" / "status.md"
NEW = "new.example.com"
# What is a mapping by something counted, not by names of the document's own.
BY_LABEL = {"connections", "sites[].upstream_errors"}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Watched]:
    folder, nobody = tmp_path_factory.mktemp("watched"), f"http://127.0.0.1:{free_port()}"
    with origin() as url:
        sites = {
            API: url,
            PAIR: {"to": [url, nobody]},
            SHUT: nobody,
            NEW: {"to": url, "tls": "acme"},
        }
        acme = {"directory": "https://127.0.0.1:1/"}
        with watched(folder, authority, sites, acme=acme) as running:
            yield running


def names(value: Any, path: str = "") -> Iterator[str]:
    """Every name in a document, behind those of the mappings and lists that it stands in."""
    if isinstance(value, dict) and path not in BY_LABEL and not path.endswith(".latency"):
        for key, inner in value.items():
            yield from names(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from names(inner, f"{path}[]")
    else:
        yield path


def reload(proxy: Watched) -> dict[str, Any]:
    """Have the file read again; returns what is told of that."""
    before = proxy.status()["reloads"]
    proxy.proxy.process.send_signal(signal.SIGHUP)
    told: dict[str, Any] = proxy.becomes(
        lambda status: (
            status["reloads"] != before and status["last_reload"] and status["workers"]["old"] == 0
        )
    )["last_reload"]
    return told


# What it says


def test_every_name_in_the_document_is_described_and_no_other(proxy: Watched) -> None:
    reload(proxy)
    told = set(names(proxy.becomes(lambda status: status["recent_seconds"])))
    rows = re.findall(r"^\| (`[^|]*) \|", DOCS.read_text("utf-8"), re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert {re.sub(r"^(total|unmatched)\.", "sites[].", name) for name in told} == described


def test_requests_are_counted_by_site_and_kind_of_answer_over_all_workers(proxy: Watched) -> None:
    before = proxy.site()
    for target in (b"/", b"/204", b"/404", b"/500", b"/503") * 4:
        proxy.asks(target)
    after = proxy.counted(before["requests"] + 20)
    assert [after[name] - before[name] for name in ("requests", "errors_4xx", "errors_5xx")] == [
        20,
        4,
        8,
    ]
    assert sum(after["latency_counts"]) == after["requests"]
    assert 0 < after["latency"]["p50"] <= after["latency"]["p99"] < 60


def test_rates_are_told_of_the_time_since_somebody_asked(proxy: Watched) -> None:
    before = proxy.site()["requests"]
    for _ in range(10):
        proxy.asks(b"/")
    recent = proxy.counted(before + 10)["recent"]
    assert recent["requests_per_second"] * proxy.status()["recent_seconds"] >= 9.5


def test_the_total_has_what_was_for_no_site(proxy: Watched) -> None:
    with proxy.dial() as client:
        assert exchange(client, get(b"/", "unknown.example.com")).status == 404
    status = proxy.becomes(lambda status: status["unmatched"]["requests"])
    own = sum(site["requests"] for site in status["sites"])
    assert status["total"]["requests"] == own + status["unmatched"]["requests"]


def test_a_websocket_is_told_while_it_is_open(proxy: Watched) -> None:
    with proxy.dial() as client:
        client.send(get(b"/socket", API, b"Connection: Upgrade", b"Upgrade: websocket"))
        assert client.recv().startswith(b"HTTP/1.1 101 ")
        proxy.becomes(lambda status: the(status["sites"], site=API)["websockets"] == 1)
    proxy.becomes(lambda status: status["total"]["websockets"] == 0)


def test_an_origin_that_refuses_is_told_with_the_reason_whichever_worker_saw_it(
    proxy: Watched,
) -> None:
    assert proxy.asks(b"/", SHUT) == 502
    status = proxy.becomes(lambda status: the(status["sites"], site=SHUT)["upstream_errors"])
    site = the(status["sites"], site=SHUT)
    [refusing] = site["origins"]
    assert (refusing["healthy"], refusing["reason"]) == (False, "refused")
    assert refusing["since"] <= status["time"]
    assert site["upstream_errors"]["refused"] >= 1


def test_a_host_without_a_certificate_is_in_danger(proxy: Watched) -> None:
    new = proxy.becomes(lambda status: the(status["certificates"], host=NEW)["last_error"])
    told = the(new["certificates"], host=NEW)
    assert (told["source"], told["level"], told["not_after"]) == ("acme", "danger", None)
    assert new["health"] == {"ok": False, "troubles": [f"{NEW}: there is no certificate yet"]}


def test_a_certificate_tells_its_issuer_and_what_is_left(proxy: Watched) -> None:
    told = proxy.certificate(API)
    assert (told["source"], told["level"]) == ("files", "well")
    assert told["issuer"] == "CN=hopward test authority"
    assert 6.9 < told["days_left"] <= 7


def test_the_last_reload_is_told_with_what_was_wrong(proxy: Watched) -> None:
    assert reload(proxy)["result"] == "success"
    written = proxy.proxy.file.read_text()
    proxy.proxy.write("sites: {}\nnonsense: 1\n")
    failed = reload(proxy)
    proxy.proxy.write(written)
    assert failed["result"] == "failure"
    assert "nonsense" in failed["error"]
    assert reload(proxy)["error"] is None


def test_the_processes_and_connections_are_told(proxy: Watched) -> None:
    status = proxy.status()
    assert status["pid"] == proxy.proxy.pid
    assert status["workers"] == {"serving": 2, "old": 0, "restarts": 0}
    assert status["connections"]["admin"] == 1
    assert status["access_log"] == {"lost_lines": 0}


# Who gets it


@pytest.mark.parametrize("path", ["/status", "/status.json", "/health", "/metrics"])
def test_head_tells_what_get_would(proxy: Watched, path: str) -> None:
    head, whole = proxy.ask(path, "HEAD"), proxy.ask(path)
    assert (head.status, head.text) == (whole.status, "")
    assert head.fields["Content-Type"] == whole.fields["Content-Type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_done_to_it(proxy: Watched, method: str) -> None:
    told = proxy.ask("/status.json", method)
    assert (told.status, told.fields["Allow"]) == (405, "GET, HEAD")


def test_what_there_is_is_named_to_who_asks_for_something_else(proxy: Watched) -> None:
    told = proxy.ask("/nothing")
    assert told.status == 404
    assert "/health, /metrics, /status, /status.json" in told.text


@pytest.mark.parametrize("path", ["/status", "/status.json", "/health", "/metrics"])
def test_nobody_keeps_it_or_takes_it_for_something_else(proxy: Watched, path: str) -> None:
    fields = proxy.ask(path).fields
    assert fields["Cache-Control"] == "no-store"
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert fields["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in fields


@pytest.mark.parametrize("host", ["127.0.0.1:9180", "[::1]:9180", "hopward:9180", "LOCALHOST", API])
def test_it_is_told_under_names_that_no_stranger_owns(proxy: Watched, host: str) -> None:
    assert proxy.ask("/status.json", host=host).status == 200


@pytest.mark.parametrize("path", ["/status", "/status.json", "/health", "/metrics"])
def test_a_name_that_a_stranger_may_have_pointed_here_is_421(proxy: Watched, path: str) -> None:
    assert proxy.ask(path, host="rebound.example.org:9180").status == 421


def test_only_loopback_is_guarded_by_name(tmp_path: Path) -> None:
    with socket.socket() as here, socket.socket() as everywhere:
        here.bind(("127.0.0.1", 0))
        everywhere.bind(("0.0.0.0", 0))
        with socket.socket(socket.AF_UNIX) as file:
            file.bind(str(tmp_path / "admin.sock"))
            assert [only_here(door) for door in (here, everywhere, file)] == [True, False, False]
