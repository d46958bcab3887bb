"""What passes is told to nobody, and what is kept is open to its owner only, at every moment."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from tests.authority import Authority
from tests.http_client import exchange, get
from tests.origins import Listener
from tests.programs import Hopward, Program, free_port, requires, wait_for
from tests.tls_client import TLSClient

HOST = "app.example.com"
SECRET = b"s3cr3tEverywhere"


def answer_with_secrets(connection: socket.socket) -> None:
    while connection.recv(65536):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=%b\r\nX-Answer: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (SECRET, SECRET, len(SECRET), SECRET)
        )


def test_no_field_body_or_key_is_logged_even_to_whoever_debugs(
    configured: Callable[..., dict[str, object]], authority: Authority, tmp_path: Path
) -> None:
    with Listener(answer_with_secrets) as origin:
        sites = {
            HOST: {
                "to": f"http://127.0.0.1:{origin.port}",
                "routes": {"/dead": f"http://127.0.0.1:{free_port()}"},
                "request_headers": {"X-Set": SECRET.decode()},
            }
        }
        config = configured(sites, store=str(tmp_path / "store"), access_log={"to": "stdout"})
        named = [b"Authorization", b"Cookie", b"X-Token", b"Referer", b"User-Agent", b"Via", SECRET]
        fields = [name + b": " + SECRET for name in named]
        length = b"Content-Length: %d" % len(SECRET)
        with Hopward(tmp_path, config, "--log-level", "debug") as proxy:
            for target in [b"/", b"/dead"]:
                with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
                    request = get(target, HOST, *fields, length, method=b"POST")
                    exchange(client, request + SECRET)
            with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
                client.send(get(b"/", HOST, b"Bad\x01: " + SECRET))
                client.recv_all()
            proxy.stop()
            said = proxy.output()
    assert '"status":' in said
    assert SECRET.decode() not in said
    assert "PRIVATE KEY" not in said


@requires("strace", "apt-get install strace")
def test_no_file_of_the_store_is_open_to_others_at_any_moment(tmp_path: Path) -> None:
    store, trace = tmp_path / "store", tmp_path / "trace"
    file = tmp_path / "hopward.yml"
    file.write_text(
        f"store: {store}\n"
        'listen: {https: "127.0.0.1:0", http: "127.0.0.1:0", admin: false}\n'
        f"sites: {{{HOST}: {{to: http://127.0.0.1:1, tls: internal}}}}\n"
    )
    calls = "trace=openat,creat,mkdir,mkdirat,chmod,fchmod,fchmodat"
    serve: list[str | Path] = [sys.executable, "-m", "proxy", "run", "-c", file]
    arguments: list[str | Path] = ["-f", "-o", trace, "-e", calls, "-s", "400", *serve]
    environ = {"PYTHONPATH": str(Path(__file__).parents[2])}
    with Program("strace", ["strace", *arguments], tmp_path, environ=environ) as program:
        wait_for(lambda: program.says("ready"), what="the proxy being ready")
    own = dict[str, int]()
    for line in trace.read_text().splitlines():
        made = re.search(r'"([^"]*)", (?:[^"]*\W)?(0\d+)(?:\)| <unfinished)', line)
        if made is not None and made[1].startswith(str(store)):
            own[made[1]] = own.get(made[1], 0) | int(made[2], 8)
    assert own[str(store)] == 0o700
    assert [path for path in own if ".key" in path], own
    assert {path: mode for path, mode in own.items() if mode & 0o077} == {}
