"""Backup: what is in an archive, and what is not."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from acme_client.pair import read_pair
from acme_client.state import PlacedOrder, State
from acme_client.store import Store
from proxy.archive import unpack
from proxy.backup import BackupError, back_up
from tests.authority import Authority
from tests.machines import ACCOUNT, HOST, WILDCARD, Machine, with_everything


@pytest.fixture
def machine(tmp_path: Path, authority: Authority) -> Machine:
    return with_everything(tmp_path / "old", authority)


@pytest.fixture
def archive(tmp_path: Path, machine: Machine) -> Path:
    back_up(machine.file, machine.store, tmp_path / "out.tar.gz")
    return tmp_path / "out.tar.gz"


@pytest.fixture
def umask() -> Iterator[None]:
    """One that hides nothing from anybody."""
    before = os.umask(0)
    yield
    os.umask(before)


def members(archive: Path) -> set[str]:
    return set(unpack(archive)[1])


def test_an_archive_holds_all_that_disaster_recovery_needs(archive: Path) -> None:
    assert members(archive) == {
        "hopward.yml",
        "files/1",
        "files/2",
        "store/acme.json",
        "store/api.example.com.key",
        "store/api.example.com.pem",
        "store/api.example.com.json",
        "store/_.example.org.key",
        "store/_.example.org.pem",
        "store/local-ca/root.key",
        "store/local-ca/root.pem",
    }


def test_locks_challenges_drafts_and_what_was_set_aside_stay_out(
    machine: Machine, archive: Path
) -> None:
    before = members(archive)
    (machine.store / "challenges").mkdir()
    (machine.store / "challenges" / "token").write_text("answer")
    for name in (f"{HOST}.key.new", f".{HOST}.pem.1.part", f"{HOST}.pem.bad-2026", "lock"):
        (machine.store / name).write_text("rubbish")
    back_up(machine.file, machine.store, archive)
    assert members(archive) == before


def test_an_order_under_way_stays_out_for_its_key_does(machine: Machine, archive: Path) -> None:
    store = Store(machine.store)
    assert store.take_lock()
    store.save_state(HOST, State(order=PlacedOrder("https://ca", "https://ca/order/1")))
    store.save_state(WILDCARD, State(last_error="x", order=PlacedOrder("https://ca", "https://o")))
    store.release_lock()
    back_up(machine.file, machine.store, archive)
    _, contents = unpack(archive)
    assert State.from_json(contents["store/_.example.org.json"]) == State(last_error="x")


def test_the_archive_is_for_its_owner_only_whatever_the_umask(
    machine: Machine, tmp_path: Path, umask: None
) -> None:
    seen = set[int]()
    watching, done = threading.Event(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            watching.set()
            for path in tmp_path.glob("*out.tar.gz*"):
                try:
                    seen.add(path.stat().st_mode & 0o777)
                except FileNotFoundError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert watching.wait(30)
    back_up(machine.file, machine.store, tmp_path / "out.tar.gz")
    done.set()
    watcher.join()
    assert (tmp_path / "out.tar.gz").stat().st_mode & 0o777 == 0o600
    assert seen <= {0o600}


def test_key_and_certificate_belong_together_while_they_are_being_renewed(
    machine: Machine, authority: Authority, tmp_path: Path
) -> None:
    pairs = [authority.pair(HOST) for _ in range(4)]
    done, rounds = threading.Event(), [0]

    def renew() -> None:
        store = Store(machine.store)
        assert store.take_lock()
        while not done.is_set():
            pair = pairs[rounds[0] % len(pairs)]
            store.adopt(HOST, pair.cert.read_bytes(), pair.key.read_bytes())
            rounds[0] += 1
        store.release_lock()

    renewals = threading.Thread(target=renew)
    renewals.start()
    try:
        for _ in range(40):
            back_up(machine.file, machine.store, tmp_path / "out.tar.gz")
            _, contents = unpack(tmp_path / "out.tar.gz")
            stem = f"store/{HOST}"
            read_pair(contents[f"{stem}.pem"], contents[f"{stem}.key"], HOST)
    finally:
        done.set()
        renewals.join()
    assert rounds[0] > 1


def test_a_backup_changes_nothing_in_the_store(machine: Machine, tmp_path: Path) -> None:
    before = machine.tree()
    back_up(machine.file, machine.store, tmp_path / "out.tar.gz")
    assert machine.tree() == before


def test_a_pair_that_nobody_could_use_is_left_out_and_named(
    machine: Machine, authority: Authority, tmp_path: Path
) -> None:
    shutil.copy(authority.pair(HOST).key, machine.store / f"{HOST}.key")
    (left_out,) = back_up(machine.file, machine.store, tmp_path / "out.tar.gz")
    assert left_out.startswith(f"{HOST}: ")
    assert f"store/{HOST}.pem" not in members(tmp_path / "out.tar.gz")
    assert "store/_.example.org.pem" in members(tmp_path / "out.tar.gz")


def test_a_broken_local_authority_is_left_out_and_named(machine: Machine, tmp_path: Path) -> None:
    (machine.store / "local-ca" / "root.key").write_text("")
    (left_out,) = back_up(machine.file, machine.store, tmp_path / "out.tar.gz")
    assert left_out.startswith("the local authority: ")


def test_a_local_authority_that_is_being_made_is_waited_for(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = machine.store / "local-ca", fcntl.flock
    key = (folder / "root.key").read_bytes()
    (folder / "root.key").write_text("half of a k")

    def flock(descriptor: int, operation: int) -> None:
        (folder / "root.key").write_bytes(key)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert back_up(machine.file, machine.store, tmp_path / "out.tar.gz") == ()
    assert unpack(tmp_path / "out.tar.gz")[1]["store/local-ca/root.key"] == key


@pytest.mark.parametrize("name", [f"{HOST}.key", f"{HOST}.pem", f"{HOST}.json", "acme.json"])
def test_what_cannot_be_read_is_not_left_out_without_a_word(
    machine: Machine, tmp_path: Path, name: str
) -> None:
    (machine.store / name).unlink()
    (machine.store / name).symlink_to(name)
    with pytest.raises(BackupError, match=name):
        back_up(machine.file, machine.store, tmp_path / "out.tar.gz")
    assert not (tmp_path / "out.tar.gz").exists()


def test_accounts_that_are_damaged_are_taken_from_their_copy(
    machine: Machine, tmp_path: Path
) -> None:
    (machine.store / "acme.json").write_text("{")
    assert back_up(machine.file, machine.store, tmp_path / "out.tar.gz") == ()
    assert json.loads(unpack(tmp_path / "out.tar.gz")[1]["store/acme.json"]) == ACCOUNT


def test_accounts_that_are_lost_are_named(machine: Machine, tmp_path: Path) -> None:
    for name in ("acme.json", "acme.json.bak"):
        (machine.store / name).write_text("{")
    (left_out,) = back_up(machine.file, machine.store, tmp_path / "out.tar.gz")
    assert left_out.startswith("the accounts: ")


def test_a_configuration_alone_can_be_backed_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "old")
    machine.configure()
    assert back_up(machine.file, machine.store, tmp_path / "out.tar.gz") == ()
    assert members(tmp_path / "out.tar.gz") == {"hopward.yml"}


def test_an_archive_never_takes_the_place_of_the_configuration(machine: Machine) -> None:
    with pytest.raises(BackupError, match="is the configuration"):
        back_up(machine.file, machine.store, machine.file)
    assert machine.file.read_bytes().startswith(b"store:")


def test_a_folder_that_is_not_there_is_named(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="No such file"):
        back_up(machine.file, machine.store, tmp_path / "nowhere" / "out.tar.gz")
