"""Automatic certificates over ACME (RFC 8555), on their own: nothing here knows of a proxy.

The map, in import order; a module imports only what stands above it.

    errors       what can go wrong, sorted by what to do about it
    settings     what an operator can say
    names        host names, wildcards, addresses; which challenge can prove which
    times        points in time in files, fields and words
    renewal      when a certificate is due, how long to wait after a failure: the policy
    files        whole files or none, and the lock
    state        what is remembered of a host
    pair         a certificate chain and its key
    answers      answers to challenges, as files
    wishes       renewals that another process asks for
    store        the folder in which all of it meets
    challenges   what proves control over a name
    patience     waiting that ends when it is told to
    transport    one HTTP exchange in bounded time and size
    problems     a refusal as the error that says what to do
    network      signed requests, nonces
    account      the account, made once
    ari          renewal information (RFC 9773)
    dns          TXT records by a program of the operator's
    lexicon_hook  such a program for the providers that dns-lexicon speaks to
    proof        an answer put where the authority looks, and taken away
    order        the steps of one order
    memory       a host's state while it is worked on
    issuer       one certificate from one authority
    attempt      every authority in order, and what is remembered
    information  when authorities want certificates renewed
    crew         several hosts at once
    keeper       the loop
    catalogue    what there is
    renewals     now, or as a rehearsal
    responder    answers http-01 where no server does
    __main__     `python -m acme_client`

The names below are imported when they are first used: a process that only reads the store loads
neither `acme` nor an HTTP client.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .attempt import Event, Tell
    from .catalogue import Entry, inventory
    from .errors import AcmeError, IssueError, SettingsError, Stopped, StoreError
    from .keeper import Keeper
    from .pair import Pair
    from .renewals import Outcome, rehearse, renew_now
    from .settings import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Eab, Settings
    from .state import State
    from .store import Store

_ROOMS = {
    "attempt": ("Event", "Tell"),
    "catalogue": ("Entry", "inventory"),
    "errors": ("AcmeError", "IssueError", "SettingsError", "Stopped", "StoreError"),
    "keeper": ("Keeper",),
    "pair": ("Pair",),
    "renewals": ("Outcome", "rehearse", "renew_now"),
    "settings": ("LETS_ENCRYPT", "LETS_ENCRYPT_STAGING", "Eab", "Settings"),
    "state": ("State",),
    "store": ("Store",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{room}"), name)
    return found


__all__ = [
    "LETS_ENCRYPT",
    "LETS_ENCRYPT_STAGING",
    "AcmeError",
    "Eab",
    "Entry",
    "Event",
    "IssueError",
    "Keeper",
    "Outcome",
    "Pair",
    "Settings",
    "SettingsError",
    "State",
    "Stopped",
    "Store",
    "StoreError",
    "Tell",
    "inventory",
    "rehearse",
    "renew_now",
]
