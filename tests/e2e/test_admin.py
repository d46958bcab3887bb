"""The admin listener: whether all is well, and figures for Prometheus."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

import pytest

from proxy.admin_names import loopback
from proxy.config import Address, Config
from tests.authority import Authority
from tests.programs import Hopward, free_port

HOST = "api.example.com"


def ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def configured(admin: str, sites: dict[str, object]) -> dict[str, object]:
    return {
        "listen": {"https": "127.0.0.1:0", "http": False, "admin": admin},
        "workers": 2,
        "acme": {"directory": "https://127.0.0.1:1/"},
        "sites": sites,
    }


@pytest.fixture
def own(authority: Authority) -> dict[str, object]:
    return {HOST: {"to": "http://127.0.0.1:1", "tls": authority.pair(HOST).tls()}}


def test_all_is_well_while_every_certificate_is_valid(
    tmp_path: Path, own: dict[str, object]
) -> None:
    port = free_port()
    with Hopward(tmp_path, configured(f"127.0.0.1:{port}", own)):
        assert ask(port, "/health") == (200, "ok\n")


def test_a_host_without_a_certificate_is_named(tmp_path: Path, own: dict[str, object]) -> None:
    port = free_port()
    sites = {**own, "new.example.com": {"to": "http://127.0.0.1:1"}}
    config = {**configured(f"127.0.0.1:{port}", sites), "store": str(tmp_path / "store")}
    with Hopward(tmp_path, config):
        status, text = ask(port, "/health")
    assert (status, text) == (503, "new.example.com: there is no certificate yet\n")


def test_the_end_of_each_certificate_is_told_to_prometheus(
    tmp_path: Path, own: dict[str, object]
) -> None:
    port = free_port()
    with Hopward(tmp_path, configured(f"127.0.0.1:{port}", own)):
        status, text = ask(port, "/metrics")
    assert status == 200
    [end] = [line for line in text.splitlines() if line.startswith("hopward_certificate_not_after")]
    assert end.startswith(f'hopward_certificate_not_after_seconds{{host="{HOST}"}} ')


def test_anything_else_is_404(tmp_path: Path, own: dict[str, object]) -> None:
    port = free_port()
    with Hopward(tmp_path, configured(f"127.0.0.1:{port}", own)):
        assert ask(port, "/nothing")[0] == 404


def test_a_client_that_asks_nothing_is_parted_from(tmp_path: Path, own: dict[str, object]) -> None:
    port = free_port()
    config = {**configured(f"127.0.0.1:{port}", own), "timeouts": {"request_head": "400ms"}}
    with (
        Hopward(tmp_path, config),
        socket.create_connection(("127.0.0.1", port), 30) as silent,
        socket.create_connection(("127.0.0.1", port), 30) as slow,
    ):
        slow.sendall(b"GET /health HTTP/1.1\r\nHost:")
        assert silent.recv(1) == b""
        assert slow.makefile("rb").readline() == b"HTTP/1.1 408 Request Timeout\r\n"


def test_by_default_only_this_machine_reaches_it() -> None:
    admin = Config.model_validate({"sites": {HOST: "http://127.0.0.1:1"}}).listen.admin
    assert isinstance(admin, Address)
    assert loopback(admin.host)


def test_a_unix_socket_takes_the_place_of_one_left_behind(
    tmp_path: Path, own: dict[str, object]
) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with (
        Hopward(tmp_path, configured(f"unix:{path}", own)),
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.connect(str(path))
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
