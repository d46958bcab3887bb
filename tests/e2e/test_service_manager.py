"""As a service of systemd: sockets from outside, words about its state, a watchdog."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.authority import Authority
from tests.http_client import exchange, get
from tests.origins import Listener, answer_ok
from tests.programs import alive, children, wait_for
from tests.service_manager import ServiceManager
from tests.tls_client import TLSClient

HOST = "api.example.com"


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with Listener(answer_ok) as listener:
        yield f"http://127.0.0.1:{listener.port}"


@pytest.fixture
def file(configured: Callable[..., dict[str, object]], origin: str, tmp_path: Path) -> Path:
    config = configured({HOST: origin}, workers=2, store=str(tmp_path / "store"))
    path = tmp_path / "hopward.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=128)


def status(port: int, authority: Authority) -> int:
    with TLSClient(port, HOST, cafile=authority.pem) as client:
        return exchange(client, get(b"/", HOST)).status


def test_sockets_that_the_manager_has_opened_are_served(
    file: Path, tmp_path: Path, authority: Authority
) -> None:
    https, http = listening(), listening()
    with ServiceManager(tmp_path, {"https": https, "http": http}) as manager:
        manager.start(["run", "-c", file])
        assert status(https.getsockname()[1], authority) == 200
        with socket.create_connection(http.getsockname(), 10) as plain:
            plain.sendall(get(b"/", HOST))
            assert plain.recv(1000).startswith(b"HTTP/1.1 308 ")


def test_a_socket_without_a_name_is_known_by_its_port(
    configured: Callable[..., dict[str, object]], origin: str, tmp_path: Path, authority: Authority
) -> None:
    https = listening()
    place = f"127.0.0.1:{https.getsockname()[1]}"
    listen = {"https": place, "http": False, "admin": False}
    config = configured({HOST: origin}, listen=listen, store=str(tmp_path / "store"))
    (tmp_path / "hopward.yml").write_text(yaml.safe_dump(config))
    with ServiceManager(tmp_path, {"unknown": https}) as manager:
        manager.start(["run", "-c", tmp_path / "hopward.yml"])
        assert status(https.getsockname()[1], authority) == 200


def test_a_restart_with_the_managers_sockets_turns_no_connection_away(
    file: Path, tmp_path: Path, authority: Authority
) -> None:
    https = listening()
    port = https.getsockname()[1]
    with ServiceManager(tmp_path, {"https": https}) as manager:
        service = manager.start(["run", "-c", file])
        service.send_signal(signal.SIGTERM)
        assert service.wait(20) == 0
        found: list[int] = []
        early = threading.Thread(target=lambda: found.append(status(port, authority)))
        early.start()
        manager.start(["run", "-c", file])
        early.join()
    assert found == [200]


def test_a_reload_and_an_upgrade_keep_the_managers_sockets(
    file: Path, tmp_path: Path, authority: Authority
) -> None:
    https = listening()
    with ServiceManager(tmp_path, {"https": https}) as manager:
        service = manager.start(["run", "-c", file])
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP):
            service.send_signal(number)
            manager.hears("RELOADING=1")
            manager.hears("READY=1")
            assert status(https.getsockname()[1], authority) == 200


def test_the_manager_hears_when_a_reload_begins_and_when_it_is_done(
    file: Path, tmp_path: Path
) -> None:
    """Type=notify-reload wants the time of the beginning, to tell it from an older word."""
    with ServiceManager(tmp_path) as manager:
        asked = time.monotonic_ns() // 1000
        manager.start(["run", "-c", file]).send_signal(signal.SIGHUP)
        begun = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", manager.hears("RELOADING=1"))
        assert begun is not None
        assert asked < int(begun[1]) < time.monotonic_ns() // 1000
        manager.hears("READY=1")


def test_a_reload_that_is_refused_is_done_as_well(file: Path, tmp_path: Path) -> None:
    with ServiceManager(tmp_path) as manager:
        service = manager.start(["run", "-c", file])
        file.write_text("sites: {")
        service.send_signal(signal.SIGHUP)
        manager.hears("RELOADING=1")
        manager.hears("READY=1")
        assert "reload-failed" in manager.errors()


def test_the_manager_hears_of_the_end(file: Path, tmp_path: Path) -> None:
    with ServiceManager(tmp_path) as manager:
        manager.start(["run", "-c", file]).send_signal(signal.SIGTERM)
        manager.hears("STOPPING=1")


def test_the_watchdog_is_fed_in_time_after_an_upgrade_too(file: Path, tmp_path: Path) -> None:
    with ServiceManager(tmp_path) as manager:
        service = manager.start(["run", "-c", file], WATCHDOG_USEC="1000000")
        manager.hears("WATCHDOG=1")
        service.send_signal(signal.SIGUSR2)
        manager.hears("READY=1")
        manager.hears("WATCHDOG=1")


def test_a_trial_that_takes_long_keeps_nobody_waiting(file: Path, tmp_path: Path) -> None:
    """Neither the watchdog nor the successor of a worker, nor the end."""
    with ServiceManager(tmp_path) as manager:
        service = manager.start(["run", "-c", file], WATCHDOG_USEC="1000000")
        worker = children(service.pid)[0]
        # Whoever opens it for reading waits for a writer.
        file.unlink()
        os.mkfifo(file)
        service.send_signal(signal.SIGUSR2)
        manager.hears("RELOADING=1")
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: not alive(worker), 60, "its end")
        wait_for(lambda: len([*filter(alive, children(service.pid))]) == 3, 60, "its successor")
        for _ in range(3):
            manager.hears("WATCHDOG=1")
        service.send_signal(signal.SIGTERM)
        assert service.wait(20) == 0
        assert "reload-failed" not in manager.errors()


def test_a_watchdog_that_waits_for_another_process_is_not_fed(file: Path, tmp_path: Path) -> None:
    with ServiceManager(tmp_path) as manager:
        service = manager.start(["run", "-c", file])
        service.send_signal(signal.SIGHUP)
        manager.hears("RELOADING=1")
        manager.hears("READY=1")
        assert not [said for said in manager.heard if said.startswith("WATCHDOG")]


def test_a_worker_that_is_stuck_is_replaced(
    file: Path, tmp_path: Path, authority: Authority
) -> None:
    with ServiceManager(tmp_path) as manager:
        service = manager.start(["run", "-c", file])
        stuck = children(service.pid)[0]
        os.kill(stuck, signal.SIGSTOP)
        wait_for(lambda: not alive(stuck), 60, "the end of the stuck worker")
        wait_for(lambda: len([*filter(alive, children(service.pid))]) == 2, 60, "its successor")
        assert '"event": "worker-stuck"' in manager.errors()
