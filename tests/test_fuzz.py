"""The laws of the pure rooms, on saved inputs and on those that a fuzzer makes for a moment.

`python -m tests.fuzz TARGET SECONDS FOLDER` goes on for as long as one likes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, seeds

ROOT = Path(__file__).parents[1]
SECONDS = 2
needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None and "CI" not in os.environ,
    reason="needs atheris: pip install atheris",
)


@pytest.mark.parametrize("name", TARGETS)
def test_no_saved_input_breaks_a_law(name: str) -> None:
    saved = seeds(name)
    assert saved
    for file in saved:
        TARGETS[name].test(file.read_bytes())


@needs_atheris
@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzzer_finds_nothing_that_breaks_a_law(name: str, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, str(SECONDS), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-4000:]
    assert "stat::number_of_executed_units" in found.stderr
