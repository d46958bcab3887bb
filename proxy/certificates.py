"""The TLS context of each site, made once and replaced when its certificate is.

Law: a site without a usable certificate has none; the others are untouched by that.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from OpenSSL import SSL

from acme_client import State, Store
from acme_client.names import file_stem

from .config import CertificateFiles, Config
from .config.references import identity
from .errors import OURS, StartError
from .local_ca import LocalAuthority, Pair, renewal_due
from .routing import Site, Table
from .tls import ACME, site_context

# What comes of bytes that are no certificate, no key, or do not belong together.
_UNUSABLE = (ValueError, TypeError, UnsupportedAlgorithm, SSL.Error)


class _Remembered(NamedTuple):
    """What was read of a host, and what its file was then."""

    file: Path
    seen: object
    state: State


class Certificates:
    """The certificates of all sites of a table.

    What has not changed since `former` were made is taken from them, for a context costs most of a
    millisecond. Raises StartError where one that the configuration names cannot be used.
    """

    def __init__(
        self,
        config: Config,
        table: Table,
        aliases: Mapping[str, str],
        former: "Certificates | None" = None,
    ) -> None:
        self._table = table
        self._aliases = aliases
        self._store = Store(config.store)
        self._generation = self._store.generation()
        self._awaited: list[Site] = []
        self._folder = config.store
        self._authority: LocalAuthority | None = None
        self._pairs: dict[str, Pair] = {}
        # What each context was made of: where that is the same, so is the context.
        self._sources: dict[Site, object] = {}
        self._files_seen: dict[Site, object] = {}
        self._contexts: dict[Site, SSL.Context] = {}
        self._leaves: dict[Site, x509.Certificate] = {}
        self._states: dict[str, _Remembered] = {}
        for site in table.sites.values():
            if former is None or not self._take_over(site, former):
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

    def ends(self) -> Iterator[tuple[str, datetime]]:
        """When the certificate of each host ends that has one."""
        return ((name, leaf.not_valid_after_utc) for name, leaf in self.leaves())

    def leaves(self) -> Iterator[tuple[str, x509.Certificate]]:
        """The certificate that is served for each host that has one."""
        # Of now: others may come before this is read to its end.
        return ((site.name, leaf) for site, leaf in list(self._leaves.items()))

    def dangers(self) -> Iterator[tuple[str, bool]]:
        """Whether the certificate of each host that has one automatically is in danger."""
        for site in self._table.sites.values():
            if site.config.tls == "acme":
                yield site.name, self.state(site.name).in_danger

    def state(self, host: str) -> State:
        """What the issuer remembers of a host; its file is read when it has changed."""
        known = self._states.get(host)
        file = known.file if known else self._folder / f"{file_stem(host)}.json"
        # Before it is read: what changes meanwhile is read again.
        seen = identity(file)
        if known is None or known.seen != seen:
            known = self._states[host] = _Remembered(file, seen, self._store.state(host))
        return known.state

    def troubles(self, now: datetime) -> list[str]:
        """What is wrong with the certificates, a line each; empty when all is well."""
        lines = []
        for site in self._table.sites.values():
            trouble = _trouble(self._leaves.get(site), now)
            if trouble is not None:
                lines.append(f"{site.name}: {trouble}")
        return lines

    def look_again(self) -> None:
        """Take what has come into the store since the last look: one stat() where nothing has.

        What could not be read, be it for want of memory or of descriptors, is looked at again.
        """
        generation = self._store.generation()
        if generation != self._generation:
            sites = self._table.sites.values()
            self._awaited = [site for site in sites if site.config.tls == "acme"]
            self._generation = generation
        if self._awaited:
            self._awaited = [site for site in self._awaited if not self._load_from_store(site)]

    def look_at_files(self, part: int = 0, of: int = 1) -> list[str]:
        """Take the certificate files that have changed since the last look, wherever they are.

        Looks at those of one `part` of all sites, for two thousand stat() take 8 ms.
        Returns what is wrong with those that cannot be used, a line each; what was served before
        is served on, until they change again. Files that could not be read for want of memory or
        descriptors are looked at again.
        """
        problems = []
        for site, seen in islice(list(self._files_seen.items()), part, None, of):
            files = site.config.tls
            if isinstance(files, CertificateFiles) and _pair_identity(files) != seen:
                try:
                    self._load_files(site, files)
                except StartError as error:
                    problems.append(str(error))
        return problems

    def renew_local(self, now: datetime) -> None:
        """Sign the local certificates anew that are due."""
        for name, pair in list(self._pairs.items()):
            if renewal_due(pair, now=now):
                self._sign(self._table.sites[name], now)

    def _take_over(self, site: Site, former: "Certificates") -> bool:
        """Serve a site by what it was served by before, where that would be made again."""
        before = former._table.sites.get(site.name)
        source = None if before is None else former._sources.get(before)
        if before is None or source is None or source != self._source(site):
            return False
        pair = former._pairs.get(site.name)
        if pair is not None:
            if renewal_due(pair, now=datetime.now(UTC)):
                return False
            self._pairs[site.name] = pair
        self._contexts[site], self._leaves[site] = former._contexts[before], former._leaves[before]
        self._sources[site] = source
        if isinstance(site.config.tls, CertificateFiles):
            self._files_seen[site] = source
        return True

    def _source(self, site: Site) -> object:
        """What tells that a site's certificate is another one; None where there is none."""
        tls = site.config.tls
        if tls == "internal":
            return self._local_authority().root_certificate, *self._names(site)
        if isinstance(tls, CertificateFiles):
            return _pair_identity(tls)
        file = self._folder / f"{file_stem(site.name)}.pem"
        seen = identity(file)
        return None if seen is None else (file, seen)

    def _load(self, site: Site) -> None:
        tls = site.config.tls
        if tls == "internal":
            self._sign(site, datetime.now(UTC))
        elif isinstance(tls, CertificateFiles):
            self._load_files(site, tls)
        else:
            self._load_from_store(site)

    def _load_files(self, site: Site, files: CertificateFiles) -> None:
        # Before they are read: what changes meanwhile is read again.
        source = _pair_identity(files)
        # Until it is known what they are worth: where memory is short, they are looked at again.
        self._files_seen[site] = None
        try:
            self._serve(site, files.cert.read_bytes(), files.key.read_bytes())
        except OSError as error:
            if error.errno not in OURS:
                self._files_seen[site] = source
            problem = f"cannot read {error.filename}: {error.strerror}"
            raise StartError(f"{site.name}: {problem}") from error
        except _UNUSABLE as error:
            self._files_seen[site] = source
            problem = f"{files.cert} and {files.key} are no usable pair"
            raise StartError(f"{site.name}: {problem}") from error
        self._files_seen[site] = self._sources[site] = source

    def _load_from_store(self, site: Site) -> bool:
        """Take what the store has for the site; False where its files give no pair."""
        source = self._source(site)
        if source is not None and source == self._sources.get(site):
            return True
        pair = self._store.load(site.name)
        if pair is None:
            return source is None
        # What OpenSSL refuses is no reason not to serve the others, or what was served before.
        with suppress(*_UNUSABLE):
            self._serve(site, pair.certificate, pair.key)
            self._sources[site] = source
        return True

    def _serve(self, site: Site, certificate: bytes, key: bytes) -> None:
        self._contexts[site] = site_context(certificate, key)
        self._leaves[site] = x509.load_pem_x509_certificate(certificate)

    def _sign(self, site: Site, now: datetime) -> None:
        source = self._source(site)
        pair = self._local_authority().issue(self._names(site), now=now)
        self._serve(site, pair.certificate, pair.key)
        # Not before: what could not be served for want of memory is still due.
        self._pairs[site.name] = pair
        self._sources[site] = source

    def _local_authority(self) -> LocalAuthority:
        if self._authority is None:
            now = datetime.now(UTC)
            self._authority = LocalAuthority.open(self._folder / "local-ca", now=now)
        return self._authority

    def _names(self, site: Site) -> list[str]:
        return [site.name, *(alias for alias, name in self._aliases.items() if name == site.name)]


def _trouble(leaf: x509.Certificate | None, now: datetime) -> str | None:
    if leaf is None:
        return "there is no certificate yet"
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now >= end:
        return f"the certificate ended at {end:%Y-%m-%dT%H:%M:%SZ}"
    return f"the certificate begins at {begin:%Y-%m-%dT%H:%M:%SZ}" if now < begin else None


def _pair_identity(files: CertificateFiles) -> object:
    return files, identity(files.cert), identity(files.key)
