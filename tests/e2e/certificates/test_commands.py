"""`hopward certs`, `renew` and `rehearse` beside a running proxy, and the word that people get."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.acme_shim import AcmeShim
from tests.authority import Authority
from tests.e2e.certificates.earlier import DAY, earlier
from tests.e2e.certificates.served import Served, configuration
from tests.e2e.certificates.visitors import Visitor
from tests.pebble import NameServer, Pebble, needs_pebble
from tests.programs import free_port, wait_for
from tests.tls_client import TLSClient

pytestmark = needs_pebble
HOST, OTHER = "api.example.com", "http1.example.com"


@pytest.fixture
def own(
    authority: Authority, names: NameServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AcmeShim]:
    """A CA of the test's own, since its validation ports are the proxy's listeners."""
    folder = tmp_path_factory.mktemp("pebble")
    with Pebble(folder, authority, names=names) as ca, AcmeShim(ca, authority) as shim:
        yield shim


@pytest.fixture
def proxy(own: AcmeShim, tmp_path: Path) -> Iterator[Served]:
    """Two hosts, each with its certificate."""
    with Served(tmp_path, configuration(own, tmp_path, [HOST, OTHER])) as served:
        for host in (HOST, OTHER):
            wait_for(Visitor(served.https, host, own.pebble.root()).is_welcome, 30, what=host)
        yield served


def hopward(proxy: Served, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", command, "-c", str(proxy.file), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def serial_shown(proxy: Served, host: str) -> int:
    with TLSClient(proxy.https, host) as client:
        shown = client.tls.get_peer_certificate(as_cryptography=True)
    assert shown is not None
    return shown.serial_number


def files_of(proxy: Served) -> dict[str, bytes]:
    """What is served: every certificate and key."""
    return {path.name: path.read_bytes() for path in proxy.store.glob("*.[pk]e[my]")}


def test_certs_tells_programs_of_every_certificate(proxy: Served) -> None:
    done = hopward(proxy, "certs", "--json")
    assert done.returncode == 0
    entries: list[dict[str, Any]] = json.loads(done.stdout)
    assert [entry["host"] for entry in entries] == [HOST, OTHER]
    entry = entries[0]
    assert entry.keys() == {
        "host", "names", "issuer", "serial",
        "not_before", "not_after", "next_renewal", "last_error",
    }  # fmt: skip
    assert entry["names"] == [HOST]
    assert int(entry["serial"], 16) == serial_shown(proxy, HOST)
    begins, renews, ends = (
        datetime.fromisoformat(entry[key]) for key in ("not_before", "next_renewal", "not_after")
    )
    assert begins < renews < ends
    assert begins.utcoffset() == timedelta(0)


def test_certs_tells_people_how_many_days_are_left(proxy: Served) -> None:
    heading, first, _ = hopward(proxy, "certs").stdout.splitlines()
    assert heading.split()[:3] == ["HOST", "DAYS", "LEFT"]
    assert first.startswith(HOST)


def test_renew_replaces_the_certificate_that_is_served(proxy: Served) -> None:
    before, other = serial_shown(proxy, HOST), serial_shown(proxy, OTHER)
    done = hopward(proxy, "renew", HOST)
    assert (done.returncode, done.stdout) == (0, f"{HOST}: renewed\n")
    wait_for(lambda: serial_shown(proxy, HOST) != before, what="the new certificate")
    assert serial_shown(proxy, OTHER) == other


def test_renew_that_fails_says_why_and_leaves_what_is_served(proxy: Served, own: AcmeShim) -> None:
    before = serial_shown(proxy, HOST)
    own.go_away()
    done = hopward(proxy, "renew", HOST)
    assert done.returncode == 1
    assert own.directory in done.stderr
    assert serial_shown(proxy, HOST) == before


def test_renew_of_a_host_that_is_none_of_ours_is_refused(proxy: Served) -> None:
    done = hopward(proxy, "renew", "www.example.org")
    assert done.returncode == 1
    assert "www.example.org is no site with `tls: acme`" in done.stderr
    assert "Traceback" not in done.stderr


def test_rehearse_issues_and_renews_and_touches_no_live_file(proxy: Served, own: AcmeShim) -> None:
    before, orders = files_of(proxy), own.count("newOrder")
    done = hopward(proxy, "rehearse", "--directory", own.directory, HOST)
    assert (done.returncode, done.stdout) == (0, f"{HOST}: issued and renewed, rehearsed\n")
    assert own.count("newOrder") == orders + 2
    assert files_of(proxy) == before


class Sink(HTTPServer):
    """Where webhooks are POSTed to."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Alert)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/alerts"

    def events(self) -> list[tuple[str, str]]:
        return [(alert["event"], alert["host"]) for alert in self.alerts]


class _Alert(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.alerts.append(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the test looks at what came."""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_people_hear_of_a_certificate_in_danger_and_when_it_is_well_again(
    own: AcmeShim, tmp_path: Path, sink: Sink
) -> None:
    pair, store = earlier(HOST, begun=89 * DAY, ends=DAY), tmp_path / "store"
    store.mkdir(mode=0o700)
    (store / f"{HOST}.pem").write_bytes(pair.certificate)
    (store / f"{HOST}.key").write_bytes(pair.key)
    own.go_away()
    config: dict[str, Any] = configuration(own, tmp_path, [HOST])
    config["listen"]["admin"] = f"127.0.0.1:{(port := free_port())}"
    config["alerts"] = {"webhook": sink.url}
    with Served(tmp_path, config):
        wait_for(sink.events, what="an alert")
        assert sink.events() == [("certificate-in-danger", HOST)]
        assert f'hopward_certificate_in_danger{{host="{HOST}"}} 1' in metrics(port)
        own.come_back()
        wait_for(lambda: len(sink.events()) > 1, what="the word that it is well")
        assert f'hopward_certificate_in_danger{{host="{HOST}"}} 0' in metrics(port)
        assert f'renewals_total{{host="{HOST}",result="success"}} 1' in metrics(port)
    assert sink.events()[1:] == [("certificate-well", HOST)]


def metrics(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
        return text
