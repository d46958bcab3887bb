"""The process that gets and renews certificates beside the workers.

Law: it never takes a microsecond from traffic. It shares nothing with the workers but the store,
runs at a lower priority, and whatever becomes of it, they serve on.
"""

import os
import signal
import threading
from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any

from acme_client import Event, Keeper, Store, Tell
from acme_client.patience import set_by

from .alerts import Alerts
from .automatic import hosts_of, settings_of
from .config import Config
from .log import Log
from .metrics import RENEWALS, RESULTS
from .tally import Tally
from .waiting import readable

# The supervisor takes a process for stuck that shows no sign of life for ten seconds.
_BEAT_SECONDS = 1.0
# Traffic goes first when both want the same core.
_NICENESS = 5


def run(config: Config, log: Log, tally: Tally, *, ready: int, lifeline: int, wanted: bool) -> None:
    """Keep the certificates until SIGTERM, or until the supervisor is gone.

    How attempts end is counted in `tally`, by host and one of RESULTS. What was refused is tried
    again at SIGHUP, and at once where a person `wanted` this start.
    """
    stop = threading.Event()
    set_by(stop, signal.SIGTERM)
    threading.Thread(target=partial(_await_end, lifeline, stop, tally), daemon=True).start()
    os.nice(_NICENESS)
    os.write(ready, b"R")
    store, hosts = Store(config.store), hosts_of(config)
    for host, result in product(hosts, RESULTS):
        tally.place(RENEWALS.series(host, result))
    alerts = Alerts.configured(config.alerts, config.store, log)
    alerts.follow(store, hosts)
    alerts.start()
    tell = _teller(log, alerts, tally)
    keeper = Keeper(settings_of(config), store, hosts, stop=stop, tell=tell, reloaded=wanted)
    signal.signal(signal.SIGHUP, lambda _number, _frame: keeper.try_again())
    keeper.run()
    alerts.close()


def _await_end(lifeline: int, stop: threading.Event, tally: Tally) -> None:
    # Not read: the workers' loops have made their shared end one that does not block.
    while not readable([lifeline], _BEAT_SECONDS):
        tally.beat()
    stop.set()


def _teller(log: Log, alerts: Alerts, tally: Tally) -> Tell:
    results = dict(zip((Event.ISSUED, Event.FAILED), RESULTS, strict=True))

    def tell(event: str, host: str, details: Mapping[str, Any]) -> None:
        say = log.warning if "error" in details else log.info
        say(event, host=host, **details)
        if event in results:
            tally.add((RENEWALS.name, host, results[Event(event)]))
        alerts.tell(event, host, details)

    return tell
