"""How each certificate stands, and what becomes of it.

Law: what is served counts, not what lies in the store; plans and troubles are the issuer's
own word.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from cryptography import x509

from acme_client import State
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


def outlooks(certificates: Certificates, table: Table, now: datetime) -> Iterator[Outlook]:
    """That of each site's certificate."""
    leaves = dict(certificates.leaves())
    for site in table.sites.values():
        source = source_of(site)
        state = certificates.state(site.name) if source == "acme" else State()
        yield outlook(site.name, source, leaves.get(site.name), state, now)


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
    return due(dates, host)


def _level(source: Source, dates: Validity | None, state: State, now: datetime) -> Level:
    if dates is None or now >= dates.not_after or now < dates.not_before or state.in_danger:
        return "danger"
    left = dates.remaining(now)
    if source == "files" and left < min(_DANGER[0], dates.lifetime / _DANGER[1]):
        return "danger"
    if source == "files" and left < min(_WATCH[0], dates.lifetime / _WATCH[1]):
        return "watch"
    return "watch" if state.last_error else "well"
