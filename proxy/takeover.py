"""Taking over what another program had: moving costs no new issuance.

Law: a certificate is taken only where it is better than what the store has, and can be served now;
for everything that is left there is a reason. The other program's files are read and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from acme_client.errors import StoreError
from acme_client.names import covers, normal, subject_names
from acme_client.pair import Pair, read_chain, read_pair
from acme_client.state import State
from acme_client.store import Store
from acme_client.times import Clock, utc_now

from .errors import OperatorError
from .installation import give, owner_of
from .predecessors import Account, Candidate, Found, NotThereError, caddy, certbot, pingoo

Kind = Literal["certbot", "caddy", "pingoo"]
_READERS = {"certbot": certbot, "caddy": caddy, "pingoo": pingoo}


class TakeOverError(OperatorError):
    """Nothing can be taken over: one line that says why and what to do."""


@dataclass(frozen=True)
class Taken:
    """What became of a certificate or an account that was found, or was not."""

    what: str
    """A host, or "account at <directory>"."""
    source: Path
    skipped: str | None = None
    """Why it was left where it is; None: it is in the store now."""
    not_after: datetime | None = None
    """Of a certificate that was taken."""

    def __str__(self) -> str:
        if self.skipped is not None:
            return f"{self.what}: not taken from {self.source}: {self.skipped}"
        until = "" if self.not_after is None else f", valid until {self.not_after:%Y-%m-%d}"
        return f"{self.what}: taken from {self.source}{until}"


def take_over(
    kind: Kind, source: Path, hosts: Sequence[str], store: Store, *, clock: Clock = utc_now
) -> list[Taken]:
    """Put into the store what `kind` has in the folder `source` for these hosts.

    For each host the newest pair that is valid now, unless the store has a newer one; and the
    accounts of directories at which the store has none. Nobody else may hold the store's lock.
    One entry for each host, each account and each certificate that no host wants. Raises
    TakeOverError; what was in the store by then stays there.
    """
    if source.resolve() == store.folder.resolve():
        raise TakeOverError(f"{source} is the store itself")
    try:
        found = _READERS[kind](source)
    except NotThereError as error:
        raise TakeOverError(str(error)) from error
    had_lock = store.locked
    try:
        if not had_lock and not store.take_lock():
            raise TakeOverError(f"hopward is running on {store.folder}; stop it first")
        store.probe()
        return _take(found, source, [normal(host) for host in hosts], store, clock())
    except StoreError as error:
        raise TakeOverError(str(error)) from error
    finally:
        if not had_lock:
            store.release_lock()


def _take(
    found: Found, source: Path, hosts: Sequence[str], store: Store, now: datetime
) -> list[Taken]:
    taken = [Taken(path.name, path, reason) for path, reason in found.unreadable]
    names = {each.source: _names(each) for each in found.candidates}
    unwanted = {
        names[each.source]: each
        for each in reversed(found.candidates)
        if not any(covers(names[each.source], host) for host in hosts)
    }
    taken += [_unwanted(each, its_names) for its_names, each in unwanted.items()]
    for host in dict.fromkeys(hosts):
        fitting = [each for each in found.candidates if covers(names[each.source], host)]
        taken.append(_take_best(host, fitting, store, now) or _nothing(host, source))
    taken += _take_accounts(found.accounts, store)
    for path in (path for path in store.folder.iterdir() if path.is_file()):
        give(path, owner_of(store.folder))
    return taken


def _names(candidate: Candidate) -> tuple[str, ...]:
    try:
        return subject_names(read_chain(candidate.certificate)[0])
    except ValueError:
        return ()


def _unwanted(candidate: Candidate, names: tuple[str, ...]) -> Taken:
    if not names:
        return Taken(candidate.source.name, candidate.source, "it holds no certificate for a host")
    return Taken(", ".join(names), candidate.source, "no site of the configuration has this name")


def _nothing(host: str, source: Path) -> Taken:
    return Taken(host, source, "nothing there is for this host")


def _take_best(
    host: str, candidates: Sequence[Candidate], store: Store, now: datetime
) -> Taken | None:
    """Take the newest that can be served; otherwise say of the newest why it cannot."""
    left: Taken | None = None
    for candidate in sorted(candidates, key=_age):
        reason = _objection(candidate, host, store.load(host), now)
        if reason is None:
            return _adopt(candidate, host, store)
        left = left or Taken(host, candidate.source, reason)
    return left


def _age(candidate: Candidate) -> float:
    """The newest come first."""
    return -read_chain(candidate.certificate)[0].not_valid_before_utc.timestamp()


def _objection(candidate: Candidate, host: str, present: Pair | None, now: datetime) -> str | None:
    if candidate.unfit is not None:
        return candidate.unfit
    try:
        pair = read_pair(candidate.certificate, candidate.key, host)
    except ValueError as error:
        return str(error)
    if now >= pair.not_after:
        return f"it expired on {pair.not_after:%Y-%m-%d}"
    if now < pair.not_before:
        return f"it is valid only from {pair.not_before:%Y-%m-%d} on"
    if present is not None and present.not_after >= pair.not_after:
        same = present.certificate == pair.certificate
        return "it is in the store already" if same else "the store has one that lasts longer"
    return None


def _adopt(candidate: Candidate, host: str, store: Store) -> Taken:
    pair = store.adopt(host, candidate.certificate, candidate.key)
    # Plans, windows and orders were about another certificate; limits of authorities still hold.
    known = store.state(host)
    fresh = State(
        directory=candidate.directory,
        in_danger=known.in_danger,
        troubles=known.troubles,
        failed_validations=known.failed_validations,
    )
    store.save_state(host, fresh)
    return Taken(host, candidate.source, not_after=pair.not_after)


def _take_accounts(accounts: Sequence[Account], store: Store) -> list[Taken]:
    present, taken = store.accounts(), []
    for account in accounts:
        what = f"account at {account.directory}"
        if account.directory in present:
            taken.append(Taken(what, account.source, "the store has an account there"))
        else:
            present[account.directory] = account.entry
            taken.append(Taken(what, account.source))
    if any(each.skipped is None for each in taken):
        store.save_accounts(present)
    return taken
