"""Where other programs keep their certificates and accounts: certbot, Caddy, Pingoo.

Law: this room reads, and nothing else. What it finds need not be usable; that is for `takeover`
to judge.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from josepy import errors as josepy_errors
from josepy.jwk import JWK

from acme_client.settings import LETS_ENCRYPT, LETS_ENCRYPT_STAGING

# Chains are a few KiB; whatever is larger is something else.
_LARGEST = 1 << 20
# Of certbot's numbered files only the newest can be valid: it keeps every one it ever had.
_NEWEST = 3
# Caddy's folders name a directory in a way that cannot be read back: these can be looked up.
_WELL_KNOWN = (
    LETS_ENCRYPT,
    LETS_ENCRYPT_STAGING,
    "https://acme.zerossl.com/v2/DV90",
    "https://dv.acme-v02.api.pki.goog/directory",
)


class NotThereError(Exception):
    """The folder is none of the program's, or may not be read: what would be right."""


@dataclass(frozen=True)
class Candidate:
    """A certificate and key as they were found."""

    source: Path
    """The certificate's file."""
    certificate: bytes
    key: bytes
    directory: str | None = None
    """Of the authority that issued it, where that is known."""
    unfit: str | None = None
    """Why it is not to be served, whatever is in it."""


@dataclass(frozen=True)
class Account:
    """An account at an authority."""

    source: Path
    directory: str
    entry: dict[str, Any]
    """As `acme_client.account` keeps it."""


@dataclass
class Found:
    """Everything in a folder."""

    candidates: list[Candidate] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    """Of several at one directory the first is the one that was used last."""
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    """Files, and why they could not be read."""

    def take(self, certificate: Path, key: Path, directory: str | None, unfit: str | None) -> None:
        """Read a pair of files."""
        try:
            pair = _read(certificate), _read(key)
        except (OSError, ValueError) as error:
            self.unreadable.append((certificate, _in_words(error)))
            return
        if pair not in [(each.certificate, each.key) for each in self.candidates]:
            self.candidates.append(Candidate(certificate, *pair, directory, unfit))

    def take_account(
        self, source: Path, directory: str, read: Callable[[], tuple[JWK, object]]
    ) -> None:
        """Read an account; `read` gives its key and its URL."""
        try:
            key, uri = read()
            if not hasattr(key.key, "private_numbers"):
                raise ValueError("the key is none that ACME knows")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.unreadable.append((source, _in_words(error)))
        except (josepy_errors.Error, UnsupportedAlgorithm, RecursionError) as error:
            self.unreadable.append((source, f"no account that can be used: {error}"))
        else:
            entry = {"key": key.to_json()} | ({"uri": uri} if isinstance(uri, str) else {})
            self.accounts.append(Account(source, directory, entry))


# ---- certbot
# live/<name>/{fullchain,privkey}.pem are links to archive/<name>/{fullchain,privkey}<n>.pem;
# renewal/<name>.conf names server and account; accounts/<server>/<id>/{private_key,regr}.json.

_SETTING = re.compile(r"^(server|account)\s*=\s*[\"']?(.+?)[\"']?\s*$", re.MULTILINE)


def certbot(folder: Path) -> Found:
    """What lies in certbot's folder, as a rule /etc/letsencrypt."""
    found = Found()
    names = {path.name for part in ("live", "archive") for path in _folders(folder / part)}
    if not names:
        raise NotThereError(
            f"{folder} is no folder of certbot's: nothing lies in its 'live'; "
            "as a rule it is /etc/letsencrypt"
        )
    accounts: list[Path] = []
    for name in sorted(names):
        settings = dict(_SETTING.findall(_text(folder / "renewal" / f"{name}.conf")))
        directory = settings.get("server")
        if directory and "account" in settings:
            accounts.append(_certbot_key(folder / "accounts", directory, settings["account"]))
        live, archive = folder / "live" / name, folder / "archive" / name
        numbers = [str(number) for number in _numbers(archive)[:_NEWEST]]
        pairs = [(live, "")] * live.is_dir() + [(archive, number) for number in numbers]
        for place, number in pairs:
            chain, key = (place / f"{kind}{number}.pem" for kind in ("fullchain", "privkey"))
            found.take(chain, key, directory, _staging(directory))
    _certbot_accounts(folder / "accounts", accounts, found)
    return found


def _certbot_key(folder: Path, directory: str, account: str) -> Path:
    parts = urlsplit(directory)
    return folder / f"{parts.netloc}{parts.path}" / account / "private_key.json"


def _numbers(archive: Path) -> list[int]:
    """The numbers of complete pairs, the newest first."""
    keys = {path.stem.removeprefix("privkey") for path in archive.glob("privkey*.pem")}
    chains = {path.stem.removeprefix("fullchain") for path in archive.glob("fullchain*.pem")}
    return sorted((int(each) for each in keys & chains if each.isdecimal()), reverse=True)


def _certbot_accounts(folder: Path, used: list[Path], found: Found) -> None:
    # One that renews something is better than one that was made and forgotten. Its folder can be
    # behind a link (acme-v01 had its accounts taken over by acme-v02), where no glob looks.
    others = sorted(folder.glob("*/**/private_key.json"), key=_modified, reverse=True)
    for key in dict.fromkeys([*filter(Path.exists, used), *others]):
        server = key.parent.parent.relative_to(folder)
        found.take_account(key, f"https://{server}", partial(_certbot_account, key))


