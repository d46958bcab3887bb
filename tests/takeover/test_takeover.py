"""Taking over what another program had: what is taken, what is not, and why."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWKEC

from acme_client.renewal import Failure, Wait
from acme_client.state import State, Trouble
from acme_client.store import Store
from proxy.takeover import Kind, TakeOverError, take_over
from tests.takeover.predecessors import (
    DIRECTORY,
    HOST,
    NOW,
    OTHER,
    Issuer,
    Letsencrypt,
    move,
    served,
)

STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"


# ---- what is not taken


def test_an_expired_certificate_is_left_and_its_end_told(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    letsencrypt.renew(HOST, issuer.pair(HOST, days_ago=10))
    assert move(letsencrypt, store)[HOST].skipped == "it expired on 2026-02-26"
    assert served(store) is None


def test_a_certificate_of_the_future_is_left(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    letsencrypt.renew(HOST, issuer.pair(HOST, days_ago=-2))
    assert "valid only from" in str(move(letsencrypt, store)[HOST].skipped)


def test_what_a_staging_authority_issued_is_left(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    letsencrypt.renew(HOST, issuer.pair(HOST), STAGING)
    assert "staging" in str(move(letsencrypt, store)[HOST].skipped)


def test_a_certificate_for_no_site_is_left_and_named_once(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    letsencrypt.renew(OTHER, issuer.pair(OTHER, days_ago=1))
    letsencrypt.renew(OTHER, issuer.pair(OTHER))
    taken = take_over("certbot", letsencrypt.folder, [HOST], store, clock=lambda: NOW)
    assert [(each.what, each.skipped) for each in taken] == [
        (OTHER, "no site of the configuration has this name"),
        (HOST, "nothing there is for this host"),
    ]


def test_a_key_that_is_missing_is_told(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    letsencrypt.renew(HOST, issuer.pair(HOST))
    (letsencrypt.folder / "archive" / HOST / "privkey1.pem").unlink()
    taken = move(letsencrypt, store)
    assert taken["fullchain.pem"].skipped == "it cannot be read: No such file or directory"


@pytest.mark.parametrize("days_ago", [0, 1])
def test_a_certificate_of_the_store_that_lasts_as_long_is_kept(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store, days_ago: int
) -> None:
    own = issuer.pair(HOST)
    assert store.take_lock()
    store.adopt(HOST, own.certificate, own.key)
    letsencrypt.renew(HOST, issuer.pair(HOST, days_ago=days_ago))
    assert "lasts longer" in str(move(letsencrypt, store)[HOST].skipped)
    assert served(store) == own.certificate
    store.release_lock()


def test_a_certificate_that_lasts_longer_takes_the_place_of_the_stores_own(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    own, longer = issuer.pair(HOST, days_ago=3), issuer.pair(HOST)
    assert store.take_lock()
    store.adopt(HOST, own.certificate, own.key)
    letsencrypt.renew(HOST, longer)
    assert move(letsencrypt, store)[HOST].skipped is None
    assert served(store) == longer.certificate
    store.release_lock()


def test_an_account_of_the_store_is_kept(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    own = {DIRECTORY: {"key": {}, "uri": "https://ca.example/acct/own"}}
    assert store.take_lock()
    store.save_accounts(own)
    letsencrypt.renew(HOST, issuer.pair(HOST))
    letsencrypt.register("08ad", JWKEC(key=ec.generate_private_key(ec.SECP256R1())))
    taken = move(letsencrypt, store)
    assert taken[f"account at {DIRECTORY}"].skipped == "the store has an account there"
    assert store.accounts() == own
    store.release_lock()


# ---- around it


def test_taking_over_twice_is_taking_over_once(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    letsencrypt.renew(HOST, issuer.pair(HOST))
    move(letsencrypt, store)
    assert move(letsencrypt, store)[HOST].skipped == "it is in the store already"


def test_the_source_is_left_as_it_was(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    letsencrypt.renew(HOST, issuer.pair(HOST))
    letsencrypt.register("08ad", JWKEC(key=ec.generate_private_key(ec.SECP256R1())))

    def look() -> dict[Path, tuple[int, float, bytes]]:
        files = [path for path in letsencrypt.folder.rglob("*") if path.is_file()]
        return {
            path: (path.lstat().st_mode, path.lstat().st_mtime, path.read_bytes()) for path in files
        }

    before = look()
    move(letsencrypt, store)
    assert look() == before


def test_plans_about_the_certificate_before_are_forgotten_and_limits_are_not(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    trouble = Trouble(Failure.NAMED, 1, Wait(NOW, NOW + timedelta(hours=1)), "rate limited")
    assert store.take_lock()
    store.save_state(HOST, State(next_renewal=NOW, last_error="x", troubles={DIRECTORY: trouble}))
    letsencrypt.renew(HOST, issuer.pair(HOST))
    move(letsencrypt, store)
    assert store.state(HOST) == State(directory=DIRECTORY, troubles={DIRECTORY: trouble})
    store.release_lock()


def test_a_store_that_somebody_serves_from_is_left_alone(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    serving = Store(store.folder)
    assert serving.take_lock()
    letsencrypt.renew(HOST, issuer.pair(HOST))
    with pytest.raises(TakeOverError, match="hopward is running"):
        move(letsencrypt, store)
    assert served(store) is None
    serving.release_lock()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root gives files away")
def test_what_root_takes_over_belongs_to_whom_the_store_belongs(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    store.folder.mkdir()
    os.chown(store.folder, 65534, 65534)
    letsencrypt.renew(HOST, issuer.pair(HOST))
    move(letsencrypt, store)
    assert {path.stat().st_uid for path in store.folder.iterdir()} == {65534}


def test_the_lock_is_released_afterwards(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    letsencrypt.renew(HOST, issuer.pair(HOST))
    move(letsencrypt, store)
    assert not store.locked


@pytest.mark.parametrize("kind", ["certbot", "caddy", "pingoo"])
def test_a_folder_that_is_none_of_the_programs_says_where_it_is_as_a_rule(
    tmp_path: Path, store: Store, kind: Kind
) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(TakeOverError, match="as a rule"):
            take_over(kind, folder, [HOST], store)
    assert not store.folder.exists()


def test_the_store_is_not_taken_over_from_itself(store: Store) -> None:
    with pytest.raises(TakeOverError, match="is the store itself"):
        take_over("pingoo", store.folder, [HOST], store)


def test_each_entry_is_a_line_for_people(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    letsencrypt.renew(HOST, issuer.pair(HOST))
    source = letsencrypt.folder / "live" / HOST / "fullchain.pem"
    assert str(move(letsencrypt, store)[HOST]) == (
        f"{HOST}: taken from {source}, valid until 2026-03-08"
    )
    assert str(move(letsencrypt, store)[HOST]) == (
        f"{HOST}: not taken from {source}: it is in the store already"
    )
