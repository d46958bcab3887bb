"""Words to systemd (sd_notify(3)): a datagram to the socket it names, and silence elsewhere."""

import math
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float:
    """How often to send `WATCHDOG=1`, twice as often as is asked for; inf: never."""
    asked = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(asked) / 2e6 if meant and asked.isdecimal() else math.inf


def notify_reloading() -> None:
    """Tell that a reload begins; `READY=1` ends it (sd_notify(3), Type=notify-reload)."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify(state: str) -> None:
    """Tell the service manager, if there is one, for example `READY=1`."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    # Neither a manager that does not listen nor a lack of descriptors is a reason not to serve.
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sock:
        sock.sendto(state.encode("ascii"), address)
