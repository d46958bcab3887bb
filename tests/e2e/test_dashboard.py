"""The questions of dashboard and alerts, put to a real Prometheus that scrapes a real proxy."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.authority import Authority
from tests.http_client import exchange, get
from tests.origins import Listener
from tests.programs import Hopward, Program, accepts, free_port, requires, wait_for
from tests.tls_client import PlainClient, TLSAlertError, TLSClient

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads(
    DEPLOY.joinpath("grafana", "hopward.json").read_text("utf-8")
)
RULES = DEPLOY.joinpath("prometheus", "hopward.rules.yml").read_text("utf-8")
PANELS: dict[str, list[str]] = {
    f"{panel['title']} ({panel['type']})": [target["expr"] for target in panel["targets"]]
    for panel in DASHBOARD["panels"]
    if panel["type"] != "row"
}
# Of the classes of statuses an origin gives these; 1xx is the WebSocket's 101.
NO_DATA = re.compile(r'code=~"[34]\.\."')
VARIABLES = {"$__rate_interval": "20s", "$instance": ".*", "$site": ".*"}

USED_EVERY = 2.0  # seconds: two scrapes lie between
HOST, SHUT, NEW = "api.example.com", "shut.example.com", "new.example.com"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def serve(connection: socket.socket) -> None:
    """Answer, or switch to a WebSocket that says nothing."""
    with connection.makefile("rb") as stream:
        while line := stream.readline():
            while stream.readline().strip():
                pass
            if b" /socket" in line:
                connection.sendall(SWITCHED)
                stream.read()
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Watched:
    """A proxy in use, and the Prometheus that scrapes it once a second."""

    def __init__(self, proxy: Hopward, prometheus: int, authority: Authority) -> None:
        self._proxy, self._prometheus, self._authority = proxy, prometheus, authority
        self._used = 0.0

    def dial(self, host: str = HOST) -> TLSClient:
        return TLSClient(self._proxy.https, host, cafile=self._authority.pem)

    def is_used(self) -> None:
        """A good answer, one of a dead origin, two connections that fail, and a reload."""
        self._used = time.monotonic()
        for host in (HOST, SHUT):
            with self.dial(host) as client:
                exchange(client, get(b"/", host))
        with suppress(TLSAlertError), self.dial("unknown.example.com"):
            pass
        with suppress(ConnectionResetError), PlainClient(self._proxy.https) as proxy:
            proxy.send(b"PROXY nothing\r\n")
            proxy.recv_all()
        self._proxy.process.send_signal(signal.SIGHUP)

    def ask(self, path: str) -> dict[str, Any]:
        """What Prometheus answers; raises AssertionError where it refuses."""
        connection = http.client.HTTPConnection("127.0.0.1", self._prometheus, timeout=30)
        try:
            connection.request("GET", path)
            body = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert body["status"] == "success", f"{path}: {body.get('error')}"
        found: dict[str, Any] = body["data"]
        return found

    def answer(self, query: str) -> list[dict[str, Any]]:
        """The series that a query gives."""
        found: list[dict[str, Any]] = self.ask(f"/api/v1/query?query={quote(query)}")["result"]
        return found

    def tells(self, query: str) -> list[dict[str, Any]]:
        """The answer once there is one, under use."""

        def ask() -> list[dict[str, Any]]:
            if time.monotonic() > self._used + USED_EVERY:
                self.is_used()
            return [each for each in self.answer(query) if each["value"][1] != "NaN"]

        return wait_for(ask, what=f"an answer to {query}")


@pytest.fixture(scope="module")
def watched(
    configured: Callable[..., dict[str, object]],
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    admin, port, nobody = free_port(), free_port(), free_port()
    listen = {"https": "127.0.0.1:0", "http": False, "admin": f"127.0.0.1:{admin}"}
    with ExitStack() as running:
        origin = running.enter_context(Listener(serve))
        sites: dict[str, object] = {
            HOST: {
                "to": f"http://127.0.0.1:{origin.port}",
                "health": {"path": "/health", "every": "1s"},
            },
            SHUT: f"http://127.0.0.1:{nobody}",
        }
        acme = {"directory": f"https://127.0.0.1:{nobody}/directory"}
        config = configured(
            {**sites, NEW: {"to": f"http://127.0.0.1:{nobody}", "tls": "acme"}},
            listen=listen,
            workers=2,
            store=str(folder / "store"),
            acme=acme,
            trusted_proxies=["127.0.0.1"],
        )
        proxy = running.enter_context(Hopward(folder / "hopward", config))
        running.enter_context(_prometheus(folder / "prometheus", port, admin))
        watched = Watched(proxy, port, authority)
        client = running.enter_context(watched.dial())
        client.send(get(b"/socket", HOST, *SOCKET))
        assert client.recv_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        yield watched


def _prometheus(folder: Path, port: int, admin: int) -> Program:
    folder.mkdir()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DEPLOY / "prometheus" / "*.rules.yml")],
        "scrape_configs": [
            {"job_name": "hopward", "static_configs": [{"targets": [f"127.0.0.1:{admin}"]}]}
        ],
    }
    folder.joinpath("prometheus.yml").write_text(yaml.safe_dump(config))
    command: list[str | Path] = ["prometheus", "--config.file=prometheus.yml"]
    command += ["--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    return Program("prometheus", command, folder, until=lambda: accepts(port))


needs_prometheus = requires("prometheus", "apt-get install prometheus")


def asked(expression: str) -> str:
    """The question as Grafana puts it, its variables filled in."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


@needs_prometheus
@pytest.mark.parametrize("panel", PANELS)
def test_each_panel_shows_what_happened(watched: Watched, panel: str) -> None:
    for expression in PANELS[panel]:
        if NO_DATA.search(expression):
            watched.answer(asked(expression))
        else:
            assert watched.tells(asked(expression))


@needs_prometheus
def test_reloads_are_marked_on_every_panel(watched: Watched) -> None:
    [annotation] = DASHBOARD["annotations"]["list"]
    assert watched.tells(asked(annotation["expr"]))


@needs_prometheus
@pytest.mark.parametrize("variable", DASHBOARD["templating"]["list"][1:], ids=lambda v: v["name"])
def test_the_variables_are_filled_from_series_that_exist(
    watched: Watched, variable: dict[str, Any]
) -> None:
    series = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
    assert series is not None
    found = watched.tells(asked(series[1]))
    assert all(each["metric"][series[2]] for each in found)


@needs_prometheus
@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bhopward_\w+", RULES))))
def test_the_rules_speak_of_figures_that_exist(watched: Watched, name: str) -> None:
    assert watched.tells(name)


@needs_prometheus
def test_prometheus_evaluates_every_rule(watched: Watched) -> None:
    def states() -> set[str]:
        found = watched.ask("/api/v1/rules")["groups"]
        return {rule["health"] for group in found for rule in group["rules"]}

    wait_for(lambda: "unknown" not in states(), what="a first evaluation")
    assert states() == {"ok"}
