"""Works that start their subjects themselves: idle memory, workers, start, reload, many sites."""

import hashlib
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from statistics import median

from bench import subjects
from bench.certificate import write_pair
from bench.clients import ANNOUNCE, Load
from bench.harness import Figure, Machine, Setup, Stand
from bench.peers import ANSWER, Pair, Peer

IDLE = 500  # connections
MANY = 1000  # sites
TURNS = 7
PATIENCE = 60.0


def idle(machine: Machine, peer: Peer, work: str) -> Figure:
    """KiB of memory for each of IDLE connections, in a subject that had none before."""
    with machine.stands([peer], Setup(streaming=work != "idle")) as (stand,):
        if work == "idle":
            _first_answer(stand.subject.port)
        before = stand.subject.memory()
        command = [sys.executable, "-m", "bench.clients", work, str(stand.subject.port), str(IDLE)]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: subjects.settle(machine.load_core),
        ) as client:
            assert client.stdout
            assert client.stdin
            if client.stdout.readline() != b"held\n":
                raise RuntimeError(f"{peer.name} does not hold {IDLE} connections")
            taken = stand.subject.memory() - before
            client.stdin.close()
            client.stdout.read()
    return Figure(taken / IDLE / 1024)


def two_workers(machine: Machine, peer: Peer) -> Figure:
    """What two workers do on two cores, as a multiple of one.

    With four cores their rates, the load having cores of its own. With fewer, twice the relation of
    the CPU times per request: what the rates would be if neither had to wait for the load.
    """
    with (
        machine.stands([peer], Setup()) as (one,),
        machine.stands([peer], Setup(workers=2)) as (two,),
    ):
        if len(machine.cores) < 4:
            return Figure(2 * _relation(machine, one, two))
        cores = set(machine.cores[2:])
        machine.load_core, kept = cores, machine.load_core
        try:
            words = f"-t{len(cores)}", "-c128"
            return Figure(machine.wrk(two, *words).rate / machine.wrk(one, *words).rate)
        finally:
            machine.load_core = kept


def many_sites(machine: Machine, peer: Peer) -> Figure:
    """The cost of a request among MANY sites as a multiple of that among three."""
    with (
        machine.stands([peer], Setup(sites=3)) as (few,),
        machine.stands([peer], Setup(sites=MANY)) as (many,),
    ):
        return Figure(_relation(machine, many, few))


def _relation(machine: Machine, one: Stand, other: Stand) -> float:
    """The cost of a request in one as a multiple of that in the other, in turns: the median."""
    turns = range(TURNS)
    return median(machine.wrk(one).value / machine.wrk(other).value for _ in turns)


def ready(machine: Machine, peer: Peer) -> Figure:
    """Seconds from its start to the end of its first answer."""
    with machine.origin(streaming=False) as origin:
        place = machine.place(peer, Setup(), origin.port, machine.pairs(1))
        command = peer.command(place)
        began = time.monotonic()
        process = subjects.start(command, machine.subject_core, place.folder)
        try:
            _first_answer(place.port)
            return Figure(time.monotonic() - began)
        finally:
            subjects.end(process)


def reload(machine: Machine, peer: Peer) -> Figure:
    """Seconds from the word that MANY sites have become one more until that one is served."""
    assert peer.reload
    with machine.stands([peer], Setup(sites=MANY)) as (stand,):
        name = "added.example.com"
        added = Pair(name, *write_pair(machine.folder, name))
        place = stand.place._replace(pairs=[*stand.place.pairs, added])
        peer.write(place)
        began = time.monotonic()
        peer.reload(peer.program() or peer.name, place, stand.subject.pid)
        _await_certificate(stand, added)
        return Figure(time.monotonic() - began)


def _await_certificate(stand: Stand, pair: Pair) -> None:
    wanted = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())).digest()
    load, until = Load(stand.subject.port, PATIENCE), time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(OSError), load.tls(host=pair.host) as connection:
            shown = connection.getpeercert(True)
            if shown and hashlib.sha256(shown).digest() == wanted:
                return
        time.sleep(0.005)
    raise RuntimeError(f"{stand.subject.name} does not serve {pair.host} after its reload")


def _first_answer(port: int) -> None:
    load, until = Load(port, PATIENCE), time.monotonic() + PATIENCE
    load.patience = 1.0  # some accept before they can answer
    while time.monotonic() < until:
        with suppress(OSError), load.tls() as connection:
            connection.sendall(ANNOUNCE)
            answer = b""
            while data := connection.recv(16384):
                answer += data
                if answer.endswith(ANSWER.encode()):
                    return
        time.sleep(0.005)
    raise RuntimeError(f"no answer on port {port}")
