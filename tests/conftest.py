"""What tests of many rooms share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from proxy.tally import Tallies


@pytest.fixture
def tallies() -> Iterator[Tallies]:
    made = Tallies()
    yield made
    os.close(made.descriptor)
