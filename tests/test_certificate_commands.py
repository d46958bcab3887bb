"""`hopward certs` and `rehearse`: what they show, and by what they ask."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from acme_client import Eab
from proxy.certificate_commands import certs, rehearsal_settings
from proxy.config import Config
from proxy.local_ca import LocalAuthority
from tests.authority import Authority

ORIGIN = "http://127.0.0.1:1"
DIRECTORY = "https://ca.example/directory"


def shown(config: Config) -> list[dict[str, object]]:
    """What `hopward certs --json` prints."""
    said: list[str] = []
    assert certs(config, as_json=True, say=said.append) == 0
    entries: list[dict[str, object]] = json.loads("\n".join(said))
    return entries


def in_words(config: Config) -> list[list[str]]:
    """The lines of `hopward certs` below the heading, in words."""
    said: list[str] = []
    assert certs(config, as_json=False, say=said.append) == 0
    return [line.split() for line in said[1:]]


# ---- certs


def test_a_certificate_of_the_operators_own_is_shown(tmp_path: Path) -> None:
    pair = Authority(tmp_path).pair("a.example")
    site = {"to": ORIGIN, "tls": pair.tls()}
    [entry] = shown(Config.model_validate({"sites": {"a.example": site}, "store": tmp_path}))
    assert (entry["host"], entry["names"]) == ("a.example", ["a.example"])
    assert (entry["next_renewal"], entry["last_error"]) == (None, None)
    assert datetime.fromisoformat(str(entry["not_after"])) > datetime.now(UTC)


def test_a_pair_of_the_operators_own_that_cannot_be_read_is_none_yet(tmp_path: Path) -> None:
    tls = {"cert": tmp_path / "nowhere.pem", "key": tmp_path / "nowhere.key"}
    config = Config.model_validate(
        {"sites": {"a.example": {"to": ORIGIN, "tls": tls}}, "store": tmp_path}
    )
    assert in_words(config) == [["a.example", "none", "yet", "-", "-", "-"]]


def test_a_site_of_the_local_authority_is_shown_with_who_signs_for_it(tmp_path: Path) -> None:
    site = {"to": ORIGIN, "tls": "internal"}
    config = Config.model_validate({"sites": {"a.example": site}, "store": tmp_path})
    assert [(each["host"], each["issuer"]) for each in shown(config)] == [("a.example", None)]
    LocalAuthority.open(tmp_path / "local-ca", now=datetime.now(UTC))
    [entry] = shown(config)
    assert (entry["names"], entry["not_after"]) == (["a.example"], None)
    assert str(entry["issuer"]).startswith("CN=hopward local authority ")
    [[host, days_left, next_renewal, *_]] = in_words(config)
    assert (host, days_left, next_renewal) == ("a.example", "-", "-")


# ---- rehearse


def bound() -> Config:
    acme = {"directory": DIRECTORY, "eab": {"key_id": "1", "hmac_key": "c2VjcmV0"}}
    return Config.model_validate({"sites": {"a.example": ORIGIN}, "acme": acme})


def test_a_rehearsal_at_the_configured_authority_binds_the_account_as_it_wants() -> None:
    assert rehearsal_settings(bound(), DIRECTORY).eab == Eab("1", "c2VjcmV0")


def test_a_rehearsal_elsewhere_shows_nobody_the_binding() -> None:
    settings = rehearsal_settings(bound(), "https://staging.example/directory")
    assert (settings.directory, settings.eab) == ("https://staging.example/directory", None)
