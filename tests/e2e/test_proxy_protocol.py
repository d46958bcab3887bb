"""The PROXY protocol with those who speak it: HAProxy and nginx, on either side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST
from tests.http_client import exchange, get
from tests.programs import Hopward, Program, accepts, free_port, requires
from tests.scripted_origin import OK, ScriptedOrigin
from tests.tls_client import PlainClient, TLSClient

CLIENT = "127.0.0.9"
with_haproxy = requires("haproxy", "apt-get install haproxy")
with_nginx = requires("nginx", "apt-get install nginx libnginx-mod-stream")


def haproxy(folder: Path, port: int, sections: str) -> Program:
    """HAProxy with these sections, once it accepts on `port`."""
    patience = "".join(f"  timeout {each} 9s\n" for each in ("connect", "client", "server"))
    file = folder / "haproxy.cfg"
    file.write_text(f"defaults\n{patience}{sections}")
    command = ["haproxy", "-db", "-f", str(file)]
    return Program("haproxy", command, folder, until=lambda: accepts(port))


def nginx(folder: Path, port: int, section: str, modules: str = "") -> Program:
    """nginx with this section, once it accepts on `port`."""
    file = folder / "nginx.conf"
    file.write_text(
        f"{modules} daemon off; master_process off; pid {folder}/nginx.pid;"
        f"error_log stderr; events {{}} {section}"
    )
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(file)]
    return Program("nginx", command, folder, until=lambda: accepts(port))


def client_seen(port: int, authority: Authority, origin: ScriptedOrigin) -> list[bytes]:
    """Which address the origin is told of a client at CLIENT that asks at `port`."""
    with TLSClient(port, HOST, cafile=authority.pem, source=CLIENT) as client:
        client.send(get(b"/", HOST))
        call = origin.accept()
        head = call.head()
        call.send(OK)
        client.recv_until(b"ok")
    call.hang_up()
    return head.values("x-forwarded-for")


def port_80_answers(port: int) -> int:
    """The status that a client at CLIENT gets for a request in the clear at `port`."""
    with PlainClient(port, source=CLIENT) as client:
        return exchange(client, get(b"/", HOST)).status


# Before hopward.


@pytest.fixture(scope="module")
def origin() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as listening:
        yield listening


@pytest.fixture(scope="module")
def behind(origin: ScriptedOrigin, front: Front) -> Hopward:
    return front({HOST: origin.url}, trusted_proxies=["127.0.0.1"])


@with_haproxy
@pytest.mark.parametrize("word", ["send-proxy", "send-proxy-v2"])
def test_haproxy_announces_its_client(
    behind: Hopward, origin: ScriptedOrigin, authority: Authority, tmp_path: Path, word: str
) -> None:
    port, plain = free_port(), free_port()
    sections = (
        f"listen tls\n  bind 127.0.0.1:{port}\n  server hopward 127.0.0.1:{behind.https} {word}\n"
        f"listen http\n  bind 127.0.0.1:{plain}\n  server hopward 127.0.0.1:{behind.http} {word}\n"
    )
    with haproxy(tmp_path, port, sections):
        assert client_seen(port, authority, origin) == [CLIENT.encode()]
        assert port_80_answers(plain) == 308


@with_nginx
def test_nginx_announces_its_client(
    behind: Hopward, origin: ScriptedOrigin, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    passing = f"listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{behind.https}; proxy_protocol on;"
    modules = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"
    with nginx(tmp_path, port, f"stream {{ server {{ {passing} }} }}", modules):
        assert client_seen(port, authority, origin) == [CLIENT.encode()]
