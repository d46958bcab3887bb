"""What the survival tests share: an honest CA for each file, with a shim and a store for each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from acme_client import Store
from tests.acme_shim import AcmeShim
from tests.authority import Authority
from tests.challenge_responder import Responder
from tests.e2e.certificates.lab import Clock, Lab, Start
from tests.pebble import Behaviour, NameServer, Pebble


@pytest.fixture(scope="session")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """One name server for every CA: tests use names of their own."""
    with NameServer(tmp_path_factory.mktemp("names")) as server:
        yield server


@pytest.fixture(scope="module")
def ca(
    authority: Authority, names: NameServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pebble]:
    """A quick, honest CA: certificates of 90 days, challenges truly validated.

    A new one for each file, which takes a third of a second: Pebble dead-locks now and then (it
    shows an order under a read lock that it takes twice, and one that is just being completed
    waits for the write lock in between), and then answers no order of anybody. That may cost a
    file, not all that come after it. It is not asked anew for a test that failed: whether it was
    Pebble or hopward that did not answer is for whoever reads the failure.
    """
    with Pebble(tmp_path_factory.mktemp("pebble"), authority, names=names) as pebble:
        yield pebble


@pytest.fixture
def start(authority: Authority, names: NameServer, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as running:

        def started(
            behaviour: Behaviour,
            *,
            program: str | Path = "pebble",
            ports: tuple[int, int] | None = None,
        ) -> Pebble:
            folder = tmp_path / f"pebble{len(list(tmp_path.glob('pebble*')))}"
            return running.enter_context(
                Pebble(folder, authority, behaviour, names=names, program=program, ports=ports)
            )

        yield started


@pytest.fixture
def lab(
    ca: Pebble, authority: Authority, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Lab]:
    clock, folder = Clock(), tmp_path / "store"
    store = Store(folder, clock=clock)
    # a name of its own: the name server and the CA remember names
    label = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-50:].strip("-")
    with (
        AcmeShim(ca, authority, clock=clock.timestamp) as shim,
        Responder(store, ca.http_port, ca.tls_port) as responder,
    ):
        yield Lab(f"{label}.example.com", folder, ca, shim, responder, store, clock)
        store.release_lock()
