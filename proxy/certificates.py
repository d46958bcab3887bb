"""The TLS context of each site, made once and replaced when its certificate is.

Law: a site without a usable certificate has none; the others are untouched by that.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from OpenSSL import SSL

from acme_client import Store

from .config import CertificateFiles, Config
from .errors import StartError
from .local_ca import LocalAuthority, Pair, renewal_due
from .routing import Site, Table
from .tls import ACME, site_context


class Certificates:
    """The certificates of all sites of a table.

    Raises StartError where one that the configuration names cannot be used.
    """

    def __init__(self, config: Config, table: Table, aliases: Mapping[str, str]) -> None:
        self._table = table
        self._aliases = aliases
        self._store = Store(config.store)
        self._generation = self._store.generation()
        self._local_folder = config.store / "local-ca"
        self._authority: LocalAuthority | None = None
        self._pairs: dict[str, Pair] = {}
        self._issued: dict[Site, bytes] = {}
        self._contexts: dict[Site, SSL.Context] = {}
        for site in table.sites.values():
            self._load(site)

    def context(self, name: str) -> SSL.Context | None:
        """The context for a lower-case name, exact before wildcard; None where there is none."""
        site = self._table.site(name)
        return None if site is None else self._contexts.get(site)

    def challenge(self, name: str) -> SSL.Context | None:
        """The context that answers an authority which validates `name` (RFC 8737)."""
        pem = self._store.alpn_certificate(name)
        return None if pem is None else site_context(pem, pem, ACME)

    def http_token(self, token: str) -> bytes | None:
        """What to answer an authority that asks for a token (RFC 8555 §8.3); None: unknown."""
        return self._store.http_token(token)

    def look_again(self) -> None:
        """Take what has come into the store since the last look: one stat() where nothing has."""
        generation = self._store.generation()
        if generation == self._generation:
            return
        self._generation = generation
        for site in self._table.sites.values():
            if site.config.tls == "acme":
                self._load_from_store(site)

    def renew_local(self, now: datetime) -> None:
        """Sign the local certificates anew that are due."""
        for name, pair in list(self._pairs.items()):
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
        pair = self._store.load(site.name)
        if pair is not None and pair.certificate != self._issued.get(site):
            self._contexts[site] = site_context(pair.certificate, pair.key)
            self._issued[site] = pair.certificate

    def _sign(self, site: Site, now: datetime) -> None:
        if self._authority is None:
            self._authority = LocalAuthority.open(self._local_folder, now=now)
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
