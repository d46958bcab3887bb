"""A keeper in a process of its own, to be killed, starved of disk or denied its folder.

    python -m tests.e2e.certificates.keeping STORE DIRECTORY CA_BUNDLE HOST...

Prints what it tells, and after each look whether it leads or follows. SIGTERM ends it.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from acme_client import Keeper, Settings, Store
from acme_client.patience import set_by


class Talking(Keeper):
    """A keeper that says after each look whether the store is its own."""

    store: Store

    def tick(self) -> float:
        pause = super().tick()
        print("leading" if self.store.locked else "following", flush=True)
        return pause


def told(event: str, host: object, details: object) -> None:
    print(event, host, details, flush=True)


def main(folder: str, directory: str, bundle: str, *hosts: str) -> None:
    settings = Settings(directory=directory, ca_bundle=Path(bundle))
    store = Store(Path(folder))
    stop = threading.Event()
    set_by(stop, signal.SIGTERM)
    keeper = Talking(settings, store, hosts, stop=stop, tell=told)
    keeper.store = store
    keeper.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
