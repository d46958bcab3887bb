"""Words to systemd (sd_notify(3)): a datagram to the socket it names, and silence elsewhere."""

import os
import socket
import time


def notify_reloading() -> None:
    """Tell that a reload begins; `READY=1` ends it (sd_notify(3), Type=notify-reload)."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify(state: str) -> None:
    """Tell the service manager, if there is one, for example `READY=1`."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode("ascii"), address)
        except OSError:
            # A manager that does not listen is no reason not to serve.
            return
