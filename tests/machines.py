"""Machines on which a hopward lives: folders with a configuration and a store."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from acme_client.state import State
from acme_client.store import Store
from proxy.local_ca import LocalAuthority
from tests.authority import Authority, Pair

HOST, WILDCARD, OWN = "api.example.com", "*.example.org", "own.example.com"
ACCOUNT = {"https://ca.example/directory": {"key": {"kty": "EC"}, "uri": "https://ca.example/1"}}

Tree = dict[str, tuple[str, bytes]]


class Machine:
    """A folder in which a hopward lives: its configuration and its store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "etc" / "hopward.yml"
        self.store = folder / "var" / "store"

    def tree(self) -> Tree:
        """Every file and folder, with its kind and bytes."""
        found: Tree = {}
        for path in sorted(self.folder.rglob("*")):
            kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "file"
            content = path.read_bytes() if kind == "file" else b""
            found[str(path.relative_to(self.folder))] = (kind, content)
        return found

    def configure(self, more: str = "") -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(
            f"store: ../var/store\nsites:\n  {HOST}: http://127.0.0.1:1212\n"
            f"  '{WILDCARD}': http://127.0.0.1:1213\n{more}"
        )

    def hold(self, host: str, pair: Pair) -> None:
        """Put a pair into the store."""
        with_lock = Store(self.store)
        assert with_lock.take_lock()
        with_lock.adopt(host, pair.cert.read_bytes(), pair.key.read_bytes())
        with_lock.release_lock()

    def certificate(self, host: str) -> bytes | None:
        pair = Store(self.store).load(host)
        return None if pair is None else pair.certificate


def with_everything(folder: Path, authority: Authority) -> Machine:
    """One with all that a backup can hold."""
    machine = Machine(folder)
    own = authority.pair(OWN)
    machine.configure(
        f"  {OWN}: {{to: http://127.0.0.1:1, tls: {{cert: tls/own.pem, key: tls/own.key}}}}\n"
    )
    (machine.file.parent / "tls").mkdir()
    shutil.copy(own.cert, machine.file.parent / "tls" / "own.pem")
    shutil.copy(own.key, machine.file.parent / "tls" / "own.key")
    for host in (HOST, WILDCARD):
        machine.hold(host, authority.pair(host))
    store = Store(machine.store)
    assert store.take_lock()
    store.save_accounts(ACCOUNT)
    store.save_state(HOST, State(last_error="the CA said no"))
    store.release_lock()
    LocalAuthority.open(machine.store / "local-ca", now=datetime.now(UTC))
    return machine
