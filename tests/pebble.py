"""Pebble, Let's Encrypt's own test CA, and the name server it asks: real programs on loopback.

One law: a test says what the CA does (lifetimes, nonces refused, names blocked), and nothing
that it does not say is left to chance: Pebble by itself refuses 5 % of the nonces, reuses half
of the authorizations and sleeps before it validates.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.authority import Authority
from tests.programs import Program, accepts, free_port, requires

CHECKOUT = Path(__file__).parents[1]
NEWER = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.0"
needs_pebble = requires("pebble", "apt-get install pebble")
# where Go's own archive puts it, for shells whose PATH does not say so
GO = shutil.which("go", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/go/bin"]))
needs_go = pytest.mark.skipif(
    GO is None and "CI" not in os.environ, reason="needs go: Go 1.24 or newer, https://go.dev/dl/"
)


class ReservedPort:
    """A loopback port kept for one program, before it starts and after it ends.

    A bound socket that never listens: others may listen there (SO_REUSEADDR), connections are
    refused until they do, and the kernel gives the number to nobody else.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Behaviour:
    """What a Pebble does; the defaults are those of a quick, honest CA.

    `lifetime` is in seconds; `external_accounts` maps key ids to base64url MAC keys and, where
    it is not empty, makes a binding necessary (RFC 8555 §7.3.4); `profiles` maps names to
    lifetimes and needs a newer Pebble.
    """

    lifetime: int = 90 * 24 * 3600
    nonces_refused: int = 0  # per cent
    always_valid: bool = False  # no challenge is looked at
    authorizations_reused: bool = False
    alternate_roots: int = 0
    chain_length: int = 1
    blocked: Sequence[str] = ()
    external_accounts: Mapping[str, str] = field(default_factory=dict)
    profiles: Mapping[str, int] = field(default_factory=dict)

    def environ(self) -> dict[str, str]:
        """The knobs Pebble reads from its environment."""
        return {
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_VA_ALWAYS_VALID": "1" if self.always_valid else "0",
            "PEBBLE_WFE_NONCEREJECT": str(self.nonces_refused),
            "PEBBLE_AUTHZREUSE": "100" if self.authorizations_reused else "0",
            "PEBBLE_ALTERNATE_ROOTS": str(self.alternate_roots),
            "PEBBLE_CHAIN_LENGTH": str(self.chain_length),
        }

    def settings(self) -> dict[str, object]:
        """The knobs Pebble reads from its file; older and newer ones pass over each other's."""
        # an order without a profile gets any of them at random: only one unless a test names more
        profiles = self.profiles or {"default": self.lifetime}
        return {
            "certificateValidityPeriod": self.lifetime,
            "profiles": {
                name: {"description": name, "validityPeriod": seconds}
                for name, seconds in profiles.items()
            },
            "domainBlocklist": list(self.blocked),
            "externalAccountBindingRequired": bool(self.external_accounts),
            "externalAccountMACKeys": dict(self.external_accounts),
            "retryAfter": {"authz": 1, "order": 1},
            "ocspResponderURL": "",
            "keyAlgorithm": "ecdsa",  # where it is known, a start takes half the time
        }


class NameServer(Program):
    """challtestsrv as the CA's resolver: every name is 127.0.0.1 until a test says otherwise."""

    def __init__(self, folder: Path) -> None:
        self.port, self.management = free_port(socket.SOCK_DGRAM), free_port()
        off = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]
        dns, management = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.management}"
        command = ["pebble-challtestsrv", *off, "-dns01", dns, "-management", management]
        super().__init__("challtestsrv", command, folder, until=lambda: accepts(self.management))

    def fail(self, name: str) -> None:
        """Answer SERVFAIL for `name`."""
        self._say("set-servfail", host=f"{name}.")

    def recover(self, name: str) -> None:
        """Answer for `name` as for any other."""
        self._say("clear-servfail", host=f"{name}.")

    def lead(self, name: str, *addresses: str) -> None:
        """Give `name` these IPv4 addresses."""
        self._say("add-a", host=f"{name}.", addresses=list(addresses))

    def text(self, name: str, value: str) -> None:
        """Give `name` a TXT record."""
        self._say("set-txt", host=f"{name}.", value=value)

    def clear_text(self, name: str) -> None:
        """Take the TXT records of `name` away."""
        self._say("clear-txt", host=f"{name}.")

    def _say(self, what: str, **record: object) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.management, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", f"/{what}", json.dumps(record))
            assert connection.getresponse().status == 200, what