def _certbot_account(key: Path) -> tuple[JWK, object]:
    registration = json.loads(_read(key.with_name("regr.json")))
    account = JWK.from_json(json.loads(_read(key)))
    if not isinstance(account, JWK):
        raise ValueError("the key is none that ACME knows")
    return account, registration["uri"]


# ---- Caddy
# certificates/<issuer>/<host>/<host>.{crt,key,json}; acme/<issuer>/users/<e-mail>/<user>.{json,key}

_CADDY_FILES = (".crt", ".key", ".json")


def caddy(folder: Path) -> Found:
    """What lies in Caddy's data folder, or in the one above it."""
    if not (folder / "certificates").is_dir() and (folder / "caddy" / "certificates").is_dir():
        folder = folder / "caddy"
    issuers = _folders(folder / "certificates")
    if not issuers:
        raise NotThereError(
            f"{folder} is no data folder of Caddy's: nothing lies in its 'certificates'; as a rule "
            "it is /var/lib/caddy/.local/share/caddy, and /data/caddy in a container"
        )
    found, directories = Found(), set(_WELL_KNOWN)
    for issuer in issuers:
        own = issuer.name == "local"
        unfit = "Caddy's own authority issued it, which clients do not know" if own else None
        for site in _folders(issuer):
            chain, key, metadata = (site / f"{site.name}{each}" for each in _CADDY_FILES)
            directory = _caddy_directory(metadata)
            directories |= {directory} if directory else set()
            found.take(chain, key, directory, unfit or _staging(directory))
    by_folder = {_caddy_folder(directory): directory for directory in directories}
    for issuer in _folders(folder / "acme"):
        if issuer.name in by_folder:
            _caddy_accounts(issuer, by_folder[issuer.name], found)
    return found


def _caddy_accounts(issuer: Path, directory: str, found: Found) -> None:
    for key in sorted(issuer.glob("users/*/*.key"), key=_modified, reverse=True):
        found.take_account(key, directory, partial(_caddy_account, key))


def _caddy_account(key: Path) -> tuple[JWK, object]:
    registration = json.loads(_read(key.with_suffix(".json")))
    return JWK.load(_read(key)), registration["location"]


def _caddy_directory(metadata: Path) -> str | None:
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(_read(metadata))
        issuer = content.get("issuer_data") if isinstance(content, dict) else None
        found = issuer.get("ca") if isinstance(issuer, dict) else None
        return found if isinstance(found, str) else None
    return None


def _caddy_folder(directory: str) -> str:
    """How Caddy names a directory's folder (certmagic: `IssuerKey`, then `KeyBuilder.Safe`)."""
    parts = urlsplit(directory)
    path = parts.path.replace("/", "-").strip("-")
    name = f"{parts.netloc}-{path}" if path else parts.netloc
    return re.sub(r"[^\w@.-]", "", name.lower().replace(":", "-").replace("..", ""))


# ---- Pingoo
# <host>.{pem,key}, default.{pem,key} signed by itself; acme.json with the accounts


def pingoo(folder: Path) -> Found:
    """What lies in Pingoo's folder: /etc/pingoo/tls, or the one above it."""
    if (folder / "tls").is_dir():
        folder = folder / "tls"
    certificates = sorted(_entries(folder, lambda path: path.suffix == ".pem"))
    if not certificates:
        raise NotThereError(
            f"{folder} is no folder of Pingoo's: no certificate lies in it; "
            "as a rule it is /etc/pingoo/tls"
        )
    found = Found()
    for certificate in certificates:
        if certificate.stem != "default":
            found.take(certificate, certificate.with_suffix(".key"), None, None)
    _pingoo_accounts(folder / "acme.json", found)
    return found


def _pingoo_accounts(file: Path, found: Found) -> None:
    accounts = {}
    with suppress(FileNotFoundError):
        try:
            accounts = dict(json.loads(_read(file))["data"]["accounts"])
        except (ValueError, TypeError, KeyError, RecursionError):
            found.unreadable.append((file, "no accounts that can be used"))
    for directory, account in accounts.items():
        found.take_account(file, directory, partial(_pingoo_account, account))


def _pingoo_account(account: dict[str, str]) -> tuple[JWK, object]:
    key = load_der_private_key(base64.b64decode(account["key"]), password=None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return JWK.load(pem), account["id"]


# ---- files


def _staging(directory: str | None) -> str | None:
    host = urlsplit(directory or "").hostname or ""
    staging = host.startswith("acme-staging")
    return "a staging authority issued it, which clients do not know" if staging else None


def _folders(folder: Path) -> list[Path]:
    return sorted(_entries(folder, Path.is_dir))


def _entries(folder: Path, wanted: Callable[[Path], bool]) -> Iterator[Path]:
    try:
        yield from filter(wanted, folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise NotThereError(f"{folder}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("it is too large for what it should be")
    return content


def _text(path: Path) -> str:
    with suppress(OSError, ValueError):
        return _read(path).decode("utf-8", "replace")
    return ""


def _modified(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror}"
    return f"no account that can be used: {error}" if isinstance(error, KeyError) else str(error)
