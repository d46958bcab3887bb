"""One certificate authority with bad days, one store, and clocks that a test moves."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509

from acme_client import Keeper, Pair, Settings, Store, renew_now
from tests.acme_shim import AcmeShim
from tests.challenge_responder import Responder
from tests.e2e.certificates.earlier import Earlier, earlier
from tests.pebble import Behaviour, Pebble
from tests.programs import Program

CHECKOUT = Path(__file__).parents[3]
ENDINGS = (".key", ".pem", ".json")


def certificate_id(pair: Pair) -> str:
    """How renewal information names a certificate (RFC 9773 §4.1)."""
    leaf = x509.load_pem_x509_certificate(pair.certificate)
    authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1, "big")
    halves = (authority.key_identifier or b"", serial)
    return ".".join(base64.urlsafe_b64encode(half).decode().rstrip("=") for half in halves)


class Start(Protocol):
    """Starts another CA that lasts as long as the test."""

    def __call__(
        self,
        behaviour: Behaviour,
        *,
        program: str | Path = "pebble",
        ports: tuple[int, int] | None = None,
    ) -> Pebble: ...


class Clock:
    """Wall and monotonic clock of one machine; both tick by themselves as well."""

    def __init__(self) -> None:
        self._wall, self._monotonic = timedelta(0), 0.0

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._wall

    def timestamp(self) -> float:
        return self().timestamp()

    def monotonic(self) -> float:
        return time.monotonic() + self._monotonic

    def pass_by(self, span: timedelta) -> None:
        """Let `span` go by."""
        self._wall += span
        self._monotonic += span.total_seconds()

    def jump(self, span: timedelta) -> None:
        """Set the wall clock; no time goes by."""
        self._wall += span


@dataclass
class Lab:
    """A store for `host`, and the CA behind `shim`; challenges are answered by `responder`."""

    host: str
    folder: Path
    ca: Pebble
    shim: AcmeShim
    responder: Responder
    store: Store
    clock: Clock
    told: list[tuple[str, str]] = field(default_factory=list)
    _threads: dict[int, threading.Thread] = field(default_factory=dict)

    # ---- what stands in the store

    def file(self, ending: str) -> Path:
        """The host's file with this ending."""
        return self.folder / f"{self.host}{ending}"

    def earlier(self, *, begun: timedelta, ends: timedelta) -> Earlier:
        """A pair from before, for this host, by another authority."""
        return earlier(self.host, begun=begun, ends=ends)

    def put(self, *, begun: timedelta, ends: timedelta) -> Earlier:
        """An earlier pair in the store."""
        pair = self.earlier(begun=begun, ends=ends)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for ending, content in ((".pem", pair.certificate), (".key", pair.key)):
            self.file(ending).touch(mode=0o600)
            self.file(ending).write_bytes(content)
        return pair

    def served(self) -> Pair | None:
        """What a server that looks now finds."""
        return Store(self.folder).load(self.host)

    def served_certificate(self) -> bytes:
        """The chain a server that looks now finds; there must be one."""
        pair = self.served()
        assert pair is not None, "nothing can be served"
        return pair.certificate

    def remaining(self) -> timedelta:
        """How long what is served lasts from the real now on."""
        leaf = x509.load_pem_x509_certificate(self.served_certificate())
        return leaf.not_valid_after_utc - datetime.now(UTC)

    def set_aside(self) -> list[str]:
        """The endings of the host's files that were set aside."""
        found = self.folder.glob(f"{self.host}.*.bad-*")
        return sorted({f".{path.name.removeprefix(self.host).split('.')[1]}" for path in found})

    def account_key(self) -> dict[str, Any]:
        """The key of the account at the shim's CA (RFC 7517)."""
        accounts = json.loads((self.folder / "acme.json").read_bytes())
        key: dict[str, Any] = accounts[self.shim.directory]["key"]
        return key

    # ---- work

    def settings(self, **changes: Any) -> Settings:
        """Settings for the shim's CA, but for `changes`."""
        plain = Settings(directory=self.shim.directory, ca_bundle=self.ca.bundle)
        return replace(plain, **changes)

    def keeper(
        self,
        hosts: Sequence[str] | None = None,
        *,
        store: Store | None = None,
        deadline: float = 20.0,
        reloaded: bool = False,
        **settings: Any,
    ) -> Keeper:
        """A keeper that has just started: it knows what the store remembers."""
        return Keeper(
            self.settings(**settings),
            store or self.store,
            hosts or [self.host],
            clock=self.clock,
            monotonic=self.clock.monotonic,
            tell=lambda event, host, _: self.told.append((event, host)),
            deadline=deadline,
            reloaded=reloaded,
        )

    def tick(self, keeper: Keeper | None = None) -> None:
        """Do what is due now; by default as a process that has just started."""
        (keeper or self.keeper()).tick()

    def until_polled(self, keeper: Keeper) -> None:
        """Ask for renewal information, and do what it says."""
        asked = self.shim.count("renewalInfo")
        self.tick(keeper)
        assert self.shim.count("renewalInfo") > asked, "no renewal information was asked for"
        self.tick(keeper)

    def obtain(self, **settings: Any) -> Pair:
        """Issue now, as `hopward renew` does; it must succeed."""
        [(_, error)] = renew_now(
            self.settings(**settings), self.store, [self.host], clock=self.clock
        )
        assert error is None, error
        pair = self.served()
        assert pair is not None
        return pair

    @contextmanager
    def running(self, **settings: Any) -> Iterator[Keeper]:
        """A keeper that runs by itself, to the end of the `with` block."""
        keeper = self.keeper(**settings)
        thread = threading.Thread(target=keeper.run, daemon=True)
        self._threads[id(keeper)] = thread
        thread.start()
        try:
            yield keeper
        finally:
            keeper.stop()
            self.ended(keeper)

    def ended(self, keeper: Keeper) -> None:
        """Wait for the end of a keeper that was told to stop."""
        thread = self._threads[id(keeper)]
        thread.join(30)
        assert not thread.is_alive(), "the keeper does not end"

    # ---- processes

    def process(self, under: Sequence[str] = ()) -> Program:
        """A keeper in a process of its own, started `under` another program."""
        self.store.release_lock()
        name = f"keeper{len(list(self.shim.pebble.folder.glob('keeper*.stdout')))}"
        module = "tests.e2e.certificates.keeping"
        arguments: list[str | Path] = [self.folder, self.shim.directory, self.ca.bundle, self.host]
        command: list[str | Path] = [*under, sys.executable, "-m", module, *arguments]
        environ = {"PYTHONPATH": str(CHECKOUT)}
        return Program(name, command, self.shim.pebble.folder, environ=environ)

    def crash_at_every_step(self, ca: Pebble) -> list[Path]:
        """Copies of the store, each as a renewal left it that died one step later; the last one
        came to its end."""
        self.store.release_lock()
        module = "tests.e2e.certificates.crashing"
        arguments = [self.folder, self.host, ca.directory, ca.bundle]
        said = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, said.stdout + said.stderr
        steps = said.stdout.splitlines()
        assert steps[-1].endswith(" done"), said.stdout
        return [self.folder.with_name(f"{self.folder.name}-{n}") for n in range(1, len(steps) + 1)]
