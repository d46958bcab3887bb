"""The works: what is measured, in which unit, and what hopward promises of each.

Law: each work is the same for all subjects; what one of them cannot do leaves it out by name.
"""

import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from bench import lifecycle
from bench.clients import ANNOUNCE, Load
from bench.harness import LOADS, Figure, Machine, Setup, Stand
from bench.peers import ANSWER, BASELINE, LIMIT, OWN, Peer

DISTRIBUTION = "nginx-distribution"


class Promise(NamedTuple):
    """hopward's figure is at most `factor` times that of `than`; of "" it is that itself."""

    factor: float
    than: str

    def __str__(self) -> str:
        sign = "≥" if self.factor < 0 else "≤"
        return f"{sign} {abs(self.factor):g}" + (f" × {self.than}" if self.than else "")

    def kept(self, own: float, other: float) -> bool:
        """Whether it holds; a negative factor asks for at least that much."""
        return own >= -self.factor * other if self.factor < 0 else own <= self.factor * other


Measure = Callable[[Machine, Stand], Figure]


class Work(NamedTuple):
    """One row of the table."""

    name: str
    unit: str
    measure: Measure
    must: Sequence[Promise] = ()
    reach: Sequence[Promise] = ()
    quick: bool = False
    without: Sequence[str] = ()


class Group(NamedTuple):
    """Works that are measured on the same running subjects."""

    setup: Setup
    works: Sequence[Work]


class Single(NamedTuple):
    """A work that starts its subjects itself."""

    name: str
    unit: str
    measure: Callable[[Machine, Peer], Figure]
    must: Sequence[Promise] = ()
    reach: Sequence[Promise] = ()
    quick: bool = False
    only: Sequence[str] = ()
    without: Sequence[str] = (LIMIT,)


def check_answer(stand: Stand) -> None:
    """One announce, byte for byte; raises RuntimeError where it is another's."""
    with Load(stand.subject.port, 1).tls() as connection:
        connection.sendall(ANNOUNCE)
        answer, until = b"", time.monotonic() + 10
        while not answer.endswith(ANSWER.encode()) and time.monotonic() < until:
            try:
                data = connection.recv(16384)
            except (ssl.SSLError, OSError):
                break
            answer += data
            if not data:
                break
    if not answer.endswith(ANSWER.encode()):
        raise RuntimeError(f"{stand.subject.name} gives another answer: {answer[:300]!r}")


def _wrk(*words: str) -> Measure:
    def measure(machine: Machine, stand: Stand) -> Figure:
        return _scaled(machine.wrk(stand, *words), 1e6)

    return measure


def _client(work: str, factor: float) -> Measure:
    def measure(machine: Machine, stand: Stand) -> Figure:
        return _scaled(machine.client(stand, work), factor)

    return measure


def _scaled(figure: Figure, factor: float) -> Figure:
    return figure._replace(value=figure.value * factor)


def _logged(machine: Machine, stand: Stand) -> Figure:
    """As keep-alive; each request has its line in the log afterwards."""
    figure = machine.wrk(stand)
    file = stand.place.folder / ("output" if stand.subject.name == "haproxy" else "access.log")
    # the last ones may still be held back, for a second or by whole buffers
    expected, until = figure.rate * machine.seconds * 0.9, time.monotonic() + 5
    while (lines := file.read_bytes().count(b"\n")) < expected and time.monotonic() < until:
        time.sleep(0.1)
    if lines < expected:
        raise RuntimeError(f"{stand.subject.name} logged {lines} of about {expected:.0f} requests")
    with file.open("r+b") as log:
        log.truncate(0)
    return _scaled(figure, 1e6)


class Latency:
    """The 99th percentile at half the rate that the baseline reaches at most, found once."""

    rate = 0.0

    def __call__(self, machine: Machine, stand: Stand) -> Figure:
        """Milliseconds."""
        # a connection makes a request in its pause, 3 ms on average, and a little
        connections = max(2, round(self.rate / 2 * 0.0031))
        words = f"-c{connections}", "-s", str(LOADS / "paced.lua"), "--latency"
        said, spent = machine.wrk_says(stand, *words)
        p99 = next(line for line in said.splitlines() if line.startswith("p99")).split()[1]
        return Figure(int(p99) / 1000, spent.load / spent.wall)


LATENCY = Latency()
KEPT = "announce, keep-alive"
N, H, E, C = BASELINE, "haproxy", "envoy", "caddy"
P = Promise

GROUPS = (
    Group(
        Setup(),
        (
            Work(KEPT, "µs", _wrk(), (P(1, N), P(0.33, C)), (P(1, H),), True),
            Work(
                "announce, 500 clients' heads, random info_hash", "µs",
                _wrk("-s", str(LOADS / "heads.lua")), (P(1.1, N),), (P(1, H),), True,
            ),
            Work(
                "announce, fresh connection, full handshake", "µs", _client("fresh", 1e6),
                (P(1, N), P(1, C)), (P(1, E), P(1, H), P(1, DISTRIBUTION)), True,
            ),
            Work(
                "announce, fresh connection, resumed", "µs", _client("resumed", 1e6),
                (P(1, N),), (P(1, E),), True,
            ),
            Work(
                "announce, fresh connection, X25519MLKEM768 offered", "µs", _client("hybrid", 1e6),
                (P(0.9, C),), (P(1, E),), True,
            ),
            Work("p99 at half of nginx's top rate", "ms", LATENCY, (P(1.5, N),), (P(1, N),)),
            Work(
                "download 50 MB", "ms/GB", _client("download", 1e12),
                (P(1, N),), (P(1, E),), True,
            ),
        ),
    ),
    Group(
        Setup(streaming=True),
        (
            Work("upload 50 MB", "ms/GB", _client("upload", 1e12), (P(1, N),), (P(1, E),)),
            Work(
                "events (chunked), 10 000 a second", "µs/chunk", _client("events", 1e6),
                (P(1, C),), (P(1, N),), True,
            ),
            Work(
                "WebSocket echo, 64 B", "µs", _client("echo", 1e6),
                (P(1.3, N),), (P(1, N),), True,
            ),
            Work(
                "WebSocket stream, 64 KiB frames", "ms/GB", _client("stream", 1e12),
                (P(1, C),), (P(1, E),),
            ),
        ),
    ),
    Group(
        Setup(log=True),
        (
            Work(
                "announce, keep-alive, JSON access log", "µs", _logged, (P(1, N),),
                without=(LIMIT,),
            ),
        ),
    ),
)  # fmt: skip

SINGLES = (
    Single(
        "idle TLS connection", "KiB", partial(lifecycle.idle, work="idle"),
        (P(1.2, N),), (P(1, H),), without=(),
    ),
    Single(
        "idle WebSocket", "KiB", partial(lifecycle.idle, work="idle_websockets"),
        (P(1.2, N),), (P(1, H),), without=(),
    ),
    Single("two workers", "× one's rate", lifecycle.two_workers, (P(-1.8, ""),), only=(OWN, N)),
    Single("start to first answer", "s", lifecycle.ready, (P(0.5, ""),), quick=True),
    Single("reload of 1000 sites", "s", lifecycle.reload, (P(1, ""),), without=(LIMIT, E, H)),
    Single(
        "request with 1000 sites", "× with 3", lifecycle.many_sites, (P(1.05, ""),), only=(OWN, N)
    ),
)  # fmt: skip