class Pebble:
    """A CA from `with` to its end; `http_port` and `tls_port` are where it validates.

    A restart keeps its address and forgets everything else: accounts, orders, even its root.
    """

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        behaviour: Behaviour = Behaviour(),
        *,
        names: NameServer | None = None,
        program: str | Path = "pebble",
        ports: tuple[int, int] | None = None,
    ) -> None:
        """`ports` are the validation ports for http-01 and tls-alpn-01; by default own ones."""
        self.folder, self._authority, self._behaviour = folder, authority, behaviour
        self._names, self._program, self._starts = names, str(program), 0
        self._reserved = [ReservedPort() for _ in range(4)]
        self.port, self._management, *own = (port.number for port in self._reserved)
        self.http_port, self.tls_port = ports or (own[0], own[1])
        self._running: Program | None = None
        self._said: list[str] = []

    @property
    def directory(self) -> str:
        """The URL a client begins with (RFC 8555 §7.1.1)."""
        return f"https://127.0.0.1:{self.port}/dir"

    @property
    def bundle(self) -> Path:
        """What verifies the CA's own https; not the root of what it issues."""
        return self._authority.pem

    def start(self, behaviour: Behaviour | None = None) -> None:
        """Begin to answer, with nothing known; `behaviour` replaces the one before."""
        self._behaviour = behaviour or self._behaviour
        self._starts += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "pebble.json"
        file.write_text(json.dumps({"pebble": {**self._behaviour.settings(), **self._listeners()}}))
        resolver = ["-dnsserver", f"127.0.0.1:{self._names.port}"] if self._names else []
        self._running = Program(
            f"pebble{self._starts}",
            [self._program, "-config", file, *resolver],
            self.folder,
            environ=self._behaviour.environ(),
            until=lambda: accepts(self.port) and accepts(self._management),
        )

    def _listeners(self) -> dict[str, object]:
        pair = self._authority.pair("localhost", "127.0.0.1")
        return {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(pair.cert),
            "privateKey": str(pair.key),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
        }

    def stop(self) -> None:
        """Answer no more; what was logged stays countable."""
        if self._running is not None:
            self._running.end()
            self._said.append(self._running.output())
            self._running = None

    def restart(self, behaviour: Behaviour | None = None) -> None:
        """Stop and start: every account is gone (`accountDoesNotExist`), and so is the root."""
        self.stop()
        self.start(behaviour)

    def root(self, number: int = 0) -> Path:
        """The root certificate of what is issued now, as a file; `number` counts alternates."""
        file = self.folder / f"root{self._starts}.{number}.pem"
        file.write_bytes(self._managed(f"/roots/{number}"))
        return file

    def _managed(self, path: str) -> bytes:
        trusting = ssl.create_default_context(cafile=str(self._authority.pem))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._management, timeout=30, context=trusting
        )
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200, path
            return answer.read()

    def log(self) -> str:
        """All that was logged, over restarts."""
        now = [self._running.output()] if self._running else []
        return "".join([*self._said, *now])

    def orders(self) -> int:
        """How many orders were placed."""
        return self.log().count("Added order ")

    def issued(self) -> int:
        """How many certificates were signed."""
        return self.log().count("Issued certificate serial ")

    def failed_validations(self) -> int:
        """How many authorizations were made invalid by a challenge."""
        return len(re.findall(r"authz \S+ set INVALID by completed challenge", self.log()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        for port in self._reserved:
            port.close()


@functools.cache
def newer_pebble() -> Path:
    """A Pebble that knows renewal information and profiles, built once into `.cache/go`."""
    folder = CHECKOUT / ".cache" / "go"
    program = folder / "bin" / "pebble"
    if program.exists():
        return program
    assert GO is not None, "needs Go 1.24 or newer"
    environ = {
        **os.environ,
        "GOPATH": str(folder / "path"),
        "GOCACHE": str(folder / "build"),
        "GOBIN": str(folder / "bin"),
        "GOFLAGS": "-modcacherw",  # a module cache that `make clean` can remove
    }
    built = subprocess.run([GO, "install", NEWER], env=environ, capture_output=True, text=True)
    assert built.returncode == 0, f"{NEWER} cannot be built: {built.stderr}"
    return program
