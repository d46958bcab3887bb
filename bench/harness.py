"""What a work is measured with: subjects side by side, a load on its own core, CPU time per unit.

Law: a figure counts only when its work was done: every load fails on a wrong answer.
"""

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import peers, subjects
from bench.certificate import write_pair
from bench.clients import BULK, FIELDS, TARGET
from bench.peers import HOST, Pair, Peer, Place
from bench.subjects import Subject, running

LOADS = Path(__file__).parent / "loads"


class Figure(NamedTuple):
    """One measurement: in the work's unit, and how busy the load's core was by load and origin."""

    value: float
    load_share: float = 0.0
    rate: float = 0.0
    """Units a second, of what the subject was given."""


class Setup(NamedTuple):
    """How subjects are to be set up for a group of works."""

    streaming: bool = False
    log: bool = False
    workers: int = 1
    sites: int = 1


class Stand(NamedTuple):
    """A subject in its place, with the origin behind it."""

    subject: Subject
    place: Place
    origin: Subject


class Machine:
    """The cores, the folder, the pairs, and how long is measured."""

    def __init__(self, folder: Path, seconds: float) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.folder, self.seconds = folder, seconds
        self.cores = cores
        self.load_core, self.subject_core = {cores[1]}, {cores[0]}
        self.pair = Pair(HOST, *write_pair(folder, HOST))
        self._places = 0

    def pairs(self, count: int) -> list[Pair]:
        """`count` sites, localhost first, each with a key of its own."""
        folder = self.folder / "sites"
        folder.mkdir(exist_ok=True)
        names = [f"site{number}.example.com" for number in range(count - 1)]
        return [self.pair, *(Pair(name, *write_pair(folder, name)) for name in names)]

    def place(self, peer: Peer, setup: Setup, upstream: int, pairs: Sequence[Pair]) -> Place:
        """A folder and a port of its own."""
        self._places += 1
        folder = self.folder / f"{self._places}-{peer.name}"
        folder.mkdir()
        port = subjects.free_port()
        return Place(folder, port, upstream, pairs, setup.log, setup.streaming, setup.workers)

    @contextlib.contextmanager
    def origin(self, streaming: bool) -> Iterator[Subject]:
        """What the subjects proxy to, on the load's core."""
        folder = Path(tempfile.mkdtemp(prefix="origin-", dir=self.folder))
        folder.chmod(0o755)
        port = subjects.free_port()
        if streaming:
            command = [sys.executable, "-m", "bench.origin", str(port)]
        else:
            (folder / "file").write_bytes(bytes(BULK))
            nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
            command = [nginx or peers.wheel_nginx() or "nginx", *peers.write_origin(folder, port)]
        with running("origin", command, port, self.load_core, folder) as origin:
            yield origin

    @contextlib.contextmanager
    def stands(self, chosen: Sequence[Peer], setup: Setup) -> Iterator[list[Stand]]:
        """All subjects at once, before one origin; only the one under load does anything."""
        pairs = self.pairs(setup.sites)
        with contextlib.ExitStack() as stack:
            origin = stack.enter_context(self.origin(setup.streaming))
            yield [stack.enter_context(self.stand(peer, setup, origin, pairs)) for peer in chosen]

    @contextlib.contextmanager
    def stand(
        self, peer: Peer, setup: Setup, origin: Subject, pairs: Sequence[Pair]
    ) -> Iterator[Stand]:
        """One subject."""
        place = self.place(peer, setup, origin.port, pairs)
        cores = set(self.cores[: setup.workers])
        with running(peer.name, peer.command(place), place.port, cores, place.folder) as subject:
            subject.settle()
            yield Stand(subject, place, origin)

    # ---- loads

    def client(self, stand: Stand, work: str) -> Figure:
        """A work of `bench.clients`; CPU seconds per unit."""
        command = [sys.executable, "-m", "bench.clients", work, str(stand.subject.port)]
        said, spent = self._spent(stand, [*command, str(self.seconds)])
        did = json.loads(said.splitlines()[-1])
        if not did["units"]:
            raise RuntimeError(f"{stand.subject.name} did nothing of {work} in {self.seconds} s")
        return self._figure(spent, did["units"])

    def wrk(self, stand: Stand, *words: str) -> Figure:
        """Announces over 32 kept connections; CPU seconds per request."""
        said, spent = self.wrk_says(stand, "-c32", *words)
        return self._figure(spent, _requests(stand, said))

    def wrk_says(self, stand: Stand, *words: str) -> tuple[str, "_Spent"]:
        """What wrk prints; raises RuntimeError where a request failed."""
        fields = [word for field in FIELDS.split("\r\n") if field for word in ("-H", field)]
        url = f"https://{HOST}:{stand.subject.port}{TARGET}"
        command = ["wrk", "-t1", f"-d{max(1, round(self.seconds))}", *fields, *words, url]
        return self._spent(stand, command)

    def _figure(self, spent: "_Spent", units: int) -> Figure:
        return Figure(spent.subject / units, spent.load / spent.wall, units / spent.wall)

    def _spent(self, stand: Stand, command: Sequence[str]) -> tuple[str, "_Spent"]:
        before, loaded, began = stand.subject.cpu_seconds(), self._load(stand), time.monotonic()
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: subjects.settle(self.load_core),
        )
        wall, load = time.monotonic() - began, self._load(stand) - loaded
        spent = _Spent(stand.subject.cpu_seconds() - before, load, wall)
        if ran.returncode:
            raise RuntimeError(f"{stand.subject.name}: {' '.join(command)}:\n{ran.stderr[-2000:]}")
        return ran.stdout, spent

    def _load(self, stand: Stand) -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime + stand.origin.cpu_seconds()


class _Spent(NamedTuple):
    subject: float
    load: float
    wall: float


def _requests(stand: Stand, report: str) -> int:
    requests = re.search(r"([1-9]\d*) requests in", report)
    if requests is None or "Non-2xx" in report or "Socket errors" in report:
        raise RuntimeError(f"{stand.subject.name} failed requests:\n{report}")
    return int(requests[1])
