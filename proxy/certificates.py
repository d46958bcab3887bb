"""The TLS context of each site, made once and replaced when its certificate is.

Law: a site without a usable certificate has none; the others are untouched by that.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from OpenSSL import SSL

from .config import CertificateFiles, Config
from .errors import StartError
from .local_ca import LocalAuthority, Pair, renewal_due
from .routing import Site, Table
from .tls import site_context


class Certificates:
    """The certificates of all sites of a table.

    Raises StartError where one that the configuration names cannot be used.
    """

    def __init__(self, config: Config, table: Table, aliases: Mapping[str, str]) -> None:
        self._table = table
        self._aliases = aliases
        self._store = config.store
        self._authority: LocalAuthority | None = None
        self._pairs: dict[str, Pair] = {}
        self._contexts: dict[Site, SSL.Context] = {}
        for site in table.sites.values():
            self._load(site)

    def context(self, name: str) -> SSL.Context | None:
        """The context for a lower-case name, exact before wildcard; None where there is none."""
        site = self._table.site(name)
        return None if site is None else self._contexts.get(site)

    def renew_local(self, now: datetime) -> None:
        """Sign the local certificates anew that are due."""
        for name, pair in self._pairs.items():
            if renewal_due(pair, now=now):
                self._sign(self._table.sites[name], now)

    def _load(self, site: Site) -> None:
        tls = site.config.tls
        if tls == "internal":
            self._sign(site, datetime.now(UTC))
        elif isinstance(tls, CertificateFiles):
            self._contexts[site] = _read(site.name, tls.cert, tls.key)
        else:
            self._load_from_store(site)

    def _load_from_store(self, site: Site) -> None:
        stem = site.name.replace("*", "_")
        certificate, key = self._store / f"{stem}.pem", self._store / f"{stem}.key"
        if certificate.exists() and key.exists():
            self._contexts[site] = _read(site.name, certificate, key)

    def _sign(self, site: Site, now: datetime) -> None:
        if self._authority is None:
            self._authority = LocalAuthority.open(self._store / "local-ca", now=now)
        names = [site.name, *(alias for alias, name in self._aliases.items() if name == site.name)]
        pair = self._authority.issue(names, now=now)
        self._pairs[site.name] = pair
        self._contexts[site] = site_context(pair.certificate, pair.key)


def _read(host: str, certificate: Path, key: Path) -> SSL.Context:
    try:
        return site_context(certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise StartError(f"{host}: cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, TypeError, SSL.Error) as error:
        raise StartError(f"{host}: {certificate} and {key} are no usable pair") from error
