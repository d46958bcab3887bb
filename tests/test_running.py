"""What a running proxy tells the commands: the kernel says who runs, the file what it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.errors import OperatorError
from proxy.running import AlreadyRunningError, Record, Running, find

CHECKOUT = Path(__file__).parents[1]


@contextmanager
def standing_in(
    store: Path, file: Path, *answers: str, local: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A process that stands in for a proxy: `tests/standing_in.py`."""
    more = ["--local"] if local else []
    with subprocess.Popen(
        [sys.executable, "-m", "tests.standing_in", store, file, *more, "--answers", *answers],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hopward.yml"


def test_nobody_is_found_where_no_proxy_ever_ran(store: Path) -> None:
    assert find(store) is None


def test_a_proxy_is_found_with_its_file_and_no_reload_yet(store: Path, file: Path) -> None:
    with standing_in(store, file) as proxy:
        found = find(store)
    assert found is not None
    assert found.pid == proxy.pid
    assert found.record == Record(str(file), local=False)


def test_whoever_was_killed_is_found_no_longer(store: Path, file: Path) -> None:
    with standing_in(store, file) as proxy:
        proxy.kill()
        proxy.wait()
        assert (store / "running").exists()
        assert find(store) is None


def test_a_proxy_that_ended_leaves_no_record(store: Path, file: Path) -> None:
    with standing_in(store, file) as proxy:
        proxy.communicate(timeout=30)
    assert find(store) is None
    assert not (store / "running").exists()


def test_after_one_that_was_killed_the_next_begins_anew(store: Path, file: Path) -> None:
    with standing_in(store, file) as killed:
        killed.kill()
        killed.wait()
    with standing_in(store, file) as proxy:
        found = find(store)
        assert found is not None
        assert found.pid == proxy.pid


def test_a_second_proxy_on_one_store_is_told_of_the_first(store: Path, file: Path) -> None:
    with standing_in(store, file) as proxy:
        with pytest.raises(AlreadyRunningError, match=rf"process {proxy.pid}\) runs on .*store"):
            Running.begin(store, file, local=False)
        found = find(store)
    assert found is not None
    assert found.pid == proxy.pid


def test_a_worker_that_outlives_its_supervisor_does_not_pass_for_it(
    store: Path, file: Path
) -> None:
    """A fork inherits descriptors, but not this lock."""
    running = Running.begin(store, file, local=False)
    asked, ask = os.pipe()
    worker = os.fork()
    if not worker:
        os.close(ask)
        os.read(asked, 1)
        os._exit(0)
    os.close(asked)
    running.end()
    with standing_in(store, file) as proxy:
        found = find(store)
        assert found is not None
        assert found.pid == proxy.pid
    os.close(ask)
    os.waitpid(worker, 0)


def test_each_reload_is_counted_with_its_result_and_time(store: Path, file: Path) -> None:
    running = Running.begin(store, file, local=True)
    running.reloading()
    begun = json.loads((store / "running").read_text())
    running.reloaded("failure", "hopward.yml:1:1: no\nhopward.yml:2:1: no")
    first = json.loads((store / "running").read_text())
    running.reloading()
    running.reloaded("success")
    second = json.loads((store / "running").read_text())
    running.end()
    assert (begun["attempts"], begun["result"]) == (1, None)
    assert (first["attempts"], first["result"]) == (1, "failure")
    assert first["error"] == "hopward.yml:1:1: no\nhopward.yml:2:1: no"
    assert (second["attempts"], second["result"], second["error"]) == (2, "success", None)
    assert first["time"] <= second["time"]
    assert second["time"].endswith("Z")


def test_its_files_are_for_their_owner_alone(store: Path, file: Path) -> None:
    running = Running.begin(store, file, local=False)
    modes = {path.name: path.stat().st_mode & 0o777 for path in store.iterdir()}
    running.end()
    assert modes == {"running": 0o600, "running.lock": 0o600}
    assert store.stat().st_mode & 0o777 == 0o700


def test_a_store_that_cannot_be_is_told(tmp_path: Path, file: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(OperatorError, match=r"/store: File exists$"):
        Running.begin(tmp_path / "store", file, local=False)


def test_a_disk_that_is_full_does_not_end_the_proxy(
    store: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running.begin(store, file, local=False)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("proxy.running.files.replace", full)
        running.reloading()
        running.reloaded("success")
    running.reloading()
    running.reloaded("success")
    assert json.loads((store / "running").read_text())["attempts"] == 2
    running.end()


def test_what_a_newer_proxy_writes_beside_is_no_matter(store: Path, file: Path) -> None:
    with standing_in(store, file):
        record = json.loads((store / "running").read_text())
        (store / "running").write_text(json.dumps({**record, "colour": "green"}))
        found = find(store)
    assert found is not None
    assert found.record.file == str(file)
