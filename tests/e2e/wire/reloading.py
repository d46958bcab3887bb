"""A proxy whose file changes while clients are connected to it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Protocol

import yaml

from tests.authority import Authority
from tests.e2e.wire.client import HOST, Client
from tests.programs import Hopward, wait_for
from tests.tls_client import TLSClient

SOON = 15.0


class Reloading:
    """A proxy, its file, and a client's way to it."""

    def __init__(
        self,
        proxy: Hopward,
        configured: Callable[..., dict[str, object]],
        authority: Authority,
        connections: ExitStack,
    ) -> None:
        self.proxy, self._configured = proxy, configured
        self._authority, self._connections = authority, connections
        self.config = yaml.safe_load(proxy.file.read_text())

    def dial(self, host: str = HOST) -> Client:
        return Client(self._connections.enter_context(self.connect(host)))

    def connect(self, host: str = HOST, **options: Any) -> TLSClient:
        return TLSClient(self.proxy.https, host, cafile=self._authority.pem, **options)

    def write(self, sites: Mapping[str, object] | None = None, **settings: object) -> None:
        """Change the file: these sites instead of the former, these settings beside the former."""
        if sites is not None:
            settings["sites"] = self._configured(sites)["sites"]
        self.config = {**self.config, **settings}
        self.proxy.write(self.config)

    def reload(self, sites: Mapping[str, object] | None = None, **settings: object) -> None:
        """Change the file, ask for a reload, and wait until it is done."""
        self.write(sites, **settings)
        self.ask(signal.SIGHUP, "reloaded")

    def refuses(self, sites: Mapping[str, object] | None = None, **settings: object) -> str:
        """Change the file, ask for a reload; what the proxy says against it."""
        self.write(sites, **settings)
        return str(self.ask(signal.SIGHUP, "reload-failed")["message"])

    def upgrade(self) -> None:
        """Ask for an upgrade in place, and wait until it is done."""
        self.ask(signal.SIGUSR2, "ready")

    def ask(self, number: signal.Signals, event: str) -> dict[str, Any]:
        """Send the signal, and wait for one more event of that name."""
        before = len(self.events(event))
        self.proxy.process.send_signal(number)
        wait_for(lambda: len(self.events(event)) > before, SOON, f"the event {event!r}")
        return self.events(event)[-1]

    def events(self, name: str) -> list[dict[str, Any]]:
        """All events of that name so far."""
        lines = self.proxy.stderr_text().splitlines(keepends=True)
        said = [json.loads(line) for line in lines if line.endswith("}\n")]
        return [each for each in said if each["event"] == name]

    def wait_for_workers(self, count: int) -> None:
        """Wait until that many processes are left beside the supervisor."""
        wait_for(lambda: len(self.proxy.workers()) == count, SOON, f"{count} workers")


class Reloads(Protocol):
    """Starts a proxy that will reload its file."""

    def __call__(
        self, sites: Mapping[str, object] | None = None, **settings: object
    ) -> Reloading: ...
