"""What there is: every host's certificate and plans, for people and programs.

Law: reads only, needs no lock, never fails for what lies in the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from .names import normal, subject_names
from .pair import Pair, read_chain, validity
from .renewal import due
from .store import Store
from .times import to_text


class Entry(TypedDict):
    """One host; times are ISO 8601 in UTC."""

    host: str
    names: list[str]
    issuer: str | None
    serial: str | None
    not_before: str | None
    not_after: str | None
    next_renewal: str | None
    last_error: str | None


def inventory(store: Store, hosts: Sequence[str]) -> list[Entry]:
    """One entry per host, also for those that have no certificate yet."""
    return [_entry(store, normal(host)) for host in hosts]


def described(
    host: str,
    pair: Pair | None,
    *,
    next_renewal: datetime | None = None,
    last_error: str | None = None,
) -> Entry:
    """The entry of one host; without a pair, what is known without one."""
    leaf = None if pair is None else read_chain(pair.certificate)[0]
    return Entry(
        host=host,
        names=[] if leaf is None else list(subject_names(leaf)),
        issuer=None if leaf is None else leaf.issuer.rfc4514_string(),
        serial=None if pair is None else pair.serial,
        not_before=None if pair is None else to_text(pair.not_before),
        not_after=None if pair is None else to_text(pair.not_after),
        next_renewal=None if next_renewal is None else to_text(next_renewal),
        last_error=last_error,
    )


def _entry(store: Store, host: str) -> Entry:
    pair, state = store.load(host), store.state(host)
    planned = state.next_renewal
    dates = validity(pair)
    if planned is None and dates is not None:
        planned = due(dates, host)
    return described(host, pair, next_renewal=planned, last_error=state.last_error)
