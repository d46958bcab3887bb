"""Nothing of what the proxy does takes root's rights; its ports take one, or none at all."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.authority import Authority
from tests.http_client import exchange, get
from tests.origins import Listener, answer_ok
from tests.programs import Hopward, children, requires
from tests.service_manager import ServiceManager
from tests.tls_client import PlainClient, TLSClient

HOST = "api.example.com"
# An address of this machine's own at which nobody else listens.
ADDRESS = "127.0.0.77"
SETPRIV = shutil.which("setpriv") or "setpriv"
# linux/capability.h
NET_BIND_SERVICE = 1 << 10

Configuration = Callable[..., dict[str, object]]
pytestmark = requires("setpriv", "apt-get install util-linux")
as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs somebody who may open port 443: run it as root"
)


@pytest.fixture
def configuration(
    configured: Callable[..., dict[str, object]], tmp_path: Path
) -> Iterator[Configuration]:
    with Listener(answer_ok) as origin:

        def write(**settings: object) -> dict[str, object]:
            sites = {HOST: f"http://127.0.0.1:{origin.port}"}
            return {"store": str(tmp_path / "store"), **configured(sites, **settings)}

        yield write


def with_no_right_but(*rights: str) -> list[str]:
    """Become a program that has these capabilities and no other, and gets none by any way."""
    allowed = ",".join(["-all", *(f"+{right}" for right in rights)])
    if os.geteuid() != 0:
        return [SETPRIV, "--no-new-privs"]
    return [SETPRIV, "--no-new-privs", f"--bounding-set={allowed}", f"--inh-caps={allowed}"]


def rights(pid: int) -> set[int]:
    """The capabilities that a process and its children have, each as a sum of bits."""
    files = [Path(f"/proc/{each}/status") for each in (pid, *children(pid))]
    found = [re.search(r"^CapEff:\s+(\w+)", file.read_text(), re.MULTILINE) for file in files]
    return {int(each[1], 16) for each in found if each is not None}


def test_without_any_of_roots_rights_all_is_served(
    configuration: Configuration, tmp_path: Path, authority: Authority
) -> None:
    with Hopward(tmp_path, configuration(), wrap=with_no_right_but()) as proxy:
        with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
            assert exchange(client, get(b"/", HOST)).status == 200
        assert rights(proxy.pid) == {0}


@as_root
def test_ports_80_and_443_take_one_right_and_no_other(
    configuration: Configuration, tmp_path: Path, authority: Authority
) -> None:
    listen = {"https": f"{ADDRESS}:443", "http": f"{ADDRESS}:80", "admin": False}
    config = configuration(listen=listen)
    with Hopward(tmp_path, config, wrap=with_no_right_but("net_bind_service")) as proxy:
        with TLSClient(443, HOST, cafile=authority.pem, host=ADDRESS) as client:
            assert exchange(client, get(b"/", HOST)).status == 200
        with PlainClient(80, ADDRESS) as plain:
            assert exchange(plain, get(b"/", HOST)).field("location") == f"https://{HOST}/".encode()
        assert rights(proxy.pid) == {NET_BIND_SERVICE}


@as_root
def test_ports_that_the_service_manager_has_opened_take_no_right_at_all(
    configuration: Configuration, tmp_path: Path, authority: Authority
) -> None:
    file = tmp_path / "hopward.yml"
    file.write_text(yaml.safe_dump(configuration()))
    sockets = {"https": socket.create_server((ADDRESS, 443), backlog=128)}
    with ServiceManager(tmp_path, sockets) as manager:
        service = manager.start(["run", "-c", file], wrap=with_no_right_but())
        with TLSClient(443, HOST, cafile=authority.pem, host=ADDRESS) as client:
            assert exchange(client, get(b"/", HOST)).status == 200
        assert rights(service.pid) == {0}
