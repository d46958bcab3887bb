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

PLAIN, TLS, UNIX = "plain.example.com", "tls.example.com", "unix.example.com"

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


# Behind hopward. What the origin has understood is its answer.


def understood(
    front: Front, authority: Authority, origins: dict[str, str], version: str
) -> dict[str, bytes]:
    """What each site's origin says of who asks it, and of the address that was asked."""
    ca = str(authority.pem)
    sites = {
        name: {"to": {"url": url, "proxy_protocol": version} | ({"ca": ca} if name == TLS else {})}
        for name, url in origins.items()
    }
    proxy = front(sites)
    answers = {}
    for name in origins:
        with TLSClient(proxy.https, name, cafile=authority.pem, source=CLIENT) as client:
            said = exchange(client, get(b"/", name)).content
            address, port = client.socket.getsockname()
        expected = f"{address} {port} 127.0.0.1 {proxy.https}".encode()
        answers[name] = b"as it is" if said.strip() == expected else said
    return answers


@with_haproxy
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_is_told_who_connects_to_what(
    front: Front, authority: Authority, tmp_path: Path, version: str
) -> None:
    plain, tls, unix = free_port(), free_port(), tmp_path / "haproxy.sock"
    pair = authority.pair("localhost")
    both = tmp_path / "both.pem"
    both.write_bytes(pair.cert.read_bytes() + pair.key.read_bytes())
    sections = (
        "frontend told\n  mode http\n"
        f"  bind 127.0.0.1:{plain} accept-proxy\n"
        f"  bind 127.0.0.1:{tls} accept-proxy ssl crt {both}\n"
        f"  bind unix@{unix} accept-proxy\n"
        "  http-request return status 200 content-type text/plain "
        'lf-string "%[src] %[src_port] %[dst] %[dst_port]"\n'
    )
    origins = {
        PLAIN: f"http://127.0.0.1:{plain}",
        TLS: f"https://localhost:{tls}",
        UNIX: f"unix:{unix}",
    }
    with haproxy(tmp_path, plain, sections):
        told = understood(front, authority, origins, version)
    assert told == dict.fromkeys(origins, b"as it is")


@with_nginx
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_is_told_who_connects_to_what(
    front: Front, authority: Authority, tmp_path: Path, version: str
) -> None:
    plain, tls, unix = free_port(), free_port(), tmp_path / "nginx.sock"
    pair = authority.pair("localhost")
    section = (
        "http { access_log off; server {"
        f"listen 127.0.0.1:{plain} proxy_protocol; listen unix:{unix} proxy_protocol;"
        f"listen 127.0.0.1:{tls} ssl proxy_protocol;"
        f"ssl_certificate {pair.cert}; ssl_certificate_key {pair.key};"
        "set_real_ip_from 127.0.0.0/8; set_real_ip_from unix:; real_ip_header proxy_protocol;"
        'return 200 "$remote_addr $remote_port '
        '$proxy_protocol_server_addr $proxy_protocol_server_port"; } }'
    )
    origins = {
        PLAIN: f"http://127.0.0.1:{plain}",
        TLS: f"https://localhost:{tls}",
        UNIX: f"unix:{unix}",
    }
    with nginx(tmp_path, plain, section):
        told = understood(front, authority, origins, version)
    assert told == dict.fromkeys(origins, b"as it is")
