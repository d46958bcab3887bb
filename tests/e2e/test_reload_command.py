"""`hopward reload` beside a proxy that runs: what is served once the command has returned."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.e2e.conftest import LISTEN
from tests.http_client import exchange, get
from tests.origins import Listener, answer_ok
from tests.programs import Hopward, wait_for
from tests.tls_client import TLSClient

CHECKOUT = Path(__file__).parents[2]
FIRST, SECOND = "first.example.com", "second.example.com"
Configured = Callable[..., dict[str, object]]


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with Listener(answer_ok) as listener:
        yield f"http://127.0.0.1:{listener.port}"


@pytest.fixture
def write(tmp_path: Path, configured: Configured, origin: str) -> Callable[..., dict[str, object]]:
    """A configuration that serves these names."""

    def configuration(*names: str, **settings: object) -> dict[str, object]:
        sites = dict.fromkeys(names, origin)
        return {"store": str(tmp_path / "store"), **configured(sites, **settings)}

    return configuration


@pytest.fixture
def proxy(tmp_path: Path, write: Callable[..., dict[str, object]]) -> Iterator[Hopward]:
    with Hopward(tmp_path, write(FIRST)) as running:
        yield running


def reload(proxy: Hopward) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", "reload", "-c", proxy.file],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        cwd=proxy.folder,
        capture_output=True,
        text=True,
        timeout=90,
    )


def ask(port: int, host: str, authority: Authority) -> bytes:
    with TLSClient(port, host, cafile=authority.pem) as client:
        return exchange(client, get(b"/", host)).content


def test_once_it_has_returned_the_new_site_is_served(
    proxy: Hopward, write: Callable[..., dict[str, object]], authority: Authority
) -> None:
    for _ in range(2):
        proxy.write(write(FIRST, SECOND))
        done = reload(proxy)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"process {proxy.pid} serves by {proxy.file} as it is now\n"
        assert ask(proxy.https, FIRST, authority) == b"ok"
        assert ask(proxy.https, SECOND, authority) == b"ok"


def test_a_bad_file_is_2_and_changes_nothing(proxy: Hopward, authority: Authority) -> None:
    proxy.write("sites: {a.example: nonsense}\nworkerz: 2\n")
    done = reload(proxy)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)
    assert ask(proxy.https, FIRST, authority) == b"ok"
    # The proxy itself was not asked.
    assert not proxy.says("reload-failed")


def test_what_only_the_proxy_can_find_wrong_is_2_in_its_own_words(
    proxy: Hopward, write: Callable[..., dict[str, object]], authority: Authority
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        proxy.write(write(FIRST, listen={**LISTEN, "http": taken}))
        done = reload(proxy)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"cannot listen on {taken}: another program listens there")
    assert ask(proxy.https, FIRST, authority) == b"ok"


def test_a_proxy_is_found_after_an_upgrade_in_place(
    proxy: Hopward, write: Callable[..., dict[str, object]], authority: Authority
) -> None:
    os.kill(proxy.pid, signal.SIGUSR2)
    wait_for(lambda: proxy.stderr_text().count('"event": "ready"') == 2, what="the successor")
    proxy.write(write(FIRST, SECOND))
    assert reload(proxy).returncode == 0
    assert ask(proxy.https, SECOND, authority) == b"ok"


def test_once_the_proxy_has_ended_none_is_found(proxy: Hopward) -> None:
    assert proxy.stop() == 0
    done = reload(proxy)
    assert done.returncode == 1
    assert done.stderr.startswith("hopward: no running hopward was found on ")


def test_a_proxy_in_local_use_is_found_too(
    tmp_path: Path, write: Callable[..., dict[str, object]]
) -> None:
    config = write(FIRST)
    del config["store"]
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    with Hopward(tmp_path, config, "--local", environ=home) as proxy:
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "reload", "-c", proxy.file],
            env={**os.environ, **home, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert (done.returncode, done.stderr) == (0, "")
