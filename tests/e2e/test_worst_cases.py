"""What the machine can do to a proxy: it serves on what it can, says once what is wrong, and is
well again when the machine is."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority
from tests.http_client import exchange, get
from tests.origins import Listener, answer_ok
from tests.programs import Hopward, ProgramEndedError, alive, wait_for
from tests.tls_client import TLSClient, TruncatedError

HOST = "app.example.com"
AUTOMATIC = "automatic.example.com"
pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="needs prlimit(2): Linux has it"
)


class Proxy(Hopward):
    """A proxy and a client's way to it."""

    cafile: Path

    def connect(self) -> TLSClient:
        return TLSClient(self.https, HOST, cafile=self.cafile)

    def asked(self, client: TLSClient | None = None) -> int:
        """The status of one exchange, on a connection of its own where none is given."""
        if client is not None:
            return exchange(client, get(b"/", HOST)).status
        with self.connect() as fresh:
            return exchange(fresh, get(b"/", HOST)).status

    def events(self, name: str) -> list[dict[str, Any]]:
        """All events of that name so far."""
        lines = self.stderr_text().splitlines(keepends=True)
        told = [json.loads(line) for line in lines if line.endswith("}\n")]
        return [each for each in told if each["event"] == name]

    def hears(self, name: str, count: int = 1) -> dict[str, Any]:
        """Wait until the event has been told so often; the last one."""
        wait_for(lambda: len(self.events(name)) >= count, what=f"the event {name}")
        return self.events(name)[-1]


@pytest.fixture
def proxy(
    tmp_path: Path, configured: Callable[..., dict[str, object]], authority: Authority
) -> Iterator[Callable[..., Proxy]]:
    """Starts a proxy before an origin that answers `ok`."""
    with ExitStack() as running:
        origin = running.enter_context(Listener(answer_ok))
        to = f"http://127.0.0.1:{origin.port}"

        def start(environ: Mapping[str, str] | None = None, **settings: object) -> Proxy:
            sites: dict[str, object] = {HOST: to}
            if "acme" in settings:
                sites[AUTOMATIC] = {"to": to, "tls": "acme"}
            config = {"store": str(tmp_path / "store"), **configured(sites, **settings)}
            started = Proxy(tmp_path, config, environ=environ)
            started.cafile = authority.pem
            return running.enter_context(started)

        yield start


def highest_descriptor(pid: int) -> int:
    return max(map(int, os.listdir(f"/proc/{pid}/fd")))


def allow_descriptors(pid: int, soft: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, 4096))


# ---- descriptors


def test_with_too_few_descriptors_newcomers_get_503_and_who_is_there_is_served(
    proxy: Callable[..., Proxy],
) -> None:
    served = proxy()
    [worker] = served.workers()
    with ExitStack() as connections:
        first = connections.enter_context(served.connect())
        assert served.asked(first) == 200
        allow_descriptors(worker, 80)
        others = [connections.enter_context(served.connect()) for _ in range(30)]
        served.hears("descriptors-short")
        assert served.asked(first) == 200
        assert served.asked(others[0]) == 200
        assert served.asked() == 503
        assert served.asked() == 503
    served.hears("descriptors-enough")
    assert served.asked() == 200
    assert len(served.events("descriptors-short")) == 1


def test_without_any_descriptor_newcomers_are_turned_away_and_who_is_there_is_served(
    proxy: Callable[..., Proxy],
) -> None:
    served = proxy()
    [worker] = served.workers()
    with ExitStack() as connections:
        first = connections.enter_context(served.connect())
        assert served.asked(first) == 200
        allow_descriptors(worker, highest_descriptor(worker) + 1)
        for _ in range(10):
            address = ("127.0.0.1", served.https)
            newcomer = connections.enter_context(socket.create_connection(address, 30))
            assert turned_away(newcomer)
        assert served.asked(first) == 200
    allow_descriptors(worker, 4096)
    wait_for(lambda: status_or_none(served) == 200, what="newcomers being served again")


