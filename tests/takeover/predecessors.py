"""Folders as certbot, Caddy and Pingoo leave them, made by hand after the real ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from josepy.jwk import JWK

from acme_client.store import Store
from proxy.local_ca import LocalAuthority, Pair
from proxy.takeover import Kind, Taken, take_over

HOST, OTHER = "api.example.com", "grafana.example.com"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIRECTORY = "https://acme-v02.api.letsencrypt.org/directory"


class Issuer:
    """Issues certificates for a week, beginning any number of days ago."""

    def __init__(self, folder: Path) -> None:
        self._root = LocalAuthority.open(folder, now=NOW - timedelta(days=300))

    def pair(self, *names: str, days_ago: float = 0) -> Pair:
        return self._root.issue(names, now=NOW - timedelta(days=days_ago))


class Letsencrypt:
    """A folder as certbot 5.8 leaves it: its links, its numbers, its settings, its modes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def renew(self, name: str, pair: Pair, server: str = DIRECTORY, account: str = "08ad") -> None:
        """What `certbot certonly` and `certbot renew` do with a new certificate."""
        archive, live = self.folder / "archive" / name, self.folder / "live" / name
        archive.mkdir(parents=True, exist_ok=True)
        live.mkdir(parents=True, exist_ok=True)
        number = len(list(archive.glob("cert*.pem"))) + 1
        leaf, chain = pair.certificate, pair.certificate
        files = {"cert": leaf, "privkey": pair.key, "chain": chain, "fullchain": leaf}
        for kind, content in files.items():
            (archive / f"{kind}{number}.pem").write_bytes(content)
            (live / f"{kind}.pem").unlink(missing_ok=True)
            (live / f"{kind}.pem").symlink_to(f"../../archive/{name}/{kind}{number}.pem")
        (archive / f"privkey{number}.pem").chmod(0o600)
        (live / "README").write_text("This directory contains your keys and certificates.\n")
        self._settings(name, server, account)

    def _settings(self, name: str, server: str, account: str) -> None:
        (self.folder / "renewal").mkdir(exist_ok=True)
        where = {
            kind: f"/etc/letsencrypt/live/{name}/{kind}.pem"
            for kind in ("cert", "privkey", "chain", "fullchain")
        }
        lines = [
            "# renew_before_expiry = 30 days",
            "version = 5.8.0",
            f"archive_dir = /etc/letsencrypt/archive/{name}",
            *(f"{kind} = {path}" for kind, path in where.items()),
            "",
            "# Options used in the renewal process",
            "[renewalparams]",
            f"account = {account}",
            "authenticator = webroot",
            f"server = {server}",
            "key_type = ecdsa",
            "[[webroot_map]]",
            f"{name} = /var/www/html",
        ]
        (self.folder / "renewal" / f"{name}.conf").write_text("\n".join(lines) + "\n")

    def register(self, account: str, key: JWK, server: str = DIRECTORY) -> Path:
        """What `certbot register` leaves."""
        folder = self.folder / "accounts" / server.removeprefix("https://") / account
        folder.mkdir(parents=True)
        (folder / "private_key.json").write_text(key.json_dumps())
        (folder / "private_key.json").chmod(0o400)
        registration = {"body": {}, "uri": f"https://ca.example/acct/{account}"}
        (folder / "regr.json").write_text(json.dumps(registration))
        (folder / "meta.json").write_text('{"creation_dt": "2025-01-01T00:00:00Z"}')
        return folder


class CaddyData:
    """A data folder as Caddy 2.11 leaves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def hold(self, host: str, pair: Pair, issuer: str, ca: str | None) -> None:
        safe = host.replace("*", "wildcard_")
        site = self.folder / "certificates" / issuer / safe
        site.mkdir(parents=True)
        issued = None if ca is None else {"url": "https://ca/cert/1", "ca": ca, "account": "x"}
        (site / f"{safe}.crt").write_bytes(pair.certificate)
        (site / f"{safe}.key").write_bytes(as_written_by_go(pair.key))
        (site / f"{safe}.json").write_text(json.dumps({"sans": [host], "issuer_data": issued}))

    def register(self, issuer: str, key: ec.EllipticCurvePrivateKey) -> None:
        user = self.folder / "acme" / issuer / "users" / "me@example.com"
        user.mkdir(parents=True)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (user / "me.key").write_bytes(as_written_by_go(pem))
        (user / "me.json").write_text(
            json.dumps({"status": "valid", "location": "https://ca.example/acct/7"})
        )


def as_written_by_go(key: bytes) -> bytes:
    """The same key as `EC PRIVATE KEY`."""
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )


def pingoo_folder(folder: Path, issuer: Issuer, host: str) -> Path:
    """The `tls` folder in `folder` as Pingoo leaves it."""
    tls = folder / "tls"
    tls.mkdir(parents=True)
    for name, pair in {host: issuer.pair(host), "default": issuer.pair("*")}.items():
        (tls / f"{name}.pem").write_bytes(pair.certificate)
        (tls / f"{name}.key").write_bytes(pair.key)
    return tls


def move(source: Letsencrypt | CaddyData, store: Store, *hosts: str) -> dict[str, Taken]:
    """Take over at `NOW`; what became of each host and account."""
    kind: Kind = "certbot" if isinstance(source, Letsencrypt) else "caddy"
    taken = take_over(kind, source.folder, hosts or [HOST], store, clock=lambda: NOW)
    return {each.what: each for each in taken}


def served(store: Store, host: str = HOST) -> bytes | None:
    """The certificate that the store has for a host."""
    pair = store.load(host)
    return None if pair is None else pair.certificate
