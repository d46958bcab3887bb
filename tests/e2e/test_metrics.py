"""What /metrics tells: every request once, whichever worker served it and whatever became of it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.http_client import exchange, get
from tests.origins import Listener
from tests.programs import Hopward, accepts, alive, free_port, requires, wait_for
from tests.tls_client import PlainClient, TLSAlertError, TLSClient

HOST, SHUT = "api.example.com", "shut.example.com"

Configured = Callable[..., dict[str, object]]
Figures = dict[str, float]


def serve(connection: socket.socket) -> None:
    """Answer, switch to a WebSocket, break off within a body, or say nothing at all."""
    with connection.makefile("rb") as stream:
        while line := stream.readline():
            while stream.readline().strip():
                pass
            if b" /silent" in line:
                stream.read()
            elif b" /socket" in line:
                connection.sendall(SWITCHED)
                stream.read()
            else:
                length = 200 if b" /broken" in line else 2
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nok" % length)
                if b" /broken" in line:
                    return


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Scraped:
    """A running proxy of two workers, and what it tells."""

    def __init__(self, proxy: Hopward, admin: int, authority: Authority) -> None:
        self.proxy, self._admin, self._authority = proxy, admin, authority

    def text(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._admin, timeout=30)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read().decode()
        finally:
            connection.close()

    def figures(self) -> Figures:
        """Each line's figure by all that stands before it."""
        lines = [line for line in self.text().splitlines() if not line.startswith("#")]
        return {name: float(figure) for name, _, figure in (line.rpartition(" ") for line in lines)}

    def figure(self, name: str) -> float:
        return self.figures().get(name, 0.0)

    def sums(self, name: str, label: str) -> float:
        """All figures of one name with this label, together."""
        figures = self.figures().items()
        return sum(figure for key, figure in figures if key.startswith(name) and label in key)

    def becomes(self, name: str, figure: float) -> None:
        """Wait until `name` is `figure`: a client may have its answer before it is counted."""
        wait_for(lambda: self.figure(name) == figure, what=f"{name} being {figure}")

    def dial(self, host: str = HOST) -> TLSClient:
        return TLSClient(self.proxy.https, host, cafile=self._authority.pem)

    def asks(self, target: bytes, host: str = HOST, method: bytes = b"GET") -> int:
        """The status of the answer to one request on a connection of its own."""
        with self.dial(host) as client:
            return exchange(client, get(target, host, method=method)).status


@pytest.fixture
def scraped(tmp_path: Path, configured: Configured, authority: Authority) -> Iterator[Scraped]:
    admin, nobody = free_port(), free_port()
    listen = {"https": "127.0.0.1:0", "http": "127.0.0.1:0", "admin": f"127.0.0.1:{admin}"}
    with Listener(serve) as origin:
        sites = {HOST: f"http://127.0.0.1:{origin.port}", SHUT: f"http://127.0.0.1:{nobody}"}
        config = configured(sites, listen=listen, workers=2, timeouts={"handshake": "1s"})
        with Hopward(tmp_path, {"store": str(tmp_path / "store"), **config}) as proxy:
            yield Scraped(proxy, admin, authority)


def requests(code: int, *, site: str = HOST, method: str = "GET") -> str:
    return f'hopward_requests_total{{site="{site}",method="{method}",code="{code}"}}'


# Requests


def test_every_request_is_counted_once_whichever_worker_serves_it(scraped: Scraped) -> None:
    for _ in range(30):
        assert scraped.asks(b"/") == 200
    with scraped.dial() as client:
        for _ in range(10):
            assert exchange(client, get(b"/", HOST)).status == 200
    scraped.becomes(requests(200), 40)


