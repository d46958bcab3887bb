"""One issuance at an authority that a test scripts: what fails in it, and what is tried then."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from josepy.jwk import JWKEC

from acme_client import Settings, Stopped, Store
from acme_client.attempt import Attempts
from acme_client.issuer import Desk
from acme_client.keeper import tell_nobody
from acme_client.memory import Memory
from acme_client.pair import make_key, read_key
from acme_client.patience import Patience
from acme_client.proof import Proof
from acme_client.state import PlacedOrder
from acme_client.transport import Answer, Transport
from tests.test_acme_pair import chain

HOST = "example.com"
CA = "https://ca.example"
ERROR = "urn:ietf:params:acme:error:"
Document = dict[str, Any]


class Waits(threading.Event):
    """A stop that never comes, and the time that goes by while it is waited for."""

    passed = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.passed += timeout or 0.0
        return False


def refused(kind: str, detail: str, *, status: str = "invalid") -> Document:
    """How a challenge that failed makes its authorization look, and why it says it failed."""
    return {"status": status, "error": {"type": ERROR + kind, "detail": detail}}


class Authority(Transport):
    """A certificate authority in one object; `outcomes` says how a challenge ends."""

    def __init__(self, store: Store, outcomes: Callable[[str], Document]) -> None:
        super().__init__()
        self.store = store
        self.outcomes = outcomes
        self.answered: list[str] = []
        """The challenges that were answered, in order."""
        self.placed = 0
        self.order: Document = {}
        self.processing = 0
        """How many more looks find the order still processing."""

    def send(
        self, method: str, url: str, body: bytes | None = None, content_type: str = ""
    ) -> Answer:
        path = url.removeprefix(CA)
        fields = {"replay-nonce": "bm9uY2U", "location": f"{CA}{path}/{self.placed + 1}"}
        if path == "/certificate":
            key = self.store.kept_key(HOST)
            assert key is not None
            return Answer(200, fields, chain(key, HOST))
        return Answer(200, fields, json.dumps(self._document(path, _payload(body))).encode())

    def _document(self, path: str, payload: Document | None) -> Document:
        if path == "/directory":
            return {name: f"{CA}/{name}" for name in ("newNonce", "newAccount", "newOrder")}
        if path == "/newOrder":
            self.placed += 1
            self.order = {"status": "pending", "authorizations": [f"{CA}/authorization"]}
            self.authorization = self._pending()
        if path.startswith("/challenge/"):
            self._validate(path.rpartition("/")[2])
        if path == "/authorization":
            return self.authorization
        if path == "/finalize":
            self.order["status"] = "processing" if self.processing else "valid"
        if self.order.get("status") == "processing":
            self.processing -= 1
            self.order["status"] = "processing" if self.processing else "valid"
        return {"finalize": f"{CA}/finalize", "certificate": f"{CA}/certificate", **self.order}

    def _pending(self) -> Document:
        kinds = ("tls-alpn-01", "http-01", "dns-01")
        offers = [{"type": each, "token": each, "url": f"{CA}/challenge/{each}"} for each in kinds]
        identifier = {"type": "dns", "value": HOST}
        return {"status": "pending", "identifier": identifier, "challenges": offers}

    def _validate(self, kind: str) -> None:
        self.answered.append(kind)
        outcome = self.outcomes(kind)
        self.authorization["status"] = outcome["status"]
        [offer] = [each for each in self.authorization["challenges"] if each["type"] == kind]
        offer.update(outcome)
        if outcome["status"] == "valid":
            self.order["status"] = "ready"


def _payload(body: bytes | None) -> Document | None:
    octets = json.loads(body)["payload"] if body else ""
    text = base64.urlsafe_b64decode(octets + "=" * (-len(octets) % 4))
    return json.loads(text) if text else None


@dataclass
class Scene:
    """One host, a store, an authority, and a clock that the waits move."""

    store: Store
    outcomes: dict[str, Document] = field(default_factory=dict)
    waits: Waits = field(default_factory=Waits)
    began: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __post_init__(self) -> None:
        self.authority = Authority(self.store, lambda kind: self.outcomes[kind])
        self.memory = Memory(self.store, HOST)

    def clock(self) -> datetime:
        return self.began + timedelta(seconds=self.waits.passed)

    def attempts(self, **wanted: Any) -> Attempts:
        settings = Settings(**{"directory": f"{CA}/directory", **wanted})
        return Attempts(Desk(settings, self.store, self.clock, self.waits), tell_nobody)

    def run(self, **wanted: Any) -> str | None:
        """One attempt; the error, or None."""
        return self.attempts(**wanted).run(self.memory, None)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    store = Store(tmp_path / "store")
    assert store.take_lock()
    scene = Scene(store)
    monkeypatch.setattr("acme_client.issuer.Transport", lambda *_, **__: scene.authority)
    patience = partial(Patience, clock=lambda: scene.waits.passed)
    monkeypatch.setattr("acme_client.issuer.Patience", patience)
    yield scene
    store.release_lock()


def test_waits_grow_where_our_own_limit_ends_an_attempt(scene: Scene) -> None:
    no_name = refused("dns", "SERVFAIL")
    scene.outcomes = {"tls-alpn-01": no_name, "http-01": no_name}
    attempts, begun = scene.attempts(), []
    for _ in range(5):
        begun.append(round(scene.waits.passed / 60))
        attempts.run(scene.memory, None)
        left = attempts.allowed_at(scene.memory, None, scene.clock()) - scene.clock()
        scene.waits.passed += left.total_seconds()
    # two, two, and the one that is left of the hour's five; then two each
    assert begun == [0, 1, 11, 111, 471]
    assert len(scene.authority.answered) == 9


def test_a_challenge_that_stays_pending_leaves_the_turn_to_the_next(scene: Scene) -> None:
    closed = refused("connection", "connection refused", status="pending")
    scene.outcomes = {"tls-alpn-01": closed, "http-01": {"status": "valid"}}
    assert scene.run() is None
    assert scene.authority.answered == ["tls-alpn-01", "http-01"]


def test_what_an_authority_says_of_a_pending_challenge_is_told(scene: Scene) -> None:
    closed = refused("connection", "connection refused", status="pending")
    scene.outcomes = {"tls-alpn-01": closed, "http-01": {"status": "pending"}}
    assert scene.run() == (
        f"{HOST} by tls-alpn-01: connection refused (connection); "
        f"{HOST}: no validation by http-01 within 90 s"
    )


@pytest.mark.parametrize("hook", ["false", "/nowhere/hook"], ids=["fails", "is not there"])
def test_a_dns_hook_that_does_not_work_leaves_the_turn_to_the_next(scene: Scene, hook: str) -> None:
    scene.memory.update(challenge="dns-01")
    scene.outcomes = {"tls-alpn-01": refused("tls", "no"), "http-01": {"status": "valid"}}
    challenges = ("tls-alpn-01", "http-01", "dns-01")
    assert scene.run(challenges=challenges, dns_hook=(hook,)) is None
    assert scene.authority.answered == ["tls-alpn-01", "http-01"]
    assert len(scene.memory.state.failed_validations) == 1


def test_a_resumed_order_that_is_processing_is_waited_for(scene: Scene) -> None:
    scene.store.keep_key(HOST, make_key("ecdsa-p256"))
    scene.memory.update(order=PlacedOrder(f"{CA}/directory", f"{CA}/order/1"))
    scene.authority.order, scene.authority.processing = {"status": "processing"}, 5
    assert scene.run() is None
    assert scene.authority.placed == 0


def test_a_stop_in_mid_validation_takes_the_txt_record_away(tmp_path: Path) -> None:
    hook, calls = tmp_path / "hook", tmp_path / "calls"
    hook.write_text(f'#!/bin/sh\necho "$1 $2" >> {calls}\n')
    hook.chmod(0o700)
    stop = threading.Event()
    patience, store = Patience(stop), Store(tmp_path / "store")
    proof = Proof(
        store.answers, Settings(dns_hook=(str(hook),)), patience, lambda: datetime.now(UTC)
    )
    key = JWKEC(key=read_key(make_key("ecdsa-p256")))
    with suppress(Stopped), proof.shown("dns-01", HOST, "token", key):
        stop.set()
        patience.wait(60)
    record = f"_acme-challenge.{HOST}"
    assert calls.read_text().splitlines() == [f"present {record}", f"cleanup {record}"]
