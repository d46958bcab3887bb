"""How a worker looks for new certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.worker import looks
from tests.authority import Authority
from tests.test_access_log import Events
from tests.test_certificates import certificates


def nobody() -> None:
    raise AssertionError("memory was not short")


def put(store: Path, authority: Authority, *names: str) -> None:
    """The pair of a site in the store, as an issuer leaves it."""
    pair = authority.pair(*names)
    pair.cert.replace(store / f"{names[0]}.pem")
    pair.key.replace(store / f"{names[0]}.key")
    (store / "changed").write_text(" ".join(names))


def test_the_first_look_takes_all_that_has_come_since_the_configuration_was_read(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, authority, "stored.example")
    hosts = [f"{letter}.example" for letter in "abc"]
    pairs = {host: authority.pair(host) for host in hosts}
    own = {host: pair.tls() for host, pair in pairs.items()}
    sites = {"stored.example": "acme", "internal.example": "internal", **own}
    found = certificates(tmp_path, sites)
    before = {name: found.context(name) for name in sites}
    put(tmp_path, authority, "stored.example", "renewed.example")
    for host, pair in pairs.items():
        other = authority.pair(host, "renewed.example")
        other.key.replace(pair.key)
        other.cert.replace(pair.cert)
    monkeypatch.setattr("proxy.certificates.renewal_due", lambda *_, **__: True)
    next(looks(found, nobody, Events().log))
    assert [name for name in sites if found.context(name) is before[name]] == []


def test_a_fault_in_one_look_is_told_once_and_the_next_look_comes(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, events = certificates(tmp_path, {"a.example": "acme"}), Events()

    def faulty() -> None:
        raise RuntimeError("a bug")

    every = looks(found, nobody, events.log)
    with monkeypatch.context() as patched:
        patched.setattr(found, "look_again", faulty)
        for _ in range(3):
            next(every)
    put(tmp_path, authority, "a.example")
    next(every)
    assert found.context("a.example") is not None
    assert [event["event"] for event in events.read()] == ["fault"]
