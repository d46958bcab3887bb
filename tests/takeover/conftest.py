"""What the tests of taking over share: an issuer, certbot's folder, and an empty store."""

from __future__ import annotations

from pathlib import Path

import pytest

from acme_client.store import Store
from tests.takeover.predecessors import Issuer, Letsencrypt


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "issuer")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def letsencrypt(tmp_path: Path) -> Letsencrypt:
    return Letsencrypt(tmp_path / "letsencrypt")