def turned_away(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def status_or_none(served: Proxy) -> int | None:
    try:
        return served.asked()
    except (OSError, EOFError, TruncatedError):
        return None


def test_more_connections_configured_than_there_are_descriptors_for_is_told_at_the_start(
    proxy: Callable[..., Proxy],
) -> None:
    served = proxy(limits={"connections": 2_000_000})
    [told] = served.events("few-descriptors")
    assert "limits.connections is 2000000" in told["message"]


# ---- memory


def test_without_memory_newcomers_end_who_is_there_is_served_and_it_is_told_once(
    proxy: Callable[..., Proxy],
) -> None:
    served = proxy()
    [worker] = served.workers()
    with ExitStack() as connections:
        first = connections.enter_context(served.connect())
        assert served.asked(first) == 200
        allow_memory(worker, size(worker))
        wait_for(lambda: status_or_none(served) is None, what="memory running out")
        for _ in range(20):
            status_or_none(served)
        served.hears("memory-short")
        assert served.asked(first) == 200
        allow_memory(worker, resource.RLIM_INFINITY)
        assert served.asked() == 200
    served.hears("memory-enough")
    assert len(served.events("memory-short")) == 1
    assert served.workers() == [worker]


def size(pid: int) -> int:
    """Bytes of address space in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def allow_memory(pid: int, most: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


# ---- processes


def test_where_memory_runs_out_the_kernel_ends_a_worker_and_not_the_supervisor(
    proxy: Callable[..., Proxy],
) -> None:
    running = proxy()

    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score").read_text())

    assert all(score(worker) > score(running.pid) for worker in running.workers())


def test_a_worker_that_cannot_be_started_is_tried_again_and_the_others_serve(
    proxy: Callable[..., Proxy],
) -> None:
    served = proxy(workers=2)
    killed, spared = served.workers()
    before = highest_descriptor(served.pid)
    allow_descriptors(served.pid, 4)
    os.kill(killed, signal.SIGKILL)
    told = served.hears("worker-not-started", 2)
    assert told["error"] == "Too many open files"
    assert alive(spared)
    allow_descriptors(served.pid, 4096)
    wait_for(lambda: len(served.workers()) == 2, what="the worker's successor")
    wait_for(lambda: served.asked() == 200, what="an answer")
    assert highest_descriptor(served.pid) <= before


def test_a_reload_that_the_machine_has_no_room_for_changes_nothing(
    proxy: Callable[..., Proxy],
) -> None:
    served = proxy()
    allow_descriptors(served.pid, 4)
    served.process.send_signal(signal.SIGHUP)
    assert "Too many open files" in served.hears("reload-failed")["message"]
    assert served.asked() == 200
    allow_descriptors(served.pid, 4096)
    served.process.send_signal(signal.SIGHUP)
    served.hears("reloaded")
    assert served.asked() == 200


def test_an_upgrade_that_the_machine_has_no_room_for_changes_nothing(
    proxy: Callable[..., Proxy],
) -> None:
    served = proxy()
    allow_descriptors(served.pid, 4)
    served.process.send_signal(signal.SIGUSR2)
    assert "Too many open files" in served.hears("reload-failed")["message"]
    assert served.asked() == 200


def test_how_a_worker_died_is_told(proxy: Callable[..., Proxy]) -> None:
    served = proxy()
    os.kill(served.workers()[0], signal.SIGKILL)
    assert served.hears("worker-died")["end"] == "killed by SIGKILL"
    wait_for(lambda: served.asked() == 200, what="an answer")


def test_a_worker_that_dies_again_and_again_is_started_ever_later(
    proxy: Callable[..., Proxy],
) -> None:
    served = proxy()
    for count in (1, 2, 3):
        [worker] = wait_for(served.workers, what="a worker")
        os.kill(worker, signal.SIGKILL)
        served.hears("worker-died", count)
    waits = [told["restart_in_seconds"] for told in served.events("worker-died")]
    assert waits == [0.0, 0.1, 0.2]


def test_where_no_worker_can_live_the_start_ends_and_says_so(
    proxy: Callable[..., Proxy], tmp_path: Path
) -> None:
    environ = ending_at_once(tmp_path)
    (tmp_path / "end").touch()
    with pytest.raises(ProgramEndedError, match=r'(?s)ended with 1:.*"start-failed".*exit code 7'):
        proxy(environ=environ)


def served_without_it_until_it_lives(served: Proxy, end: Path) -> None:
    """One of two workers ends again and again while `end` is there: nobody waits for it."""
    wait_for(lambda: listening(served.https) == 1, what="its doors at rest")
    assert [served.asked() for _ in range(40)] == [200] * 40
    end.unlink()
    wait_for(lambda: listening(served.https) == 2, what="its successor listening")


def test_nobody_waits_for_a_worker_that_never_begins_while_others_serve(
    proxy: Callable[..., Proxy], tmp_path: Path
) -> None:
    served = proxy(environ=ending_at_once(tmp_path), workers=2)
    (tmp_path / "end").touch()
    os.kill(served.workers()[0], signal.SIGKILL)
    served_without_it_until_it_lives(served, tmp_path / "end")
    assert [served.asked() for _ in range(40)] == [200] * 40


def test_nobody_waits_for_a_worker_that_dies_as_soon_as_it_serves(
    proxy: Callable[..., Proxy], tmp_path: Path
) -> None:
    served = proxy(environ=ending_when_ready(tmp_path), workers=2)
    (tmp_path / "end").touch()
    os.kill(served.workers()[0], signal.SIGKILL)
    # 0, 0.1, 0.2, 0.5 and, from the fifth on, a second: time enough to ask forty times.
    served.hears("worker-died", 5)
    served_without_it_until_it_lives(served, tmp_path / "end")
    assert [served.asked() for _ in range(40)] == [200] * 40


@pytest.mark.parametrize(
    ("number", "event", "count"), [(signal.SIGHUP, "reloaded", 1), (signal.SIGUSR2, "ready", 2)]
)
def test_a_reload_or_upgrade_gives_the_doors_of_a_worker_that_never_began_to_its_successor(
    proxy: Callable[..., Proxy], tmp_path: Path, number: signal.Signals, event: str, count: int
) -> None:
    served = proxy(environ=ending_at_once(tmp_path), workers=2)
    (tmp_path / "end").touch()
    os.kill(served.workers()[0], signal.SIGKILL)
    wait_for(lambda: listening(served.https) == 1, what="its doors at rest")
    (tmp_path / "end").unlink()
    served.process.send_signal(number)
    served.hears(event, count)
    assert listening(served.https) == 2
    assert [served.asked() for _ in range(40)] == [200] * 40


def test_where_the_last_worker_of_the_former_program_ends_and_the_new_ones_do_not_live_it_says_so(
    proxy: Callable[..., Proxy], tmp_path: Path
) -> None:
    """And ends, for whoever started it to start it again."""
    served = proxy(environ=ending_at_once(tmp_path))
    [former] = served.workers()
    (tmp_path / "end").touch()
    served.process.send_signal(signal.SIGUSR2)
    served.hears("reload-failed")
    assert served.asked() == 200
    os.kill(former, signal.SIGKILL)
    served.hears("start-failed")
    assert served.process.wait(20) == 1


def listening(port: int) -> int:
    """How many sockets take connections on that port of this machine (proc(5): 0A is LISTEN)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return sum(
        fields[1].endswith(f":{port:04X}") for fields in map(str.split, lines) if fields[3] == "0A"
    )


def ending_at_once(folder: Path) -> dict[str, str]:
    """The environment of a proxy whose processes end as they begin, while there is a file `end`."""
    return beginning_with(folder, "lambda: os.path.exists(end) and os._exit(7)")


def ending_when_ready(folder: Path) -> dict[str, str]:
    """The same, where they end as soon as they have said that they serve."""
    return beginning_with(
        folder,
        "lambda: setattr(os, 'write', lambda to, said, write=os.write: "
        "(write(to, said), said == b'R' and os.path.exists(end) and os._exit(7))[0])",
    )


def beginning_with(folder: Path, call: str) -> dict[str, str]:
    """The environment of a proxy whose processes begin with a call; `end` is its file."""
    (folder / "sitecustomize.py").write_text(
        f"import os\nend = {str(folder / 'end')!r}\nos.register_at_fork(after_in_child={call})\n"
    )
    return {"PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}"}


def test_an_issuer_that_is_stuck_is_replaced_and_traffic_goes_on(
    proxy: Callable[..., Proxy],
) -> None:
    served = proxy(acme={"directory": "https://127.0.0.1:1/directory"})
    _, issuer = wait_for(lambda: both(served), what="the issuer")
    served.hears("failed")
    os.kill(issuer, signal.SIGSTOP)
    assert served.hears("issuer-stuck")["process"] == issuer
    assert served.asked() == 200
    served.hears("issuer-died")
    wait_for(lambda: both(served), what="the issuer's successor")


def both(served: Proxy) -> list[int]:
    found = served.workers()
    return found if len(found) == 2 else []
