"""The store: at every moment a loadable pair, and nobody else's eyes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as some

from acme_client import State, Store, StoreError, files
from acme_client.pair import make_key
from acme_client.renewal import Failure, Wait, Window
from acme_client.state import PlacedOrder, Trouble
from tests.test_acme_pair import chain

HOST = "example.com"
moments = some.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=some.just(UTC))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    assert store.take_lock()
    yield store
    store.release_lock()


def put(store: Store, *, begun: int = 0, host: str = HOST) -> bytes:
    """A pair that began so many days ago; its certificate."""
    key = make_key("ecdsa-p256")
    certificate = chain(key, host, begun=timedelta(days=begun))
    store.keep_key(host, key)
    store.commit(host, certificate)
    return certificate


def served(store: Store, host: str = HOST) -> bytes | None:
    pair = store.load(host)
    return None if pair is None else pair.certificate


# ---- who may read


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_folders_are_0700_and_files_0600_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = Store(tmp_path / "store")
        store.take_lock()
        put(store)
        store.save_state(HOST, State())
        store.save_accounts({"https://ca.example/dir": {}})
        store.answers.put_http_token("token", "authorization")
        store.wishes.ask(HOST)
        store.release_lock()
    finally:
        os.umask(before)
    found = [store.folder, *store.folder.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in found}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_a_pair_lies_in_the_files_of_its_host(store: Store) -> None:
    put(store, host="*.example.com")
    assert {"_.example.com.pem", "_.example.com.key"} <= {p.name for p in store.folder.iterdir()}
    assert not list(store.folder.glob("*.new"))


def test_one_process_at_a_time_holds_the_lock(store: Store) -> None:
    other = Store(store.folder)
    assert not other.take_lock()
    store.release_lock()
    assert other.take_lock()
    other.release_lock()


# ---- crashes


class _Crash(BaseException):
    """The process dies here."""


def crash_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store die at its n-th write to the disk."""
    left = [step]

    def counted(original: Callable[..., object], *args: object, **named: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise _Crash
        return original(*args, **named)

    for owner, name in ((os, "open"), (os, "fsync"), (Path, "replace"), (Path, "unlink")):
        original = getattr(owner, name)
        if owner is Path:
            monkeypatch.setattr(owner, name, lambda *a, _o=original, **n: counted(_o, *a, **n))
        else:
            monkeypatch.setattr(owner, name, partial(counted, original))


def test_a_crash_at_any_step_of_a_commit_leaves_the_old_pair_or_the_new_one(
    store: Store,
) -> None:
    served_pair, steps = put(store, begun=900), 0
    while True:
        key = make_key("ecdsa-p256")
        new = chain(key, HOST, begun=timedelta(days=800 - steps))
        try:
            with pytest.MonkeyPatch.context() as patched:
                crash_at(steps, patched)
                store.keep_key(HOST, key)
                store.commit(HOST, new)
        except _Crash:
            steps += 1
        else:
            break
        found = served(Store(store.folder))
        assert found in (served_pair, new)
        # The next owner finishes, and does not change its mind.
        assert served(store) == found
        assert served(Store(store.folder)) == found
        assert not list(store.folder.glob("*.pem.new"))
        served_pair = new if found == new else served_pair
    assert steps >= 14


@pytest.mark.parametrize("renamed", [(), (".key",), (".key", ".pem")])
def test_a_commit_that_was_cut_short_is_finished_and_told_by_the_next_owner(
    store: Store, renamed: tuple[str, ...]
) -> None:
    put(store, begun=30)
    key = make_key("ecdsa-p256")
    new = chain(key, HOST, begun=timedelta(0))
    for ending, content in ((".key", key), (".pem", new)):
        name = ending if ending in renamed else f"{ending}.new"
        files.replace(store.folder / f"{HOST}{name}", content)
    generation = store.generation()
    store.release_lock()
    assert store.take_lock()
    assert served(store) == new
    assert store.folder.joinpath(f"{HOST}.pem").read_bytes() == new
    assert store.folder.joinpath(f"{HOST}.key").read_bytes() == key
    assert store.generation() != generation


def test_a_reader_finishes_nothing(store: Store) -> None:
    put(store)
    files.replace(store.folder / f"{HOST}.pem.new", b"half a certif")
    names = {path.name for path in store.folder.iterdir()}
    assert served(Store(store.folder)) is not None
    assert {path.name for path in store.folder.iterdir()} == names


def test_a_look_from_another_thread_does_not_finish_a_commit_under_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, looks = files.replace, list[Thread]()

    def replace_and_look(path: Path, content: bytes, *, durable: bool = True) -> None:
        replace(path, content, durable=durable)
        if path.name.endswith(".pem.new"):
            looks.append(Thread(target=store.load, args=(HOST,)))
            looks[-1].start()
            # Long enough for a look that does not wait to do its harm.
            looks[-1].join(0.3)

    monkeypatch.setattr(files, "replace", replace_and_look)
    certificate = put(store)
    for look in looks:
        look.join(30)
    assert looks
    assert served(store) == certificate


def test_readers_see_every_pair_whole_while_it_is_replaced(store: Store) -> None:
    put(store, begun=60)
    reader = Store(store.folder)
    seen = []
    with pytest.MonkeyPatch.context() as patched:
        replace = Path.replace

        def looked_at(path: Path, target: Path) -> Path:
            result = replace(path, target)
            seen.append(served(reader))
            return result

        patched.setattr(Path, "replace", looked_at)
        for begun in range(50, 0, -10):
            put(store, begun=begun)
    assert len(seen) >= 25
    assert None not in seen


# ---- what cannot be used


@pytest.mark.parametrize("ending", [".pem", ".key"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nMII"])
def test_a_broken_file_is_set_aside_by_the_owner(store: Store, ending: str, content: bytes) -> None:
    put(store)
    files.replace(store.folder / f"{HOST}{ending}", content)
    assert served(store) is None
    assert len(store.set_aside) == 2
    names = [path.name for path in store.folder.iterdir() if ".bad-" in path.name]
    assert sorted(name.split(".bad-")[0] for name in names) == [f"{HOST}.key", f"{HOST}.pem"]


def test_a_certificate_of_another_host_is_not_served(store: Store) -> None:
    key = make_key("ecdsa-p256")
    store.keep_key(HOST, key)
    store.commit(HOST, chain(key, "another.example.com"))
    assert served(store) is None


def test_a_reader_leaves_what_it_cannot_use(store: Store) -> None:
    put(store)
    files.replace(store.folder / f"{HOST}.key", b"")
    assert served(Store(store.folder)) is None
    assert not list(store.folder.glob("*.bad-*"))


def test_a_broken_pair_does_not_hide_the_good_one_beside_it(store: Store) -> None:
    good = put(store)
    files.replace(store.folder / f"{HOST}.pem.new", b"garbage")
    files.replace(store.folder / f"{HOST}.key.new", make_key("ecdsa-p256"))
    assert served(store) == good


def test_a_corrupt_state_is_set_aside_and_forgotten(store: Store) -> None:
    files.replace(store.folder / f"{HOST}.json", b'{"next_renewal": 5}')
    assert store.state(HOST) == State()
    assert [path.name.split(".bad-")[0] for path in store.set_aside] == [f"{HOST}.json"]


def test_corrupt_accounts_come_from_their_copy(store: Store) -> None:
    accounts = {"https://ca.example/dir": {"uri": "https://ca.example/1"}}
    store.save_accounts(accounts)
    files.replace(store.folder / "acme.json", b"{")
    assert store.accounts() == accounts
    assert len(list(store.folder.glob("acme.json.bad-*"))) == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_without_a_copy_corrupt_accounts_are_none(store: Store, content: bytes) -> None:
    files.replace(store.folder / "acme.json", content)
    assert store.accounts() == {}


def test_accounts_that_cannot_be_read_are_not_taken_for_none(store: Store) -> None:
    for name in ("acme.json", "acme.json.bak"):
        store.folder.joinpath(name).mkdir()
    with pytest.raises(StoreError, match=r"acme\.json: Is a directory"):
        store.accounts()


def test_a_host_called_acme_has_files_beside_the_accounts(store: Store) -> None:
    accounts = {"https://ca.example/dir": {"uri": "https://ca.example/1"}}
    store.save_accounts(accounts)
    store.save_state("acme", State(last_error="no such name"))
    put(store, host="acme")
    assert store.accounts() == accounts
    assert store.state("acme").last_error == "no such name"
    assert served(store, "acme") is not None


# ---- telling


def test_a_commit_is_seen_by_one_stat(store: Store) -> None:
    seen = {store.generation()}
    for _ in range(5):
        put(store)
        seen.add(Store(store.folder).generation())
    assert len(seen) == 6


def test_a_failed_write_names_the_file(store: Store) -> None:
    store.folder.joinpath(f"{HOST}.json").mkdir()
    with pytest.raises(StoreError, match=r"example\.com\.json"):
        store.save_state(HOST, State())
    assert not list(store.folder.glob(".*.part"))


def test_a_pair_of_another_program_is_taken_over(store: Store) -> None:
    key = make_key("rsa-2048")
    store.adopt(HOST, chain(key, HOST, "www.example.com"), key)
    assert served(store) is not None


def test_a_pair_that_does_not_belong_together_is_not_taken_over(store: Store) -> None:
    before = put(store)
    with pytest.raises(ValueError, match="another key"):
        store.adopt(HOST, chain(make_key("ecdsa-p256"), HOST), make_key("ecdsa-p256"))
    assert served(store) == before


# ---- answers to challenges


@pytest.mark.parametrize("token", ["../acme.json", "..", "", "a/b", "a.b", "a\0b", "x" * 201])
def test_no_token_leads_out_of_its_folder(store: Store, token: str) -> None:
    store.save_accounts({})
    assert store.http_token(token) is None
    with pytest.raises(ValueError, match="token"):
        store.answers.put_http_token(token, "authorization")


@given(some.text())
def test_no_server_name_opens_anything_but_an_answer(name: str) -> None:
    assert Store(Path("/")).alpn_certificate(name) is None


def test_an_answer_is_there_until_it_is_taken_back(store: Store) -> None:
    token = store.answers.put_http_token("token", "authorization")
    certificate = store.answers.put_alpn_certificate("Example.com", b"PEM")
    reader = Store(store.folder)
    assert reader.http_token("token") == b"authorization"
    assert reader.alpn_certificate("EXAMPLE.COM") == b"PEM"
    store.answers.remove(token)
    store.answers.remove(certificate)
    assert reader.http_token("token") is None
    assert reader.alpn_certificate("example.com") is None


def test_answers_that_a_dead_process_left_are_swept_up(store: Store) -> None:
    old = store.answers.put_http_token("old", "authorization")
    store.answers.put_http_token("new", "authorization")
    os.utime(old, (0, 0))
    store.release_lock()
    assert store.take_lock()
    assert store.http_token("old") is None
    assert store.http_token("new") is not None


# ---- state


waits = some.builds(Wait, moments, moments)
states = some.builds(
    State,
    next_renewal=some.none() | moments,
    last_error=some.none() | some.text(),
    failing_since=some.none() | moments,
    in_danger=some.booleans(),
    directory=some.none() | some.text(),
    issued=some.none() | moments,
    premature=some.integers(0, 9),
    pause=some.none() | waits,
    challenge=some.none() | some.text(),
    window=some.none() | some.builds(Window, moments, moments, moments),
    suggested_for=some.none() | some.text(),
    next_poll=some.none() | moments,
    polled=some.none() | moments,
    replaceable=some.booleans(),
    order=some.none() | some.builds(PlacedOrder, some.text(), some.text(), some.integers(0, 3)),
    troubles=some.dictionaries(
        some.text(),
        some.builds(Trouble, some.sampled_from(Failure), some.integers(0, 99), waits, some.text()),
    ),
    failed_validations=some.lists(moments).map(tuple),
)


@given(states)
def test_a_state_survives_its_file(state: State) -> None:
    assert State.from_json(state.to_json()) == state


# Noise alone is seldom JSON, but `{}` is, and a state: so it begins with what never is.
@given(
    some.binary().map(lambda noise: b"\xff" + noise)
    | some.sampled_from([b"", b"[]", b"null", b"5", b'{"premature": -1}'])
)
def test_what_is_no_state_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="no state"):
        State.from_json(content)


def test_a_state_of_an_earlier_version_is_still_a_state() -> None:
    assert State.from_json(b'{"last_error": "timeout"}') == State(last_error="timeout")


def test_at_most_five_validations_fail_within_an_hour() -> None:
    now, state, failed = datetime(2026, 3, 1, tzinfo=UTC), State(), []
    for minutes in range(0, 600, 7):
        at = now + timedelta(minutes=minutes)
        if state.validation_allowed_at(at) <= at:
            state = state.with_failed_validation(at)
            failed.append(at)
    for first in failed:
        within = [each for each in failed if first <= each < first + timedelta(hours=1)]
        assert len(within) <= 5
    assert len(failed) >= 45
