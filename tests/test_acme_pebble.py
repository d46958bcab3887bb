"""The engine against a real test CA: each way to prove a name, each kind of key and account."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from acme_client import Eab, Keeper, Settings, Store, inventory, rehearse, renew_now
from acme_client.pair import make_key
from acme_client.responder import answering
from acme_client.state import PlacedOrder
from tests.authority import Authority
from tests.challenge_responder import Responder
from tests.pebble import Behaviour, NameServer, Pebble, needs_pebble
from tests.programs import wait_for

pytestmark = needs_pebble
HOST = "example.com"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    with NameServer(tmp_path_factory.mktemp("names")) as server:
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pebble(
    authority: Authority, names: NameServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), authority, names=names) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path, pebble: Pebble) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    with Responder(store, pebble.http_port, pebble.tls_port):
        yield store


def settings(pebble: Pebble, **wanted: Any) -> Settings:
    return Settings(directory=pebble.directory, ca_bundle=pebble.bundle, **wanted)


def leaf(store: Store, host: str = HOST) -> x509.Certificate:
    pair = store.load(host)
    assert pair is not None
    return x509.load_pem_x509_certificate(pair.certificate)


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
@pytest.mark.parametrize("host", [HOST, "127.0.0.1"])
def test_a_name_is_proved(pebble: Pebble, store: Store, challenge: str, host: str) -> None:
    outcomes = renew_now(settings(pebble, challenges=(challenge,)), store, [host])
    assert outcomes == [(host, None)]
    assert inventory(store, [host])[0]["names"] == [host]
    assert store.state(host).challenge == challenge
    assert not [path for path in store.folder.joinpath("challenges").rglob("*") if path.is_file()]


@pytest.fixture
def hook(tmp_path: Path, names: NameServer) -> Path:
    """A program that sets TXT records at the test's name server."""
    program = tmp_path / "hook"
    program.write_text(
        f"""#!{sys.executable}
import json, sys, urllib.request
action, name, value = sys.argv[1:]
what = "set-txt" if action == "present" else "clear-txt"
record = json.dumps({{"host": name + ".", "value": value}}).encode()
urllib.request.urlopen("http://127.0.0.1:{names.management}/" + what, record).close()
with open({str(tmp_path / "calls")!r}, "a") as calls:
    print(action, name, file=calls)
"""
    )
    program.chmod(0o700)
    return program


def test_a_wildcard_is_proved_by_dns_01(
    pebble: Pebble, store: Store, hook: Path, tmp_path: Path
) -> None:
    wanted = settings(pebble, challenges=("http-01", "dns-01"), dns_hook=(str(hook),))
    assert renew_now(wanted, store, ["*.example.net"]) == [("*.example.net", None)]
    assert store.folder.joinpath("_.example.net.pem").exists()
    calls = tmp_path.joinpath("calls").read_text().splitlines()
    record = "_acme-challenge.example.net"
    assert calls == [f"present {record}", f"cleanup {record}"]


def test_a_wildcard_without_dns_01_is_refused_before_anything_is_ordered(
    pebble: Pebble, store: Store
) -> None:
    orders = pebble.orders()
    [(_, error)] = renew_now(settings(pebble), store, ["*.example.net"])
    assert error == "*.example.net needs another challenge than tls-alpn-01 and http-01"
    assert pebble.orders() == orders


def test_a_hook_that_fails_is_quoted(pebble: Pebble, store: Store, tmp_path: Path) -> None:
    program = tmp_path / "failing"
    program.write_text("#!/bin/sh\necho no credentials >&2\nexit 3\n")
    program.chmod(0o700)
    wanted = settings(pebble, challenges=("dns-01",), dns_hook=(str(program),))
    [(_, error)] = renew_now(wanted, store, [HOST])
    assert error == "the dns hook ended with 3: no credentials"
    wanted = settings(pebble, challenges=("dns-01",), dns_hook=("/nowhere/hook",))
    [(_, error)] = renew_now(wanted, store, [HOST])
    assert error == "the dns hook /nowhere/hook cannot be run: No such file or directory"


@pytest.mark.parametrize(
    ("key_type", "kind", "size"),
    [
        ("ecdsa-p256", ec.EllipticCurvePublicKey, 256),
        ("ecdsa-p384", ec.EllipticCurvePublicKey, 384),
        ("rsa-2048", rsa.RSAPublicKey, 2048),
    ],
)
def test_the_key_is_of_the_wanted_type(
    pebble: Pebble, store: Store, key_type: str, kind: type, size: int
) -> None:
    assert renew_now(settings(pebble, key_type=key_type), store, [HOST]) == [(HOST, None)]
    key = leaf(store).public_key()
    assert isinstance(key, kind)
    assert getattr(key, "key_size") == size  # noqa: B009 - the union has keys without a size


def test_an_account_is_made_once(pebble: Pebble, store: Store) -> None:
    hosts = [f"host{number}.example.com" for number in range(3)]
    before = pebble.log().count("accounts in memory")
    assert renew_now(settings(pebble), store, hosts) == [(host, None) for host in hosts]
    assert pebble.log().count("accounts in memory") == before + 1
    account = json.loads(store.folder.joinpath("acme.json").read_bytes())[pebble.directory]
    assert account["key"]["kty"] == "EC"
    assert account["uri"].startswith(pebble.directory.removesuffix("/dir"))


@pytest.mark.parametrize(
    "entry",
    [None, 5, {}, {"key": None}, {"key": {"kty": "EC"}}, {"key": {"kty": "oct", "k": "AA"}}],
)
def test_an_account_that_cannot_be_read_is_made_anew(
    pebble: Pebble, store: Store, entry: object
) -> None:
    store.folder.mkdir(mode=0o700, exist_ok=True)
    store.save_accounts({pebble.directory: entry, "https://other.example/dir": {"key": {}}})
    assert renew_now(settings(pebble), store, [HOST]) == [(HOST, None)]
    assert store.accounts()["https://other.example/dir"] == {"key": {}}


