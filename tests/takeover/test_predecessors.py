"""Where certbot, Caddy and Pingoo keep what they have, and that it is found there."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from josepy.jwk import JWKEC, JWKRSA

from acme_client.store import Store
from proxy.takeover import take_over
from tests.takeover.predecessors import (
    DIRECTORY,
    HOST,
    NOW,
    OTHER,
    CaddyData,
    Issuer,
    Letsencrypt,
    move,
    pingoo_folder,
    served,
)

STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"


@pytest.fixture
def data(tmp_path: Path) -> CaddyData:
    return CaddyData(tmp_path / "caddy")


# ---- from certbot


def test_what_certbot_serves_is_served_on(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    pair = issuer.pair(HOST)
    letsencrypt.renew(HOST, pair)
    taken = move(letsencrypt, store)[HOST]
    assert (taken.skipped, taken.not_after) == (None, pair.not_after)
    assert taken.source == letsencrypt.folder / "live" / HOST / "fullchain.pem"
    assert served(store) == pair.certificate


def test_a_certificate_for_several_hosts_is_taken_for_each(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    pair = issuer.pair(HOST, OTHER)
    letsencrypt.renew(HOST, pair)
    move(letsencrypt, store, HOST, OTHER)
    assert served(store) == served(store, OTHER) == pair.certificate


def test_a_wildcard_certificate_serves_the_host_that_it_covers(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    pair = issuer.pair("*.example.com")
    letsencrypt.renew("example.com", pair)
    move(letsencrypt, store, HOST, "*.example.com")
    assert served(store) == served(store, "*.example.com") == pair.certificate


def test_of_several_certificates_the_newest_is_taken(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    newest = issuer.pair(HOST, OTHER, days_ago=1)
    letsencrypt.renew(HOST, issuer.pair(HOST, days_ago=3))
    letsencrypt.renew(f"{HOST}-0001", newest)
    letsencrypt.renew(OTHER, issuer.pair(HOST, days_ago=2))
    move(letsencrypt, store)
    assert served(store) == newest.certificate


def test_where_the_newest_has_another_key_the_one_before_is_taken(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    before = issuer.pair(HOST, days_ago=1)
    letsencrypt.renew(HOST, before)
    letsencrypt.renew(HOST, issuer.pair(HOST)._replace(key=issuer.pair(HOST).key))
    assert move(letsencrypt, store)[HOST].skipped is None
    assert served(store) == before.certificate


def test_a_copy_that_lost_its_links_still_has_the_archive(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    pair = issuer.pair(HOST)
    letsencrypt.renew(HOST, pair)
    for link in (letsencrypt.folder / "live" / HOST).glob("*.pem"):
        link.unlink()
    move(letsencrypt, store)
    assert served(store) == pair.certificate


def test_an_account_that_renews_is_taken_before_one_that_does_not(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    key = JWKRSA(key=rsa.generate_private_key(65537, 2048))
    letsencrypt.renew(HOST, issuer.pair(HOST), account="08ad")
    letsencrypt.register("08ad", key)
    letsencrypt.register("ffff", JWKRSA(key=rsa.generate_private_key(65537, 2048)))
    move(letsencrypt, store)
    assert store.accounts() == {
        DIRECTORY: {"key": key.to_json(), "uri": "https://ca.example/acct/08ad"}
    }


def test_an_account_behind_a_link_to_an_older_directory_is_found(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    old = "https://acme-v01.api.letsencrypt.org/directory"
    letsencrypt.renew(HOST, issuer.pair(HOST), account="08ad")
    folder = letsencrypt.register("08ad", JWKEC(key=ec.generate_private_key(ec.SECP256R1())), old)
    newer = letsencrypt.folder / "accounts" / DIRECTORY.removeprefix("https://")
    newer.parent.mkdir()
    newer.symlink_to(folder.parent)
    move(letsencrypt, store)
    assert DIRECTORY in store.accounts()


def test_an_account_that_cannot_be_read_costs_no_certificate(
    letsencrypt: Letsencrypt, issuer: Issuer, store: Store
) -> None:
    letsencrypt.renew(HOST, issuer.pair(HOST))
    folder = letsencrypt.register("08ad", JWKEC(key=ec.generate_private_key(ec.SECP256R1())))
    (folder / "private_key.json").chmod(0o600)
    (folder / "private_key.json").write_text('{"kty": "RSA"}')
    taken = move(letsencrypt, store)
    assert taken["private_key.json"].skipped is not None
    assert taken[HOST].skipped is None
    assert store.accounts() == {}


# ---- from Caddy


def test_what_caddy_serves_is_served_on(data: CaddyData, issuer: Issuer, store: Store) -> None:
    pair, wildcard = issuer.pair(HOST), issuer.pair("*.example.org")
    data.hold(HOST, pair, "acme-v02.api.letsencrypt.org-directory", DIRECTORY)
    data.hold("*.example.org", wildcard, "acme-v02.api.letsencrypt.org-directory", DIRECTORY)
    move(data, store, HOST, "*.example.org")
    assert served(store) == pair.certificate
    assert served(store, "*.example.org") == wildcard.certificate


def test_caddys_account_goes_by_the_directory_that_its_folder_stands_for(
    data: CaddyData, issuer: Issuer, store: Store
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    directory = "https://CA.example:14000/acme/Dir"
    data.hold(HOST, issuer.pair(HOST), "ca.example-14000-acme-dir", directory)
    data.register("ca.example-14000-acme-dir", key)
    data.register("nobody.knows-this", key)
    move(data, store)
    account = {"key": JWKEC(key=key).to_json(), "uri": "https://ca.example/acct/7"}
    assert store.accounts() == {directory: account}


def test_what_caddys_own_authority_signed_is_not_taken(
    data: CaddyData, issuer: Issuer, store: Store
) -> None:
    data.hold(HOST, issuer.pair(HOST), "local", None)
    assert "own authority" in str(move(data, store)[HOST].skipped)
    assert served(store) is None


def test_the_folder_above_caddys_will_do(data: CaddyData, issuer: Issuer, store: Store) -> None:
    data.hold(HOST, issuer.pair(HOST), "ca", "https://ca.example/")
    taken = take_over("caddy", data.folder.parent, [HOST], store, clock=lambda: NOW)
    assert [each.skipped for each in taken] == [None]


# ---- from Pingoo


@pytest.fixture
def tls(tmp_path: Path, issuer: Issuer) -> Path:
    return pingoo_folder(tmp_path / "pingoo", issuer, HOST)


def test_what_pingoo_serves_is_served_on(tls: Path, store: Store) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    account = {"id": "https://ca.example/acct/9", "key": base64.b64encode(der).decode()}
    content = {"version": "1", "data": {"accounts": {DIRECTORY: account}}}
    (tls / "acme.json").write_text(json.dumps(content))
    taken = take_over("pingoo", tls, [HOST], store, clock=lambda: NOW)
    assert [(each.what, each.skipped) for each in taken] == [
        (HOST, None),
        (f"account at {DIRECTORY}", None),
    ]
    assert served(store) == (tls / f"{HOST}.pem").read_bytes()
    assert store.accounts()[DIRECTORY]["key"] == JWKEC(key=key).to_json()


def test_pingoos_own_folder_above_its_certificates_will_do(tls: Path, store: Store) -> None:
    assert take_over("pingoo", tls.parent, [HOST], store, clock=lambda: NOW)[0].skipped is None


@pytest.mark.parametrize("content", ["", "[]", '{"data": {"accounts": {"x": {}}}}', "{}"])
def test_broken_accounts_of_pingoo_cost_no_certificate(
    tls: Path, store: Store, content: str
) -> None:
    (tls / "acme.json").write_text(content)
    taken = take_over("pingoo", tls, [HOST], store, clock=lambda: NOW)
    assert {each.what for each in taken if each.skipped is None} == {HOST}
    assert any(each.what == "acme.json" for each in taken)
