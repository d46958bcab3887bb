"""The logs of a running proxy: every exchange once, no secret, and no harm where nobody reads."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h11
import pytest
import yaml
from OpenSSL import SSL

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.http_client import exchange, get
from tests.origins import Listener
from tests.programs import Hopward, Program, free_port, wait_for
from tests.tls_client import TLSAlertError, TLSClient, TruncatedError

HOST, OTHER, DEAD = "api.example.com", "other.example.com", "dead.example.com"
SECRET = "s3cr3tPassphrase"
CHECKOUT = Path(__file__).parents[2]

Configured = Callable[..., dict[str, object]]


class Origin(Listener):
    """Answers every request; those for /held when it is told to, those for /broken by half."""

    def __init__(self) -> None:
        super().__init__()
        self.held = threading.Semaphore(0)
        self.release = threading.Event()

    def serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            while line := stream.readline():
                while stream.readline().strip():
                    pass
                if b" /held" in line:
                    self.held.release()
                    self.release.wait(60)
                length = 200 if b" /broken" in line else 2
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nok" % length)
                if b" /broken" in line:
                    return


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin
        origin.release.set()


@pytest.fixture
def dial(authority: Authority) -> Callable[[int], TLSClient]:
    return lambda port: TLSClient(port, HOST, cafile=authority.pem)


Dial = Callable[[int], TLSClient]


def entries(*files: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def to(origin: Listener) -> dict[str, object]:
    return {HOST: f"http://127.0.0.1:{origin.port}"}


# How a connection ends that is not served to its end.
ENDED = (OSError, SSL.Error, TLSAlertError, TruncatedError, h11.RemoteProtocolError)


class Load:
    """Clients that ask without a pause, each for targets of its own, until told to end."""

    def __init__(self, dial: Dial, port: int, clients: int = 4) -> None:
        self.answered: list[str] = []
        self._dial, self._port = dial, port
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(clients)]

    def _ask(self, client: int) -> None:
        number = 0
        while not self._end.is_set():
            # a few on each connection, so that both workers get their share
            with suppress(*ENDED), self._dial(self._port) as connection:
                for _ in range(20):
                    number += 1
                    target = f"/{client}/{number}"
                    assert exchange(connection, get(target.encode(), HOST)).status == 200
                    self.answered.append(target)
                    if self._end.is_set():
                        return

    def wait_for_more(self, answers: int) -> None:
        enough = len(self.answered) + answers
        wait_for(lambda: len(self.answered) >= enough)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def test_an_exchange_is_a_line_with_what_it_was(front: Front, origin: Origin, dial: Dial) -> None:
    proxy = front(to(origin), access_log={})
    with dial(proxy.https) as client:
        content = b"a=1&b=2"
        request = get(b"/path?q=1", HOST, b"Content-Length: %d" % len(content), method=b"POST")
        exchange(client, request + content)
    wait_for(proxy.stdout_text)
    [line] = map(json.loads, proxy.stdout_text().splitlines())
    told = {
        name: line[name] for name in ("site", "client", "method", "target", "version", "status")
    }
    assert told == {
        "site": HOST,
        "client": "127.0.0.1",
        "method": "POST",
        "target": "/path?q=1",
        "version": "1.1",
        "status": 200,
    }
    assert line["bytes_received"] == len(content)
    assert line["bytes_sent"] > len(b"HTTP/1.1 200 OK\r\n\r\nok")
    assert line["upstream"] == f"http://127.0.0.1:{origin.port}"
    assert 0 < line["upstream_seconds"] <= line["seconds"] < 60
    assert (line["tls"], line["group"], line["resumed"]) == ("TLSv1.3", "X25519MLKEM768", False)
    assert line["error"] is None


def test_requests_that_are_alike_have_lines_that_are_alike(
    front: Front, origin: Origin, dial: Dial
) -> None:
    """The first is read and judged, those that follow are known by their bytes."""
    proxy = front(to(origin), access_log={})
    targets = [f"/announce?port={number}&token=***" for number in range(30)]
    with dial(proxy.https) as client:
        for target in targets:
            asked = target.replace("***", SECRET).encode()
            assert exchange(client, get(asked, HOST)).status == 200
    wait_for(lambda: proxy.stdout_text().count("\n") == len(targets))
    lines = [json.loads(line) for line in proxy.stdout_text().splitlines()]
    assert [line.pop("target") for line in lines] == targets
    assert len({line.pop("request_id") for line in lines}) == len(targets)
    for line in lines:
        assert 0 < line.pop("upstream_seconds") <= line.pop("seconds") < 60
        assert line.pop("time")
    assert lines == [lines[0]] * len(targets)


def test_each_exchange_is_logged_once_also_those_under_way_at_the_end(
    front: Front, origin: Origin, dial: Dial
) -> None:
    proxy = front(to(origin), access_log={}, workers=2)
    with Load(dial, proxy.https) as load, dial(proxy.https) as late:
        load.wait_for_more(200)
        late.send(get(b"/held", HOST))
        assert origin.held.acquire(timeout=60)
        proxy.process.send_signal(signal.SIGTERM)
        wait_for(lambda: '"stopping"' in proxy.stderr_text())
        origin.release.set()
        assert b"200 OK" in late.recv_until(b"ok")
    assert proxy.process.wait(60) == 0
    logged = Counter(json.loads(line)["target"] for line in proxy.stdout_text().splitlines())
    assert logged["/held"] == 1
    assert set(load.answered) <= logged.keys()
    assert set(logged.values()) == {1}
    assert '"access-log' not in proxy.stderr_text()


def test_what_is_cut_off_at_the_end_of_drain_is_logged(
    front: Front, origin: Origin, dial: Dial
) -> None:
    proxy = front(to(origin), access_log={}, timeouts={"drain": "500ms"})
    with dial(proxy.https) as late:
        late.send(get(b"/held", HOST))
        assert origin.held.acquire(timeout=60)
        assert proxy.stop() == 0
    [line] = map(json.loads, proxy.stdout_text().splitlines())
    assert (line["target"], line["upstream_seconds"]) == ("/held", None)
    assert line["error"]


def test_rotation_loses_no_line(front: Front, origin: Origin, dial: Dial, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    proxy = front(to(origin), access_log={"to": str(file)}, workers=2)
    moved = []
    with Load(dial, proxy.https) as load:
        for number in range(3):
            load.wait_for_more(100)
            moved.append(file.rename(f"{file}.{number}"))
            proxy.process.send_signal(signal.SIGUSR1)
            wait_for(lambda: file.exists() and file.stat().st_size)
        load.wait_for_more(100)
    assert proxy.stop() == 0
    logged = Counter(entry["target"] for entry in entries(file, *moved))
    assert logged == Counter(load.answered)
    assert all(path.stat().st_size for path in (file, *moved))


def test_a_file_that_was_removed_is_made_anew(
    front: Front, origin: Origin, dial: Dial, tmp_path: Path
) -> None:
    file = tmp_path / "access.log"
    proxy = front(to(origin), access_log={"to": str(file)})
    with Load(dial, proxy.https, clients=1) as load:
        wait_for(lambda: file.exists() and file.stat().st_size)
        file.unlink()
        load.wait_for_more(1)
        wait_for(lambda: file.exists() and file.stat().st_size)


@pytest.mark.parametrize("kind", ["json", "text"])
def test_a_secret_stands_in_no_log_whatever_becomes_of_its_request(
    front: Front, origin: Origin, dial: Dial, kind: str
) -> None:
    sites = {
        **to(origin),
        OTHER: f"http://127.0.0.1:{origin.port}",
        DEAD: f"http://127.0.0.1:{free_port()}",
        HOST: {
            "to": f"http://127.0.0.1:{origin.port}",
            "routes": {"/dead": f"http://127.0.0.1:{free_port()}"},
        },
    }
    redact = ["token", "/announce/"]
    proxy = front(
        sites, access_log={"format": kind, "redact": redact}, timeouts={"response_head": "500ms"}
    )
    secret = SECRET.encode()
    requests = [
        get(b"/?token=" + secret, HOST),
        get(b"/?a=1;t%6Fken=" + secret, HOST),
        get(b"/announce/" + secret + b"?a=1", HOST),
        get(b"https://" + HOST.encode() + b"/?token=" + secret, HOST),
        get(b"/dead?token=" + secret, HOST),
        get(b"/broken?token=" + secret, HOST),
        get(b"/held?token=" + secret, HOST),
        get(b"/?token=" + secret, OTHER),
        get(b"/?token=" + secret, "nobody.example.com"),
        get(b"/?token=" + secret, HOST, method=b"TRACE"),
        get(b"/?token=" + secret, HOST, b"Max-Forwards: 0", method=b"OPTIONS"),
        get(b"/?token=" + secret, HOST, b"Content-Length: x"),
        get(b"/?token=" + secret + b"x" * 40_000, HOST),
        get(b"/?token=" + secret, HOST, b"X-Token: " + secret, b"Cookie: a=" + secret),
        get(b"/?token=" + secret, HOST, b"Connection: close").replace(b"HTTP/1.1", b"HTTP/3.7"),
        get(b"/?token=" + secret, HOST)[:-20],
    ]
    for request in requests:
        with dial(proxy.https) as client:
            client.send(request)
            client.half_close()
            with suppress(*ENDED):
                client.recv_all()
    wait_for(lambda: len(proxy.stdout_text().splitlines()) >= len(requests) - 4)
    origin.release.set()
    assert proxy.stop() == 0
    assert "***" in proxy.stdout_text()
    assert SECRET not in proxy.output()


# Where nobody reads.


@contextmanager
def unread(path: Path) -> Iterator[Path]:
    """A pipe that is full and that nobody reads."""
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
        with suppress(BlockingIOError):
            while True:
                os.write(end, b"\n" * 512)
        yield path
    finally:
        os.close(end)


class Elsewhere(Program):
    """The proxy with its standard streams redirected as a shell would do it."""

    def __init__(self, folder: Path, config: dict[str, object], redirections: str) -> None:
        self.https = free_port()
        listen = {"https": f"127.0.0.1:{self.https}", "http": False, "admin": False}
        self.file = folder / "hopward.yml"
        self.file.write_text(
            yaml.safe_dump({"store": str(folder / "store"), **config, "listen": listen})
        )
        shell = ["sh", "-c", f'exec "$@" {redirections}', "sh"]
        command: list[str | Path] = [*shell, sys.executable, "-m", "proxy", "run", "-c", self.file]
        super().__init__(
            "hopward", command, folder, environ={"PYTHONPATH": str(CHECKOUT)}, until=self._serves
        )

    def _serves(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.https), 5):
            return True
        return False


def serves(proxy: Elsewhere | Hopward, dial: Dial, requests: int = 50) -> None:
    for number in range(requests):
        with dial(proxy.https) as client:
            assert exchange(client, get(b"/%d" % number, HOST)).status == 200


def test_an_access_log_that_nobody_reads_stops_no_traffic(
    configured: Configured, origin: Origin, dial: Dial, tmp_path: Path
) -> None:
    with unread(tmp_path / "pipe") as pipe:
        config = configured(to(origin), access_log={})
        with Elsewhere(tmp_path, config, f"> {pipe}") as proxy:
            serves(proxy, dial)
            assert proxy.stop() == 0
            events = [json.loads(line) for line in proxy.stderr_text().splitlines()]
    assert {"event": "access-log-lost", "lines": 50}.items() <= events[-1].items()


def test_an_stderr_that_nobody_reads_stops_no_traffic(
    configured: Configured, origin: Origin, dial: Dial, tmp_path: Path
) -> None:
    with unread(tmp_path / "pipe") as pipe:
        # each worker has something to say: that its access log is lost
        config = configured(to(origin), access_log={"to": "/dev/full"}, workers=2)
        with Elsewhere(tmp_path, config, f"2> {pipe}") as proxy:
            serves(proxy, dial)
            proxy.process.send_signal(signal.SIGHUP)
            proxy.file.write_text("sites: {}")
            proxy.process.send_signal(signal.SIGHUP)
            serves(proxy, dial)
            assert proxy.stop() == 0


@pytest.mark.parametrize("redirections", [">&- 2>&-", "<&- >&- 2>&-", "2> /dev/full > /dev/full"])
def test_standard_streams_that_are_closed_harm_nobody(
    configured: Configured, origin: Origin, dial: Dial, tmp_path: Path, redirections: str
) -> None:
    config = configured(to(origin), access_log={}, workers=2)
    with Elsewhere(tmp_path, config, redirections) as proxy:
        serves(proxy, dial)
        assert proxy.stop() == 0


def test_a_reader_that_leaves_stops_no_traffic(
    configured: Configured, origin: Origin, dial: Dial, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    config = configured(to(origin), access_log={}, workers=2)
    with Elsewhere(tmp_path, config, f"> {pipe} 2>&1") as proxy:
        os.close(reader)
        serves(proxy, dial)
        assert proxy.stop() == 0


def test_a_full_disk_stops_no_traffic_and_is_told_of_once(
    front: Front, origin: Origin, dial: Dial
) -> None:
    proxy = front(to(origin), access_log={"to": "/dev/full"})
    serves(proxy, dial)
    wait_for(lambda: "access-log-failed" in proxy.stderr_text())
    serves(proxy, dial)
    assert proxy.stop() == 0
    events = [json.loads(line) for line in proxy.stderr_text().splitlines()]
    [failed] = [event for event in events if event["event"].startswith("access-log")]
    assert (failed["to"], failed["error"]) == ("/dev/full", "No space left on device")


def test_a_folder_that_is_missing_is_one_clear_line(configured: Configured, tmp_path: Path) -> None:
    file = tmp_path / "hopward.yml"
    log = tmp_path / "logs" / "access.log"
    config = configured({HOST: "http://127.0.0.1:1"}, access_log={"to": str(log)})
    file.write_text(yaml.safe_dump({"store": str(tmp_path / "store"), **config}))
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "run", "-c", file],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{file}:")
    assert line.endswith(f": there is no folder '{log.parent}' for this file; make it")
