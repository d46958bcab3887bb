"""By which names the admin listener is asked. Pure.

Law: a page of a stranger never reads the status through an operator's browser.

Theory. Whoever owns a domain can have its name resolve to 127.0.0.1 (DNS rebinding); a browser on
this machine, or at the end of a tunnel, then takes the stranger's page and this listener for one
origin. What no stranger can own are addresses, `localhost`, names without a dot (those of
containers), and the operator's own sites. Caddy guards its admin interface in the same way, and as
it does, only while that is bound to loopback: who opens it to a network has Prometheus ask by
whatever name that network gives it.
"""

import ipaddress

_RESERVED = ("localhost", "local", "internal")


def of_no_stranger(name: str) -> bool:
    """Whether a lower-case host without port is one that no stranger can own."""
    last = name.rpartition(".")[2]
    return "." not in name or last in _RESERVED or _address(name)


def loopback(address: str) -> bool:
    """Whether only this machine reaches what listens at an address."""
    return ipaddress.ip_address(address).is_loopback


def _address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
