"""Starting, failing to start, and ending: what an operator and a service manager see of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from tests.authority import Authority
from tests.e2e.conftest import LISTEN
from tests.http_client import exchange, get
from tests.origins import Listener, answer_ok
from tests.programs import (
    Hopward,
    accepts,
    alive,
    children,
    free_port,
    process_state,
    requires,
    wait_for,
)
from tests.tls_client import TLSClient

HOST = "api.example.com"
CHECKOUT = Path(__file__).parents[2]
UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
# root reads every file and takes every port by these
PRIVILEGES = "-net_bind_service,-dac_override,-dac_read_search"

Configured = Callable[..., dict[str, object]]


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with Listener(answer_ok) as listener:
        yield f"http://127.0.0.1:{listener.port}"


def without_privileges() -> list[str]:
    return ["setpriv", f"--bounding-set={PRIVILEGES}"] if os.geteuid() == 0 else []


def fail(file: Path, wrap: Sequence[str] = ()) -> tuple[int, list[str]]:
    """The exit code of a start that fails, and what it says on stderr beside its log."""
    command = [*wrap, sys.executable, "-m", "proxy", "run", "-c", file.name]
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        command, cwd=file.parent, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == ""
    return done.returncode, [line for line in done.stderr.splitlines() if not _logged(line)]


def _logged(line: str) -> bool:
    """A warning is an event of the log: a line of JSON."""
    return line.startswith("{") and json.loads(line)["level"] == "warning"


@pytest.fixture
def write(tmp_path: Path, configured: Configured) -> Callable[..., Path]:
    """Writes hopward.yml for one site; keywords are the file's own settings."""

    def configuration(site: object = "http://127.0.0.1:1", **settings: object) -> Path:
        config = {"store": str(tmp_path / "store"), **configured({HOST: site}, **settings)}
        file = tmp_path / "hopward.yml"
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        return file

    return configuration