def test_requests_are_timed_by_site(scraped: Scraped) -> None:
    for _ in range(5):
        scraped.asks(b"/")
    scraped.becomes(f'hopward_request_seconds_count{{site="{HOST}"}}', 5)
    figures = scraped.figures()
    buckets = [
        figure
        for name, figure in figures.items()
        if name.startswith(f'hopward_request_seconds_bucket{{site="{HOST}",le=')
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == figures[f'hopward_request_seconds_count{{site="{HOST}"}}'] == 5
    assert 0 < figures[f'hopward_request_seconds_sum{{site="{HOST}"}}'] < 5 * 60


def test_what_the_proxy_answers_itself_is_counted_too(scraped: Scraped) -> None:
    assert scraped.asks(b"/", method=b"TRACE") == 405
    with scraped.dial() as client:
        assert exchange(client, get(b"/", "unknown.example.com")).status == 404
    with scraped.dial() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv().startswith(b"HTTP/1.1 400 ")
    scraped.becomes(requests(405, method="TRACE"), 1)
    scraped.becomes(requests(404, site=""), 1)
    scraped.becomes(requests(400, method="other"), 1)


def test_a_redirect_of_port_80_is_counted(scraped: Scraped) -> None:
    assert scraped.proxy.http is not None
    with PlainClient(scraped.proxy.http) as client:
        assert exchange(client, get(b"/", HOST)).status == 308
    scraped.becomes(requests(308), 1)


def test_methods_without_a_registration_count_as_other(scraped: Scraped) -> None:
    assert scraped.asks(b"/", method=b"PURGE") == 200
    assert scraped.asks(b"/", method=b"WHATEVER") == 200
    scraped.becomes(requests(200, method="other"), 2)


def test_a_client_that_leaves_before_the_answer_is_a_499(scraped: Scraped) -> None:
    with scraped.dial() as client:
        client.send(get(b"/silent", HOST))
        scraped.becomes('hopward_connections{kind="upstream"}', 1)
        client.reset()
    scraped.becomes(requests(499), 1)


def test_a_response_that_breaks_off_counts_with_the_status_that_was_sent(scraped: Scraped) -> None:
    with scraped.dial() as client, suppress(Exception):
        client.send(get(b"/broken", HOST))
        client.recv_all()
    scraped.becomes(requests(200), 1)
    scraped.becomes(f'hopward_upstream_errors_total{{site="{HOST}",reason="closed"}}', 1)


def test_an_origin_that_refuses_is_an_upstream_error(scraped: Scraped) -> None:
    assert scraped.asks(b"/", SHUT) == 502
    scraped.becomes(requests(502, site=SHUT), 1)
    scraped.becomes(f'hopward_upstream_errors_total{{site="{SHUT}",reason="refused"}}', 1)


def test_an_origin_that_only_refuses_is_told_to_be_unwell(scraped: Scraped) -> None:
    healthy = {
        name: figure
        for name, figure in scraped.figures().items()
        if name.startswith("hopward_upstream_healthy")
    }
    assert list(healthy.values()) == [1, 1]
    [refusing] = [name for name in healthy if SHUT in name]
    scraped.asks(b"/", SHUT)
    assert scraped.figure(refusing) == 0


def test_after_a_workers_death_nothing_is_lost_or_doubled(scraped: Scraped) -> None:
    for _ in range(20):
        scraped.asks(b"/")
    for pid in scraped.proxy.workers():
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not alive(pid))  # type: ignore[misc]
    wait_for(lambda: scraped.figure("hopward_worker_restarts_total") == 2)
    wait_for(lambda: accepts(scraped.proxy.https))
    for _ in range(20):
        scraped.asks(b"/")
    scraped.becomes(requests(200), 40)
    scraped.becomes('hopward_connections{kind="https"}', 0)


# Connections


def test_open_connections_are_counted_by_kind(scraped: Scraped) -> None:
    with scraped.dial() as one, scraped.dial() as other:
        for client in (one, other):
            exchange(client, get(b"/", HOST))
        assert scraped.figure('hopward_connections{kind="https"}') == 2
        assert scraped.figure('hopward_connections{kind="admin"}') == 1
    scraped.becomes('hopward_connections{kind="https"}', 0)


def test_a_websocket_is_counted_while_it_is_open(scraped: Scraped) -> None:
    upgrade = get(b"/socket", HOST, b"Connection: Upgrade", b"Upgrade: websocket")
    with scraped.dial() as client:
        client.send(upgrade)
        assert client.recv().startswith(b"HTTP/1.1 101 ")
        scraped.becomes(f'hopward_websockets{{site="{HOST}"}}', 1)
        scraped.becomes(requests(101), 1)
    scraped.becomes(f'hopward_websockets{{site="{HOST}"}}', 0)
    assert scraped.figure(requests(101)) == 1


def test_a_handshake_tells_what_it_agreed_on(scraped: Scraped) -> None:
    for _ in range(3):
        scraped.asks(b"/")
    agreed = 'hopward_tls_handshakes_total{version="TLSv1.3",group="X25519MLKEM768"'
    assert scraped.figure(f'{agreed},resumed="false"}}') == 3


