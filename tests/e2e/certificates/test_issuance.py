"""Everything an operator can ask of a CA besides the ordinary."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from acme_client import Eab, Store, rehearse, renew_now
from tests.e2e.certificates.earlier import DAY
from tests.e2e.certificates.lab import Lab, Start
from tests.pebble import Behaviour, NameServer, needs_pebble
from tests.programs import wait_for

pytestmark = needs_pebble
KEY_ID = "kid-1"
HMAC_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
BOUND = Behaviour(always_valid=True, external_accounts={KEY_ID: HMAC_KEY})


def test_an_external_account_is_bound(lab: Lab, start: Start) -> None:
    commercial = start(BOUND)
    lab.obtain(directory=commercial.directory, eab=Eab(KEY_ID, HMAC_KEY))
    assert commercial.issued() == 1


@pytest.mark.parametrize(
    "eab",
    [None, Eab("kid-2", HMAC_KEY), Eab(KEY_ID, "AAAA"), Eab(KEY_ID, "no base64url!")],
    ids=["none", "an unknown id", "another key", "a key that is none"],
)
def test_a_binding_the_ca_does_not_accept_is_told_of(
    lab: Lab, start: Start, eab: Eab | None
) -> None:
    commercial = start(BOUND)
    lab.tick(lab.keeper(directory=commercial.directory, eab=eab))
    assert lab.store.state(lab.host).last_error
    assert commercial.orders() == 0


def test_the_chain_is_served_whole(lab: Lab, start: Start) -> None:
    long = start(Behaviour(always_valid=True, chain_length=3))
    pair = lab.obtain(directory=long.directory)
    chain = x509.load_pem_x509_certificates(pair.certificate)
    assert len(chain) == 4
    for certificate, issuer in itertools.pairwise(chain):
        certificate.verify_directly_issued_by(issuer)


@pytest.mark.parametrize(
    ("wanted", "kind", "bits"),
    [
        ("ecdsa-p256", ec.EllipticCurvePublicKey, 256),
        ("ecdsa-p384", ec.EllipticCurvePublicKey, 384),
        ("rsa-2048", rsa.RSAPublicKey, 2048),
    ],
)
def test_the_key_is_of_the_type_that_was_asked_for(
    lab: Lab, wanted: str, kind: type[ec.EllipticCurvePublicKey | rsa.RSAPublicKey], bits: int
) -> None:
    leaf = x509.load_pem_x509_certificate(lab.obtain(key_type=wanted).certificate)
    key = leaf.public_key()
    assert isinstance(key, kind)
    assert key.key_size == bits


def test_each_renewal_has_a_key_of_its_own(lab: Lab) -> None:
    assert lab.obtain().key != lab.obtain().key


def test_a_wildcard_is_issued_by_dns_through_the_operators_program(
    lab: Lab, names: NameServer, tmp_path: Path
) -> None:
    hook = tmp_path / "hook.py"
    hook.write_text(HOOK.format(management=names.management))
    wildcard = f"*.{lab.host}"
    settings = lab.settings(challenges=("dns-01",), dns_hook=(sys.executable, str(hook)))
    assert renew_now(settings, lab.store, [wildcard]) == [(wildcard, None)]
    assert (lab.folder / f"_.{lab.host}.pem").exists()
    said = (tmp_path / "said").read_text().splitlines()
    assert [line.split()[:2] for line in said] == [
        ["present", f"_acme-challenge.{lab.host}"],
        ["cleanup", f"_acme-challenge.{lab.host}"],
    ]


HOOK = """
import json, pathlib, sys, urllib.request
action, name, value = sys.argv[1:]
record = {{"host": name + ".", **({{"value": value}} if action == "present" else {{}})}}
path = "/set-txt" if action == "present" else "/clear-txt"
url = "http://127.0.0.1:{management}" + path
urllib.request.urlopen(url, json.dumps(record).encode()).close()
with open(pathlib.Path(__file__).with_name("said"), "a") as said:
    said.write(action + " " + name + " " + value + "\\n")
"""


def test_a_rehearsal_issues_and_renews_and_touches_no_live_file(lab: Lab) -> None:
    lab.put(begun=DAY, ends=89 * DAY)
    live = {path: path.read_bytes() for path in lab.folder.iterdir() if path.is_file()}
    issued = lab.ca.issued()
    assert rehearse(lab.settings(), lab.store, [lab.host]) == [(lab.host, None)]
    assert lab.ca.issued() == issued + 2
    assert {path: path.read_bytes() for path in live} == live


def test_a_rehearsal_that_fails_says_why(lab: Lab, names: NameServer) -> None:
    names.fail(lab.host)
    [(_, error)] = rehearse(lab.settings(), lab.store, [lab.host])
    assert "Could not resolve" in (error or "")


def test_a_renewal_asked_for_while_a_process_keeps_the_store_is_done_by_that_process(
    lab: Lab,
) -> None:
    with lab.process() as keeping:
        before = wait_for(lab.served, what="the first certificate")
        wait_for(lambda: keeping.says("leading"), what="the process being at rest")
        assert renew_now(lab.settings(), Store(lab.folder), [lab.host]) == [(lab.host, None)]
        assert lab.served() != before
    assert lab.shim.count("newAccount") == 1


def test_a_renewal_that_fails_tells_the_cas_own_words(lab: Lab, start: Start) -> None:
    strict = start(Behaviour(always_valid=True, blocked=[lab.host]))
    settings = lab.settings(directory=strict.directory)
    [(_, error)] = renew_now(settings, lab.store, [lab.host])
    assert "forbidden by policy" in (error or "")