def test_a_port_in_use_is_named_in_one_line(write: Callable[..., Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = write(listen={**LISTEN, "https": f"127.0.0.1:{port}"})
        code, [line] = fail(file)
    assert code == 1
    assert f"127.0.0.1:{port}" in line


def test_a_taken_redirect_port_leaves_no_half_started_proxy(write: Callable[..., Path]) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        http = f"127.0.0.1:{taken.getsockname()[1]}"
        code, [line] = fail(write(listen={**LISTEN, "https": f"127.0.0.1:{port}", "http": http}))
    assert code == 1
    assert http in line
    assert not accepts(port)


def test_an_address_that_is_not_this_machines_is_named_in_one_line(
    write: Callable[..., Path],
) -> None:
    code, [line] = fail(write(listen={**LISTEN, "https": "192.0.2.1:0"}))
    assert code == 1
    assert "192.0.2.1" in line


@requires("setpriv", "apt-get install util-linux")
@pytest.mark.skipif(
    int(UNPRIVILEGED.read_text()) <= 443,
    reason="needs privileged ports: sysctl net.ipv4.ip_unprivileged_port_start=1024",
)
def test_port_443_without_the_right_to_it_is_named_in_one_line(write: Callable[..., Path]) -> None:
    file = write(listen={**LISTEN, "https": "127.0.0.1:443"})
    code, [line] = fail(file, without_privileges())
    assert code == 1
    assert "443" in line
    assert "permission" in line.lower()


@requires("setpriv", "apt-get install util-linux")
def test_a_key_that_may_not_be_read_is_named_with_its_place_in_the_file(
    write: Callable[..., Path], authority: Authority
) -> None:
    pair = authority.pair(HOST)
    pair.key.chmod(0)
    file = write({"to": "http://127.0.0.1:1", "tls": pair.tls()})
    code, [line] = fail(file, without_privileges())
    assert code == 2
    assert re.match(r"hopward\.yml:\d+:\d+: ", line)
    assert str(pair.key) in line


def test_a_key_of_another_certificate_is_named_with_its_place_in_the_file(
    write: Callable[..., Path], authority: Authority
) -> None:
    pair, other = authority.pair(HOST), authority.pair("other.example.com")
    tls = {"cert": str(pair.cert), "key": str(other.key)}
    code, [line] = fail(write({"to": "http://127.0.0.1:1", "tls": tls}))
    assert code == 2
    assert re.match(r"hopward\.yml:\d+:\d+: ", line)
    assert str(other.key) in line


@pytest.mark.parametrize("missing", ["cert", "key"])
def test_a_missing_certificate_or_key_is_named_with_its_place_in_the_file(
    write: Callable[..., Path], authority: Authority, missing: str
) -> None:
    tls = {**authority.pair(HOST).tls(), missing: "nowhere.pem"}
    code, [line] = fail(write({"to": "http://127.0.0.1:1", "tls": tls}))
    assert code == 2
    assert re.match(r"hopward\.yml:\d+:\d+: ", line)
    assert "nowhere.pem" in line


def test_a_missing_file_is_named_in_one_line(tmp_path: Path) -> None:
    code, [line] = fail(tmp_path / "nowhere.yml")
    assert code == 2
    assert line.startswith("nowhere.yml:")


@pytest.mark.parametrize("text", ["sites: [", "sites:\n\tx: y\n", "", "- a\n- b\n", "sites: {}\n"])
def test_a_broken_file_is_one_line_with_its_place(tmp_path: Path, text: str) -> None:
    file = tmp_path / "hopward.yml"
    file.write_text(text)
    code, [line] = fail(file)
    assert code == 2
    assert re.match(r"hopward\.yml:\d+:\d+: .", line)


@pytest.fixture
def start(tmp_path: Path, configured: Configured, origin: str) -> Callable[[int], Hopward]:
    def running(workers: int) -> Hopward:
        config = {"store": str(tmp_path / "store"), **configured({HOST: origin}, workers=workers)}
        return Hopward(tmp_path, config)

    return running


def request(proxy: Hopward, authority: Authority) -> bytes:
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
        return exchange(client, get(b"/", HOST)).content


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_ends_all_of_it_with_0(
    start: Callable[[int], Hopward], authority: Authority, by: signal.Signals
) -> None:
    with start(2) as proxy:
        assert request(proxy, authority) == b"ok"
        port, workers = proxy.https, proxy.workers()
        assert proxy.stop(by=by) == 0
    assert [pid for pid in workers if process_state(pid)] == []
    assert not accepts(port)


def test_a_signal_to_the_whole_group_as_a_terminal_sends_it_ends_with_0(
    start: Callable[[int], Hopward], authority: Authority
) -> None:
    with start(2) as proxy:
        assert request(proxy, authority) == b"ok"
        workers = proxy.workers()
        for pid in [*workers, proxy.pid]:
            os.kill(pid, signal.SIGINT)
        assert proxy.process.wait(60) == 0
    assert "Traceback" not in proxy.output()
    assert [pid for pid in workers if process_state(pid)] == []


def test_a_killed_worker_is_replaced_and_service_goes_on(
    start: Callable[[int], Hopward], authority: Authority
) -> None:
    with start(2) as proxy:
        first, second = proxy.workers()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len(set(proxy.workers()) - {first, second}) == 1, what="a new worker")
        assert [request(proxy, authority) for _ in range(20)] == [b"ok"] * 20
        assert [pid for pid in children(proxy.pid) if process_state(pid) == "Z"] == []
        assert second in proxy.workers()


def test_killing_every_worker_at_once_is_survived(
    start: Callable[[int], Hopward], authority: Authority
) -> None:
    with start(2) as proxy:
        before = set(proxy.workers())
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(set(proxy.workers()) - before) == len(before), what="new workers")
        wait_for(lambda: accepts(proxy.https), what="an open port")
        assert request(proxy, authority) == b"ok"


def test_no_orphan_outlives_a_killed_supervisor(
    start: Callable[[int], Hopward], authority: Authority
) -> None:
    with start(2) as proxy:
        assert request(proxy, authority) == b"ok"
        port, workers = proxy.https, proxy.workers()
        proxy.process.kill()
        proxy.process.wait()
        wait_for(lambda: not any(map(alive, workers)), 30, "the end of the workers")
    assert not accepts(port)


def test_ready_is_said_once_every_listener_accepts(
    start: Callable[[int], Hopward],
) -> None:
    with start(2) as proxy:
        assert proxy.http is not None
        assert accepts(proxy.https)
        assert accepts(proxy.http)
        assert proxy.ready()["pid"] == proxy.pid
        assert proxy.stderr_text().count('"event": "ready"') == 1


def test_half_a_handshake_does_not_keep_the_proxy_from_ending(
    start: Callable[[int], Hopward],
) -> None:
    with start(1) as proxy, socket.create_connection(("127.0.0.1", proxy.https)) as silent:
        silent.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert proxy.stop(20) == 0


def test_the_ready_line_is_told_at_any_log_level(
    configured: Configured, origin: str, tmp_path: Path
) -> None:
    """Programs wait for it; a level is for people."""
    config = configured({HOST: origin}, store=str(tmp_path / "store"))
    with Hopward(tmp_path, config, "--log-level", "error") as proxy:
        assert proxy.ready()["workers"] == 1
