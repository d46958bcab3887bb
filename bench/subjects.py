"""The proxies under test, each started alone on one core with one worker and no access log."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HOST = "localhost"


class Place(NamedTuple):
    """What a subject needs: a folder of its own, where to listen, what to proxy to."""

    folder: Path
    port: int
    upstream: int
    certificate: Path
    key: Path


class Subject(NamedTuple):
    """A running proxy; its CPU time is that of all its processes."""

    name: str
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """User and system time so far, of the process and all below it."""
        ticks = sum(_ticks(pid) for pid in _family(self.pid))
        return ticks / os.sysconf("SC_CLK_TCK")


def hopward(place: Place) -> list[str]:
    """This proxy, as shipped."""
    file = place.folder / "hopward.yml"
    file.write_text(
        f"listen: {{https: '127.0.0.1:{place.port}', http: false}}\n"
        f"workers: 1\nstore: {place.folder / 'store'}\n"
        f"sites:\n  {HOST}:\n    to: http://127.0.0.1:{place.upstream}\n"
        f"    tls: {{cert: {place.certificate}, key: {place.key}}}\n"
    )
    return [sys.executable, "-m", "proxy", "run", "-c", str(file), "--log-level", "error"]


def nginx(place: Place) -> list[str]:
    """nginx with TLS 1.3 and kept upstream connections, as a careful operator sets it."""
    file = place.folder / "nginx.conf"
    file.write_text(_NGINX % {**place._asdict(), "host": HOST})
    return ["nginx", "-c", str(file)]


def haproxy(place: Place) -> list[str]:
    """HAProxy with one thread."""
    pem = place.folder / "pair.pem"
    pem.write_bytes(place.certificate.read_bytes() + place.key.read_bytes())
    file = place.folder / "haproxy.cfg"
    file.write_text(_HAPROXY % {**place._asdict(), "pem": pem})
    return ["haproxy", "-f", str(file)]


def upstream_command(folder: Path, port: int) -> list[str]:
    """An nginx that answers an announce from memory."""
    file = folder / "upstream.conf"
    file.write_text(_UPSTREAM % {"folder": folder, "port": port})
    return ["nginx", "-c", str(file)]


PEERS = {"nginx": nginx, "haproxy": haproxy}
INSTALL = {name: f"apt-get install {name}" for name in (*PEERS, "wrk")}


def missing() -> list[str]:
    """The programs that are not on this machine."""
    return [name for name in INSTALL if shutil.which(name) is None]


@contextmanager
def running(name: str, command: list[str], port: int, core: int) -> Iterator[Subject]:
    """Run a server pinned to a core until the block ends."""

    def pin() -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {core})

    process = subprocess.Popen(command, preexec_fn=pin, stderr=subprocess.DEVNULL)
    try:
        _await_port(port)
        yield Subject(name, port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


_UPSTREAM = """
worker_processes 1; daemon off; pid %(folder)s/upstream.pid; error_log /dev/null;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 100000000;
  server {
    listen 127.0.0.1:%(port)d;
    location / {
      default_type text/plain;
      return 200 "d8:completei0e10:incompletei1e8:intervali120e5:peers18:000000111111222222e";
    }
  }
}
"""

_NGINX = """
worker_processes 1; daemon off; pid %(folder)s/nginx.pid; error_log /dev/null;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 100000000;
  upstream tracker {
    server 127.0.0.1:%(upstream)d; keepalive 64; keepalive_requests 100000000;
  }
  server {
    listen 127.0.0.1:%(port)d ssl;
    server_name %(host)s;
    ssl_certificate %(certificate)s; ssl_certificate_key %(key)s; ssl_protocols TLSv1.3;
    location / {
      proxy_pass http://tracker; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
    }
  }
}
"""

_HAPROXY = """
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend tls
  bind 127.0.0.1:%(port)d ssl crt %(pem)s ssl-min-ver TLSv1.3
  http-request set-header X-Forwarded-For %%[src]
  http-request set-header X-Forwarded-Proto https
  default_backend tracker
backend tracker
  server tracker 127.0.0.1:%(upstream)d
"""
