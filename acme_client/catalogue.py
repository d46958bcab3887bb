"""What there is: every host's certificate and plans, for people and programs.

Law: reads only, needs no lock, never fails for what lies in the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from .attempt import validity
from .names import normal, subject_names
from .pair import Pair, read_chain
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


def _entry(store: Store, host: str) -> Entry:
    pair, state = store.load(host), store.state(host)
    planned = state.next_renewal
    dates = validity(pair)
    if planned is None and dates is not None:
        planned = due(dates, host, state.window)
    entry = Entry(
        host=host,
        names=[],
        issuer=None,
        serial=None,
        not_before=None,
        not_after=None,
        next_renewal=_text(planned),
        last_error=state.last_error,
    )
    return entry if pair is None else _filled(entry, pair)


def _filled(entry: Entry, pair: Pair) -> Entry:
    leaf = read_chain(pair.certificate)[0]
    entry["names"] = list(subject_names(leaf))
    entry["issuer"] = leaf.issuer.rfc4514_string()
    entry["serial"] = f"{leaf.serial_number:x}"
    entry["not_before"] = _text(pair.not_before)
    entry["not_after"] = _text(pair.not_after)
    return entry


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else to_text(moment)
