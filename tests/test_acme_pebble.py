"""The engine against a real test CA: issuing, keeping, and what is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acme_client import Settings, Store, renew_now
from acme_client.responder import answering
from tests.authority import Authority
from tests.pebble import NameServer, Pebble, needs_pebble

pytestmark = needs_pebble


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    with NameServer(tmp_path_factory.mktemp("names")) as server:
        yield server


@pytest.fixture
def pebble(tmp_path: Path, names: NameServer) -> Iterator[Pebble]:
    with Pebble(tmp_path / "pebble", Authority(tmp_path), names=names) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path, pebble: Pebble) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    with answering(store.answers, "127.0.0.1", pebble.http_port):
        yield store


def settings(pebble: Pebble, *challenges: str) -> Settings:
    wanted = challenges or ("http-01",)
    return Settings(directory=pebble.directory, ca_bundle=pebble.bundle, challenges=wanted)


def test_a_certificate_comes_by_http_01(pebble: Pebble, store: Store) -> None:
    assert renew_now(settings(pebble), store, ["example.com"]) == [("example.com", None)]
    pair = store.load("example.com")
    assert pair is not None
