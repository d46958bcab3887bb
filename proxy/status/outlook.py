"""How each certificate stands, and what becomes of it.

Law: what is served counts, not what lies in the store; plans and troubles are the issuer's
own word.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography import x509

from acme_client import State, Store
from acme_client.names import file_stem
from acme_client.renewal import Validity, due

from ..certificates import Certificates
from ..local_ca import renewal_time
from ..routing import Site, Table

Source = Literal["acme", "internal", "files"]
Level = Literal["well", "watch", "danger"]

# Nobody renews what is given as files but the operator, who hears of it only here: within the last
# third, or two weeks; and then within the last sixth, or three days.
_WATCH = (timedelta(days=14), 3)
_DANGER = (timedelta(days=3), 6)


class Outlook(NamedTuple):
    """One host's certificate. Without one `issuer` and its dates are None.

    `level`: `watch` where something wants looking at, `danger` where clients suffer or soon will.
    """

    host: str
    source: Source
    level: Level
    issuer: str | None
    not_before: datetime | None
    not_after: datetime | None
    next_renewal: datetime | None
    last_error: str | None
    in_danger: bool


class Outlooks:
    """The outlook of each site's certificate; what an issuer remembers is read when it changes."""

    def __init__(self, certificates: Certificates, folder: Path) -> None:
        self._certificates = certificates
        self._folder = folder
        self._store = Store(folder)
        self._states: dict[str, tuple[object, State]] = {}

    def all(self, table: Table, now: datetime) -> Iterator[Outlook]:
        """One for each site."""
        leaves = dict(self._certificates.leaves())
        for site in table.sites.values():
            source = source_of(site)
            state = self._state(site.name) if source == "acme" else State()
            yield outlook(site.name, source, leaves.get(site.name), state, now)

    def _state(self, host: str) -> State:
        try:
            found = (self._folder / f"{file_stem(host)}.json").stat()
        except OSError:
            return State()
        identity = (found.st_mtime_ns, found.st_ino, found.st_size)
        known = self._states.get(host)
        if known is None or known[0] != identity:
            known = self._states[host] = (identity, self._store.state(host))
        return known[1]


def source_of(site: Site) -> Source:
    """Where a site's certificate comes from."""
    return site.config.tls if isinstance(site.config.tls, str) else "files"


def outlook(
    host: str, source: Source, leaf: x509.Certificate | None, state: State, now: datetime
) -> Outlook:
    """What follows from a certificate and from what its issuer remembers. Pure."""
    dates = Validity(leaf.not_valid_before_utc, leaf.not_valid_after_utc) if leaf else None
    return Outlook(
        host,
        source,
        _level(source, dates, state, now),
        leaf.issuer.rfc4514_string() if leaf else None,
        dates.not_before if dates else None,
        dates.not_after if dates else None,
        _next_renewal(host, source, dates, state),
        state.last_error,
        state.in_danger,
    )


def _next_renewal(
    host: str, source: Source, dates: Validity | None, state: State
) -> datetime | None:
    if source == "acme" and (state.next_renewal or dates is None):
        return state.next_renewal
    if dates is None or source == "files":
        return None
    if source == "internal":
        return renewal_time(dates.not_before, dates.not_after)
    return due(dates, host, state.window)


def _level(source: Source, dates: Validity | None, state: State, now: datetime) -> Level:
    if dates is None or now >= dates.not_after or now < dates.not_before or state.in_danger:
        return "danger"
    left = dates.remaining(now)
    if source == "files" and left < min(_DANGER[0], dates.lifetime / _DANGER[1]):
        return "danger"
    if source == "files" and left < min(_WATCH[0], dates.lifetime / _WATCH[1]):
        return "watch"
    return "watch" if state.last_error else "well"
