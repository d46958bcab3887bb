"""What stands in the store is broken, old or lost: visitors are served, and it heals itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from acme_client import State, Store
from tests.e2e.certificates.earlier import DAY
from tests.e2e.certificates.lab import Lab
from tests.pebble import needs_pebble

pytestmark = needs_pebble


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    path.write_bytes(b"\xff\xfe not what it was")


def test_an_expired_certificate_is_served_and_renewed_at_once(lab: Lab) -> None:
    expired = lab.put(begun=90 * DAY, ends=timedelta(seconds=-1))
    assert lab.served_certificate() == expired.certificate
    lab.tick()
    assert lab.served_certificate() != expired.certificate
    assert lab.remaining() > 80 * DAY


def test_an_expired_certificate_is_served_as_long_as_the_ca_is_down(lab: Lab) -> None:
    expired = lab.put(begun=90 * DAY, ends=timedelta(seconds=-1))
    with lab.shim.away():
        lab.tick()
        assert lab.served_certificate() == expired.certificate
        assert lab.store.state(lab.host).last_error


def test_a_key_that_does_not_match_its_certificate_is_set_aside_and_a_new_pair_is_issued(
    lab: Lab,
) -> None:
    lab.obtain()
    other = lab.earlier(begun=DAY, ends=89 * DAY)
    lab.file(".key").write_bytes(other.key)
    lab.tick()
    assert lab.served() is not None
    assert lab.set_aside() == [".key", ".pem"]


@pytest.mark.parametrize("ending", [".pem", ".key"])
@pytest.mark.parametrize("broken", [truncated, emptied, garbled])
def test_a_broken_pair_is_set_aside_and_issued_again(
    lab: Lab, broken: Callable[[Path], None], ending: str
) -> None:
    before = lab.obtain()
    broken(lab.file(ending))
    lab.tick()
    served = lab.served()
    assert served is not None
    assert served.certificate != before.certificate
    assert ending in lab.set_aside()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"next_renewal": 7}', b'{"troubles": [1]}'],
    ids=["empty", "cut", "list", "null", "binary", "a number for a date", "a list for a mapping"],
)
def test_a_corrupt_state_file_costs_no_order(lab: Lab, content: bytes) -> None:
    before = lab.obtain()
    orders = lab.shim.count("newOrder")
    lab.file(".json").write_bytes(content)
    lab.tick()
    assert lab.served() == before
    assert lab.shim.count("newOrder") == orders
    assert lab.store.state(lab.host) != State()


def test_a_corrupt_account_file_is_replaced_by_its_backup(lab: Lab) -> None:
    lab.obtain()
    (lab.folder / "acme.json").write_bytes(b"{ not json")
    lab.obtain()
    assert lab.shim.count("newAccount") == 1


@pytest.mark.parametrize("broken", [truncated, emptied, garbled])
def test_an_account_lost_with_its_backup_is_registered_anew(
    lab: Lab, broken: Callable[[Path], None]
) -> None:
    lab.obtain()
    for path in lab.folder.glob("acme.json*"):
        broken(path)
    lab.obtain()
    lab.obtain()
    assert lab.shim.count("newAccount") == 2


def test_all_files_are_their_owners_alone(lab: Lab) -> None:
    lab.obtain()
    modes = {path.name: oct(path.stat().st_mode)[-3:] for path in lab.folder.rglob("*")}
    folders = {path.name for path in lab.folder.rglob("*") if path.is_dir()}
    assert {mode for name, mode in modes.items() if name not in folders} == {"600"}
    assert {mode for name, mode in modes.items() if name in folders} == {"700"}
    named = {"acme.json", *(f"{lab.host}{ending}" for ending in (".key", ".pem", ".json"))}
    assert named <= set(modes)


def test_a_reader_without_the_lock_sets_nothing_aside(lab: Lab) -> None:
    lab.obtain()
    truncated(lab.file(".pem"))
    assert Store(lab.folder).load(lab.host) is None
    assert lab.set_aside() == []
