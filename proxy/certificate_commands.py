"""`hopward certs`, `renew` and `rehearse`: certificates on a person's word.

Law: these ask and show; it is `acme_client` that does, beside a running proxy or without one.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from acme_client import LETS_ENCRYPT_STAGING, Entry, Settings, Store, inventory
from acme_client.catalogue import described
from acme_client.pair import read_chain, read_pair

from .automatic import hosts_of, settings_of
from .config import CertificateFiles, Config
from .errors import AS_WHO, StartError
from .privileges import act_as_owner_of

Say = Callable[[str], None]


def certs(config: Config, *, as_json: bool, say: Say) -> int:
    """Show every certificate; of the local authority's, which lie in no file, who signs them."""
    _look_into(config.store)
    entries = [*inventory(Store(config.store), hosts_of(config)), *_own(config), *_local(config)]
    if as_json:
        say(json.dumps(entries, indent=2))
    else:
        for line in table(entries, datetime.now(UTC)):
            say(line)
    return 0


def renew(config: Config, hosts: Sequence[str], *, say: Say, complain: Say) -> int:
    """Renew now, due or not; 1 with the authority's words where one fails."""
    # Not for `certs`: to load what speaks to authorities takes longer than all that it does.
    from acme_client import renew_now as renew_at

    chosen = _chosen(config, hosts)
    act_as_owner_of(config.store)
    outcomes = renew_at(settings_of(config), Store(config.store), chosen)
    return _tell(outcomes, "renewed", say, complain)


def rehearse(
    config: Config, hosts: Sequence[str], directory: str | None, *, say: Say, complain: Say
) -> int:
    """A full issuance and a renewal at a staging directory; no live certificate is touched."""
    from acme_client import rehearse as rehearse_at

    chosen = _chosen(config, hosts)
    act_as_owner_of(config.store)
    settings = rehearsal_settings(config, directory or LETS_ENCRYPT_STAGING)
    outcomes = rehearse_at(settings, Store(config.store), chosen)
    return _tell(outcomes, "issued and renewed, rehearsed", say, complain)


def rehearsal_settings(config: Config, directory: str) -> Settings:
    """The settings by which `directory` is rehearsed at: `eab` is for the configured one alone."""
    settings = settings_of(config)
    eab = settings.eab if directory == settings.directory else None
    return replace(settings, directory=directory, eab=eab)


def table(entries: Iterable[Entry], now: datetime) -> list[str]:
    """The entries for people: a line each, under a heading. Pure."""
    rows = [("HOST", "DAYS LEFT", "NEXT RENEWAL", "ISSUER", "LAST ERROR")]
    for entry in entries:
        next_renewal = (entry["next_renewal"] or "-").replace("T", " ")[:16]
        rows.append(
            (
                entry["host"],
                _days_left(entry, now),
                next_renewal,
                entry["issuer"] or "-",
                entry["last_error"] or "-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)) for row in rows]
    return [line.rstrip() for line in lines]


def _days_left(entry: Entry, now: datetime) -> str:
    if entry["not_after"] is None:
        return "none yet" if entry["issuer"] is None else "-"
    left = datetime.fromisoformat(entry["not_after"]) - now
    return f"{left.total_seconds() / 86400:.1f}"


def _look_into(store: Path) -> None:
    """Raise StartError where the store cannot be read: nobody's certificates are `none yet`."""
    try:
        with suppress(FileNotFoundError):
            os.listdir(store)
    except PermissionError as error:
        raise StartError(f"{store}: {error.strerror}; {AS_WHO}") from error
    except OSError as error:
        raise StartError(f"{store}: {error.strerror}") from error


def _own(config: Config) -> Iterable[Entry]:
    """The certificates that the operator gives as files."""
    for name, site in config.sites.items():
        if isinstance(site.tls, CertificateFiles):
            try:
                pair = read_pair(site.tls.cert.read_bytes(), site.tls.key.read_bytes(), name)
            except (OSError, ValueError):
                pair = None
            yield described(name, pair)


def _local(config: Config) -> Iterable[Entry]:
    """Of the local authority: a worker signs them for itself, for a week, when it needs them."""
    issuer = None
    with suppress(OSError, ValueError):
        root = read_chain((config.store / "local-ca" / "root.pem").read_bytes())[0]
        issuer = root.subject.rfc4514_string()
    for name, site in config.sites.items():
        if site.tls == "internal":
            yield {**described(name, None), "names": [name], "issuer": issuer}


def _chosen(config: Config, hosts: Sequence[str]) -> list[str]:
    known = hosts_of(config)
    wanted = [host.lower().removesuffix(".") for host in hosts]
    for host in wanted:
        if host not in known:
            have = ", ".join(known) or "none"
            raise StartError(f"{host} is no site with `tls: acme`; those are: {have}")
    return wanted or known


def _tell(outcomes: Iterable[tuple[str, str | None]], done: str, say: Say, complain: Say) -> int:
    code = 0
    for host, error in outcomes:
        if error is None:
            say(f"{host}: {done}")
        else:
            complain(f"{host}: {error}")
            code = 1
    return code