def test_a_handshake_tells_whether_it_resumed_a_session(
    scraped: Scraped, trusting: ssl.SSLContext
) -> None:
    session = None
    for _ in range(4):
        with (
            socket.create_connection(("127.0.0.1", scraped.proxy.https)) as plain,
            trusting.wrap_socket(plain, server_hostname=HOST, session=session) as client,
        ):
            client.sendall(get(b"/", HOST))
            client.recv(1000)
            session = client.session
    assert scraped.sums("hopward_tls_handshakes_total", 'resumed="false"') == 1
    assert scraped.sums("hopward_tls_handshakes_total", 'resumed="true"') == 3


def test_a_handshake_that_fails_tells_why(scraped: Scraped) -> None:
    with pytest.raises(TLSAlertError):
        scraped.dial("unknown.example.com")
    with PlainClient(scraped.proxy.https) as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        client.recv_all()
    failures = "hopward_tls_handshake_failures_total"
    scraped.becomes(f'{failures}{{reason="unrecognized_name"}}', 1)
    scraped.becomes(f'{failures}{{reason="http_request"}}', 1)


def test_a_silent_connection_is_a_handshake_that_timed_out(scraped: Scraped) -> None:
    with PlainClient(scraped.proxy.https):
        scraped.becomes('hopward_tls_handshake_failures_total{reason="timeout"}', 1)


def test_a_client_that_leaves_within_its_handshake_closed_it(scraped: Scraped) -> None:
    PlainClient(scraped.proxy.https).close()
    scraped.becomes('hopward_tls_handshake_failures_total{reason="closed"}', 1)


# Processes


def test_a_reload_is_counted_by_how_it_ended(scraped: Scraped) -> None:
    before = scraped.proxy.file.read_text()
    scraped.asks(b"/")
    scraped.proxy.process.send_signal(signal.SIGHUP)
    scraped.becomes('hopward_config_reloads_total{result="success"}', 1)
    scraped.proxy.write("sites: {}\nnonsense: 1\n")
    scraped.proxy.process.send_signal(signal.SIGHUP)
    scraped.becomes('hopward_config_reloads_total{result="failure"}', 1)
    scraped.proxy.write(before)
    scraped.becomes('hopward_workers{state="serving"}', 2)
    scraped.becomes(requests(200), 1)


def test_workers_that_finish_what_they_began_are_old(scraped: Scraped) -> None:
    with scraped.dial() as client:
        client.send(get(b"/silent", HOST))
        scraped.becomes('hopward_connections{kind="upstream"}', 1)
        scraped.proxy.process.send_signal(signal.SIGHUP)
        scraped.becomes('hopward_workers{state="old"}', 1)
        scraped.becomes('hopward_workers{state="serving"}', 2)
    scraped.becomes('hopward_workers{state="old"}', 0)


# The text


@requires("promtool", "apt-get install prometheus")
def test_prometheus_finds_nothing_to_complain_of(scraped: Scraped) -> None:
    scraped.asks(b"/")
    scraped.asks(b"/", SHUT)
    scraped.becomes('hopward_connections{kind="https"}', 0)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scraped.text(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_figure_of_the_contract_is_there_under_its_name(scraped: Scraped) -> None:
    scraped.asks(b"/")
    scraped.asks(b"/", SHUT)
    with PlainClient(scraped.proxy.https):
        scraped.becomes('hopward_tls_handshake_failures_total{reason="timeout"}', 1)
    text = scraped.text()
    for name, labels in NAMES.items():
        assert re.search(rf"^{name}{labels} \S+$", text, re.MULTILINE), name


NAMES = {
    "hopward_requests_total": r'\{site="[^"]*",method="[A-Z]+",code="\d{3}"\}',
    "hopward_request_seconds_bucket": r'\{site="[^"]+",le="[^"]+"\}',
    "hopward_connections": r'\{kind="https"\}',
    "hopward_upstream_healthy": r'\{site="[^"]+",origin="http://[^"]+"\}',
    "hopward_upstream_errors_total": r'\{site="[^"]+",reason="\w+"\}',
    "hopward_tls_handshakes_total": r'\{version="TLSv1.3",group="\w+",resumed="(true|false)"\}',
    "hopward_tls_handshake_failures_total": r'\{reason="timeout"\}',
    "hopward_certificate_not_after_seconds": r'\{host="[^"]+"\}',
    "hopward_config_reloads_total": r'\{result="success"\}',
    "hopward_worker_restarts_total": "",
    "hopward_workers": r'\{state="serving"\}',
    "process_start_time_seconds": "",
    "process_cpu_seconds_total": "",
    "process_resident_memory_bytes": "",
}
