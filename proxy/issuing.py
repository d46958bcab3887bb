"""The process that gets and renews certificates beside the workers.

Law: it never takes a microsecond from traffic. It shares nothing with the workers but the store,
runs at a lower priority, and whatever becomes of it, they serve on.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from functools import partial

from acme_client.settings import Eab, Settings
from acme_client.store import Store

from .config import Config
from .log import Log

# Traffic goes first when both want the same core.
_NICENESS = 5


def hosts_of(config: Config) -> list[str]:
    """The hosts whose certificates are issued automatically."""
    return [name for name, site in config.sites.items() if site.tls == "acme"]


def settings_of(config: Config) -> Settings:
    """What the configuration says of certificate authorities."""
    acme = config.acme
    return Settings(
        directory=acme.directory,
        email=acme.email,
        ca_bundle=acme.ca_bundle,
        challenges=acme.challenges,
        profile=acme.profile,
        key_type=acme.key_type,
        eab=None if acme.eab is None else Eab(acme.eab.key_id, acme.eab.hmac_key),
        fallback=acme.fallback,
    )


def run(config: Config, log: Log, *, ready: int, lifeline: int) -> None:
    """Keep the certificates until SIGTERM, or until the supervisor is gone."""
    from acme_client.keeper import Keeper

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    threading.Thread(target=partial(_await_end, lifeline, stop), daemon=True).start()
    os.nice(_NICENESS)
    os.write(ready, b"R")
    store = Store(config.store)
    Keeper(settings_of(config), store, hosts_of(config), stop=stop, tell=_teller(log)).run()


def _await_end(lifeline: int, stop: threading.Event) -> None:
    os.read(lifeline, 1)
    stop.set()


def _teller(log: Log) -> Callable[[str, str, Mapping[str, object]], None]:
    def tell(event: str, host: str, details: Mapping[str, object]) -> None:
        say = log.warning if "error" in details else log.info
        say(event, host=host, **details)

    return tell
