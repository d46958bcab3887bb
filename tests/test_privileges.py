"""A command leaves nothing of root's in a store that is somebody else's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
ROOT = Path(__file__).parents[1]
SCRIPT = """
import os, sys
from pathlib import Path
from proxy.privileges import act_as_owner_of
store = Path(sys.argv[1])
act_as_owner_of(store)
(store / "challenges").mkdir()
print(os.getuid(), os.getgid(), *os.getgroups())
"""


@pytest.fixture
def store() -> Iterator[Path]:
    """A store that belongs to another user, as far as whoever runs the tests may give it away."""
    # pytest's own folders let nobody else through.
    folder = Path(tempfile.mkdtemp(prefix="hopward-"))
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def run(store: Path) -> list[int]:
    """User, group and groups of a command after it has given up its rights."""
    command = [sys.executable, "-c", SCRIPT, str(store)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return [int(number) for number in done.stdout.split()]


def test_what_a_command_makes_in_the_store_belongs_to_the_stores_owner(store: Path) -> None:
    run(store)
    made, owner = (store / "challenges").stat(), store.stat()
    assert (made.st_uid, made.st_gid) == (owner.st_uid, owner.st_gid)


def test_root_keeps_none_of_its_groups(store: Path) -> None:
    user, *groups = run(store)
    assert user == store.stat().st_uid
    if os.geteuid() == 0:
        assert set(groups) == {NOBODY}


def test_a_store_that_is_not_there_yet_changes_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    script = SCRIPT.replace("(store /", "store.mkdir(); (store /")
    command = [sys.executable, "-c", script, str(store)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout.split()[0]) == os.getuid()
