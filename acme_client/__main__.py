"""`python -m acme_client`: issue, keep or inspect certificates by hand.

Law: one line per host; errors are one line on stderr in the authority's own words.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .catalogue import inventory
from .errors import AcmeError
from .keeper import Keeper
from .patience import set_by
from .renewals import rehearse, renew_now
from .responder import answering
from .settings import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Eab, Settings
from .store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 when something could not be had."""
    chosen = _parser().parse_args(arguments)
    store = Store(chosen.store)
    try:
        with ExitStack() as stack:
            if chosen.answer_http is not None:
                stack.enter_context(answering(store.answers, "", chosen.answer_http))
            return _do(chosen, store)
    except (AcmeError, OSError) as error:
        print(f"acme_client: {error}", file=sys.stderr)
        return 1


def _do(chosen: argparse.Namespace, store: Store) -> int:
    if chosen.action == "list":
        print(json.dumps(inventory(store, chosen.host), indent=2))
        return 0
    if chosen.action == "keep":
        return _keep(chosen, store)
    act = renew_now if chosen.action == "renew" else rehearse
    outcomes = act(_settings(chosen), store, chosen.host)
    for host, error in outcomes:
        print(f"{host}: {error or 'well'}", file=sys.stderr if error else sys.stdout)
    return 1 if any(error for _, error in outcomes) else 0


def _keep(chosen: argparse.Namespace, store: Store) -> int:
    stop = threading.Event()
    set_by(stop, signal.SIGTERM, signal.SIGINT)
    Keeper(_settings(chosen), store, chosen.host, stop=stop, tell=_print).run()
    return 0


def _print(event: str, host: str, details: Mapping[str, Any]) -> None:
    print(json.dumps({"event": event, "host": host, **details}), flush=True)


def _settings(chosen: argparse.Namespace) -> Settings:
    directory = chosen.directory
    if directory is None:
        directory = LETS_ENCRYPT_STAGING if chosen.action == "rehearse" else LETS_ENCRYPT
    return Settings(
        directory=directory,
        email=chosen.email,
        ca_bundle=chosen.ca_bundle,
        challenges=tuple(chosen.challenge or Settings.challenges),
        profile=chosen.profile,
        key_type=chosen.key_type,
        eab=Eab(*chosen.eab) if chosen.eab else None,
        fallback=tuple(chosen.fallback),
        dns_hook=tuple(chosen.dns_hook.split()),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m acme_client", description=__doc__)
    parser.add_argument("action", choices=("renew", "keep", "rehearse", "list"))
    parser.add_argument("host", nargs="+")
    add = parser.add_argument
    add("--store", type=Path, required=True, metavar="FOLDER")
    add("--directory", metavar="URL", help="Let's Encrypt's, or its staging one to rehearse")
    add("--fallback", action="append", default=[], metavar="URL")
    add("--ca-bundle", type=Path, metavar="PEM", help="roots of a private directory")
    add("--email")
    add("--challenge", action="append", metavar="KIND", help="tls-alpn-01, http-01, dns-01")
    add("--profile")
    add("--key-type", default=Settings.key_type)
    add("--eab", nargs=2, metavar=("KEY_ID", "HMAC_KEY"))
    add("--dns-hook", default="", metavar="PROGRAM", help="called with present|cleanup NAME VALUE")
    add("--answer-http", type=int, metavar="PORT", help="answer http-01 there meanwhile")
    return parser


if __name__ == "__main__":
    sys.exit(main())
