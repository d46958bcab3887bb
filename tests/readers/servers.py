"""The servers by name: each notes, or has noted behind it, every whole request that it understood.

nginx, HAProxy and Caddy forward what they understood to h11, which notes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.programs import Program, accepts, free_port
from tests.readers.record import Record

ROOT = Path(__file__).parents[2]

NGINX = """\
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  merge_slashes off;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1;
      proxy_set_header Host $http_host; }}
  }}
}}
"""
HAPROXY = """\
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server one 127.0.0.1:{behind}
"""
CADDY = """\
{{
  admin off
  auto_https off
  persist_config off
}}
http://:{port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{behind}
}}
"""


class Server(NamedTuple):
    """A running server, and what was understood there."""

    port: int
    record: Record


Arguments = list[str | Path]


def _application(name: str) -> Callable[[int], Arguments]:
    return lambda port: [sys.executable, "-m", "tests.readers.applications", name, str(port)]


def _uvicorn(port: int) -> Arguments:
    options = ["--port", str(port), "--http", "httptools", "--log-level", "error"]
    return [sys.executable, "-m", "uvicorn", "tests.readers.applications:asgi", *options]


def _gunicorn(port: int) -> Arguments:
    options = ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "4"]
    return [sys.executable, "-m", "gunicorn", *options, "tests.readers.applications:wsgi"]


DIRECT: dict[str, Callable[[int], Arguments]] = {
    "h11": _application("h11"),
    "aiohttp": _application("aiohttp"),
    "uvicorn": _uvicorn,
    "gunicorn": _gunicorn,
}


def _caddy(file: Path) -> Arguments:
    options: Arguments = ["run", "--adapter", "caddyfile", "--config", file]
    return [Path(sys.executable).with_name("caddy"), *options]


FORWARDING: dict[str, tuple[str, Callable[[Path], Arguments]]] = {
    "nginx": (NGINX, lambda file: ["nginx", "-p", file.parent, "-c", file]),
    "haproxy": (HAPROXY, lambda file: ["haproxy", "-db", "-f", file]),
    "caddy": (CADDY, _caddy),
}


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Server]:
    """The server of that name, from `with` to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as running:
        direct = name if name in DIRECT else "h11"
        file, port = folder / "record", free_port()
        record = Record(file)
        environ = {"PYTHONPATH": str(ROOT), "RECORD": str(file), "HOME": str(folder)}
        arguments = DIRECT[direct](port)
        running.enter_context(
            Program(direct, arguments, folder, environ=environ, until=lambda: accepts(port))
        )
        if name in FORWARDING:
            front = free_port()
            configuration, command = FORWARDING[name]
            written = folder / f"{name}.conf"
            written.write_text(configuration.format(port=front, behind=port, folder=folder))
            forwards = Program(
                name, command(written), folder, environ=environ, until=lambda: accepts(front)
            )
            running.enter_context(forwards)
            port = front
        yield Server(port, record)
