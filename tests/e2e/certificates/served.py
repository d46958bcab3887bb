"""The proxy with certificates of its own from a test CA, on ports the CA validates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.acme_shim import AcmeShim
from tests.programs import Hopward


def configuration(
    shim: AcmeShim, folder: Path, hosts: Sequence[str], workers: int = 1, **acme: object
) -> dict[str, object]:
    """What an operator writes, but for the addresses: no e-mail, no `tls`."""
    ca = shim.pebble
    return {
        "listen": {
            "https": f"127.0.0.1:{ca.tls_port}",
            "http": f"127.0.0.1:{ca.http_port}",
            "admin": False,
        },
        "workers": workers,
        "store": str(folder / "store"),
        "access_log": "off",
        "acme": {
            "directory": shim.directory,
            "ca_bundle": str(ca.bundle),
            "validation_ports": {"http": ca.http_port, "tls": ca.tls_port},
            **acme,
        },
        "sites": dict.fromkeys(hosts, "http://127.0.0.1:9"),
    }


class Served(Hopward):
    """The proxy, its store, and what it was configured with."""

    def __init__(self, folder: Path, config: Mapping[str, object]) -> None:
        self.store = Path(str(config["store"]))
        super().__init__(folder, config)
