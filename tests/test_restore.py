"""Restore: where the contents of an archive go, and what is never touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acme_client.store import Store
from proxy.backup import BackupError, back_up, restore
from proxy.local_ca import LocalAuthority
from tests.authority import Authority
from tests.machines import HOST, Machine, with_everything
from tests.test_running import standing_in


@pytest.fixture
def machine(tmp_path: Path, authority: Authority) -> Machine:
    return with_everything(tmp_path / "old", authority)


@pytest.fixture
def archive(tmp_path: Path, machine: Machine) -> Path:
    back_up(machine.file, machine.store, tmp_path / "out.tar.gz")
    return tmp_path / "out.tar.gz"


@pytest.fixture
def empty(tmp_path: Path) -> Machine:
    """A new machine."""
    machine = Machine(tmp_path / "new")
    machine.folder.mkdir()
    return machine


@pytest.fixture
def umask() -> Iterator[None]:
    """One that hides nothing from anybody."""
    before = os.umask(0)
    yield
    os.umask(before)


# ---- onto an empty machine


def test_an_empty_machine_becomes_what_the_old_one_was(
    machine: Machine, archive: Path, empty: Machine
) -> None:
    restore(archive, empty.file)
    unneeded = {"var/store/lock", "var/store/changed"}
    old = {name: found for name, found in machine.tree().items() if name not in unneeded}
    new = {name: found for name, found in empty.tree().items() if name not in unneeded}
    assert new == old


def test_the_store_is_for_its_owner_only_whatever_the_umask(
    archive: Path, empty: Machine, umask: None
) -> None:
    restore(archive, empty.file)
    found = [empty.store, *empty.store.rglob("*")]
    modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in found}
    assert modes == {(True, 0o700), (False, 0o600)}


def test_the_configuration_is_as_open_as_it_was(
    machine: Machine, empty: Machine, tmp_path: Path
) -> None:
    for mode, after in ((0o640, 0o640), (0o600, 0o600), (0o777, 0o644)):
        machine.file.chmod(mode)
        back_up(machine.file, machine.store, tmp_path / "out.tar.gz")
        target = empty.folder / f"{mode:o}" / "hopward.yml"
        restore(tmp_path / "out.tar.gz", target)
        assert target.stat().st_mode & 0o777 == after


def test_the_store_goes_where_the_restored_configuration_says(
    machine: Machine, archive: Path, empty: Machine
) -> None:
    machine.file.write_text(machine.file.read_text().replace("../var/store", "../elsewhere"))
    back_up(machine.file, machine.store, archive)
    restored = restore(archive, empty.file)
    assert restored.store.resolve() == (empty.folder / "elsewhere").resolve()
    assert (empty.folder / "elsewhere" / f"{HOST}.pem").exists()


def test_the_store_goes_where_the_caller_says_when_he_does(archive: Path, empty: Machine) -> None:
    restore(archive, empty.file, empty.folder / "chosen")
    assert (empty.folder / "chosen" / f"{HOST}.pem").exists()
    assert not empty.store.exists()


def test_a_variable_that_names_no_file_need_not_be_set(
    machine: Machine, archive: Path, empty: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.file.write_text(machine.file.read_text() + "alerts: {webhook: '${A_SECRET}'}\n")
    monkeypatch.delenv("A_SECRET", raising=False)
    back_up(machine.file, machine.store, archive)
    restore(archive, empty.file)
    assert empty.certificate(HOST) is not None


def test_a_variable_that_says_where_a_file_belongs_has_to_be_set(
    machine: Machine, archive: Path, empty: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.file.write_text(machine.file.read_text().replace("../var/store", "${STATE}/store"))
    monkeypatch.setenv("STATE", "../var")
    back_up(machine.file, machine.store, archive)
    monkeypatch.delenv("STATE")
    with pytest.raises(BackupError, match="the environment has no STATE"):
        restore(archive, empty.file)
    assert empty.tree() == {}


def test_restoring_twice_is_restoring_once(archive: Path, empty: Machine) -> None:
    restore(archive, empty.file)
    before = empty.tree()
    assert restore(archive, empty.file).files == ()
    del before["var/store/changed"]
    assert {**empty.tree(), **before} == empty.tree()


def test_whoever_serves_notices_the_restored_certificates(archive: Path, empty: Machine) -> None:
    empty.store.mkdir(parents=True)
    before = Store(empty.store).generation()
    restore(archive, empty.file)
    assert Store(empty.store).generation() != before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root gives files away")
def test_what_root_restores_belongs_to_whom_the_store_belongs(
    archive: Path, empty: Machine
) -> None:
    empty.store.mkdir(parents=True)
    os.chown(empty.store, 65534, 65534)
    restore(archive, empty.file)
    found = [empty.store, *empty.store.rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in found} == {(65534, 65534)}


# ---- onto one that is not empty


def test_a_configuration_that_is_there_is_kept(archive: Path, empty: Machine) -> None:
    empty.configure()
    before = empty.tree()
    with pytest.raises(BackupError, match=r"would replace .*hopward\.yml; with --force it does"):
        restore(archive, empty.file)
    assert empty.tree() == before


def test_a_newer_certificate_is_kept_and_named(
    machine: Machine, archive: Path, authority: Authority
) -> None:
    newer = authority.pair(HOST)
    machine.hold(HOST, newer)
    with pytest.raises(BackupError, match=rf"would replace .*{HOST}"):
        restore(archive, machine.file)
    assert machine.certificate(HOST) == newer.cert.read_bytes()


def test_that_a_certificate_is_newer_is_said(machine: Machine, archive: Path) -> None:
    now = datetime.now(UTC)
    root = LocalAuthority.open(machine.folder / "another", now=now)
    pair = root.issue([HOST], now=now + timedelta(hours=1))
    (machine.store / f"{HOST}.key").write_bytes(pair.key)
    (machine.store / f"{HOST}.pem").write_bytes(pair.certificate)
    with pytest.raises(BackupError, match=rf"{HOST}\.pem \(which is newer\)"):
        restore(archive, machine.file)


def test_with_force_everything_is_as_it_was_in_the_archive(
    machine: Machine, archive: Path, authority: Authority
) -> None:
    before = machine.tree()
    machine.hold(HOST, authority.pair(HOST))
    machine.configure("# changed\n")
    restore(archive, machine.file, force=True)
    del before["var/store/changed"]
    assert {**machine.tree(), **before} == machine.tree()


def test_hosts_that_are_not_in_the_archive_keep_what_they_have(
    machine: Machine, archive: Path, authority: Authority
) -> None:
    machine.hold("new.example.com", authority.pair("new.example.com"))
    restore(archive, machine.file, force=True)
    assert machine.certificate("new.example.com") is not None


@pytest.mark.parametrize("force", [False, True])
def test_a_store_that_is_served_from_is_left_alone(
    machine: Machine, archive: Path, *, force: bool
) -> None:
    serving = Store(machine.store)
    assert serving.take_lock()
    before = machine.tree()
    with pytest.raises(BackupError, match="hopward is running"):
        restore(archive, machine.file, force=force)
    assert machine.tree() == before
    serving.release_lock()


def test_a_proxy_that_issues_no_certificate_is_running_too(machine: Machine, archive: Path) -> None:
    with (
        standing_in(machine.store, machine.file),
        pytest.raises(BackupError, match="hopward is running"),
    ):
        restore(archive, machine.file, force=True)


def test_a_configuration_behind_a_link_is_written_where_the_link_leads(
    archive: Path, empty: Machine
) -> None:
    real = empty.folder / "real.yml"
    empty.file.parent.mkdir()
    real.write_text("sites: {}\n")
    empty.file.symlink_to(real)
    restore(archive, empty.file, force=True)
    assert empty.file.is_symlink()
    assert real.read_bytes().startswith(b"store:")


# ---- all or nothing


def test_a_disk_that_fills_up_leaves_what_is_there(
    machine: Machine, archive: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.hold(HOST, authority.pair(HOST))
    before = machine.tree()
    real = os.fsync

    def full(descriptor: int) -> None:
        if b".part" in os.readlink(f"/proc/self/fd/{descriptor}".encode()):
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackupError, match="No space left on device"):
        restore(archive, machine.file, force=True)
    assert machine.tree() == before


def test_at_every_step_of_a_restore_each_host_has_a_pair_that_loads(
    machine: Machine, archive: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.hold(HOST, authority.pair(HOST))
    real, loaded = Path.replace, list[bool]()

    def stop(source: Path, target: Path) -> Path:
        result = real(source, target)
        loaded.append(Store(machine.store).load(HOST) is not None)
        return result

    monkeypatch.setattr(Path, "replace", stop)
    restore(archive, machine.file, force=True)
    assert len(loaded) > 3
    assert all(loaded)