def test_a_key_whose_registration_got_lost_is_registered_again(
    pebble: Pebble, store: Store
) -> None:
    renew_now(settings(pebble), store, [HOST])
    account = store.accounts()[pebble.directory]
    store.save_accounts({pebble.directory: {"key": account["key"]}})
    assert renew_now(settings(pebble), store, [HOST]) == [(HOST, None)]
    assert store.accounts()[pebble.directory] == account


def test_a_hook_that_hangs_is_ended_when_work_is_stopped(
    pebble: Pebble, store: Store, tmp_path: Path
) -> None:
    program, started = tmp_path / "hanging", tmp_path / "started"
    lines = (
        "#!/bin/sh",
        "test $1 = present || exit 0",
        f"echo $$ > {started}.new",
        f"mv {started}.new {started}",
        "exec sleep 60",
    )
    program.write_text("\n".join(lines))
    program.chmod(0o700)
    stop = threading.Event()
    wanted = settings(pebble, challenges=("dns-01",), dns_hook=(str(program),))
    keeper = Keeper(wanted, store, [HOST], stop=stop)
    running = threading.Thread(target=keeper.run)
    running.start()
    wait_for(started.exists, what="the hook being called")
    keeper.stop()
    running.join(2)
    assert not running.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_contact_is_told_and_changed(pebble: Pebble, store: Store) -> None:
    for email in ("one@example.com", "two@example.com"):
        assert renew_now(settings(pebble, email=email), store, [HOST]) == [(HOST, None)]
        account = json.loads(store.folder.joinpath("acme.json").read_bytes())[pebble.directory]
        assert account["contact"] == [f"mailto:{email}"]


def test_a_contact_the_ca_refuses_is_told_in_its_words(pebble: Pebble, store: Store) -> None:
    [(_, error)] = renew_now(settings(pebble, email="not an address"), store, [HOST])
    assert error is not None
    assert "not an address" in error


def test_an_order_the_ca_has_forgotten_is_left(pebble: Pebble, store: Store) -> None:
    gone = pebble.directory.replace("/dir", "/my-order/gone")
    store.keep_key(HOST, make_key("ecdsa-p256"))
    store.save_state(HOST, replace(store.state(HOST), order=PlacedOrder(pebble.directory, gone)))
    assert renew_now(settings(pebble), store, [HOST]) == [(HOST, None)]
    assert store.state(HOST).order is None


def test_a_rehearsal_issues_and_renews_beside_the_live_store(pebble: Pebble, store: Store) -> None:
    assert renew_now(settings(pebble), store, [HOST]) == [(HOST, None)]
    live = {path: path.read_bytes() for path in store.folder.glob("*") if path.is_file()}
    issued = pebble.issued()
    for _ in range(2):
        assert rehearse(settings(pebble), store, [HOST]) == [(HOST, None)]
    assert pebble.issued() == issued + 4
    assert {path: path.read_bytes() for path in store.folder.glob("*") if path.is_file()} == live


def test_a_rehearsal_that_fails_says_where(pebble: Pebble, tmp_path: Path) -> None:
    store = Store(tmp_path / "nobody-answers")
    [(_, error)] = rehearse(settings(pebble, challenges=("http-01",)), store, [HOST])
    assert error is not None
    assert error.startswith("issuance: example.com by http-01: ")


def test_it_is_used_by_hand_too(pebble: Pebble, tmp_path: Path) -> None:
    folder = tmp_path / "by-hand"
    command = [sys.executable, "-m", "acme_client"]
    shared = ["--store", str(folder), "--directory", pebble.directory]
    shared += ["--ca-bundle", str(pebble.bundle), "--challenge", "http-01"]
    answer = ["--answer-http", str(pebble.http_port)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            env=environ,
            timeout=60,
            check=False,
        )

    renewed = run("renew", HOST, *shared, *answer)
    assert (renewed.returncode, renewed.stdout) == (0, f"{HOST}: well\n"), renewed.stderr
    listed = run("list", HOST, "--store", str(folder))
    assert json.loads(listed.stdout)[0]["names"] == [HOST]
    refused = run("renew", HOST, *shared)
    assert refused.returncode == 1
    assert "refused" in refused.stderr.lower()
    assert "Traceback" not in refused.stderr


MAC_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
BOUND = Behaviour(external_accounts={"kid-1": MAC_KEY})


@pytest.fixture(scope="module")
def binding(
    authority: Authority, names: NameServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("binding"), authority, BOUND, names=names) as running:
        yield running


@pytest.mark.parametrize(
    ("eab", "words"),
    [
        (Eab("kid-1", MAC_KEY), None),
        (Eab("kid-2", MAC_KEY), "(unauthorized)"),
        (Eab("kid-1", "AAAA"), "(unauthorized)"),
        (Eab("kid-1", "n"), "no base64url"),
        (None, "wants `eab`: a key id and an HMAC key"),
    ],
    ids=["right", "wrong id", "wrong key", "no key", "none"],
)
def test_an_account_is_bound_to_an_external_one(
    binding: Pebble, tmp_path: Path, eab: Eab | None, words: str | None
) -> None:
    store = Store(tmp_path / "store")
    with answering(store.answers, "127.0.0.1", binding.http_port):
        wanted = settings(binding, challenges=("http-01",), eab=eab)
        [(_, error)] = renew_now(wanted, store, [HOST])
    if words is None:
        assert error is None
    else:
        assert error is not None
        assert words in error
