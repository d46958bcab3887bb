"""What tests of many rooms share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.tally import Tallies
from tests.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def tallies() -> Iterator[Tallies]:
    made = Tallies()
    yield made
    os.close(made.descriptor)
