"""`hopward trust` on a Debian machine as root: who believes the authority before and after.

The system is afterwards what it was, and the home is a temporary one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.local_ca import LocalAuthority
from proxy.trust import (
    ANCHORS,
    read,
    trust,
)
from tests.programs import requires

DEBIAN = ANCHORS[1]

needs_debian_as_root = [
    pytest.mark.skipif(os.geteuid() != 0, reason="changes the system's store: run as root"),
    requires("update-ca-certificates", "apt-get install ca-certificates (Debian, Ubuntu)"),
    requires("certutil", "apt-get install libnss3-tools"),
    requires("openssl", "apt-get install openssl"),
]


@contextmanager
def alone_with_the_system_store() -> Iterator[None]:
    """No other run of these tests changes the store meanwhile; it is afterwards what it was."""
    descriptor = os.open(DEBIAN.folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        before = system_store()
        yield
        assert system_store() == before
    finally:
        os.close(descriptor)


JAVA_KEYSTORE = Path("/etc/ssl/certs/java/cacerts")


def system_store() -> dict[str, str]:
    """Every entry with its content; a link that leads nowhere counts too. Java's keystore is
    written anew each time, so of that one only what is ours."""
    entries = [*Path("/etc/ssl/certs").iterdir(), *Path(DEBIAN.folder).iterdir()]
    found = {str(entry): content(entry) for entry in entries if not entry.is_dir()}
    if JAVA_KEYSTORE.exists():
        ours = JAVA_KEYSTORE.read_bytes().count(b"hopward-local-authority")
        found["Java"] = f"{ours} of ours"
    return found


def content(entry: Path) -> str:
    return hashlib.sha256(entry.read_bytes()).hexdigest() if entry.exists() else "dangling"


def default_client_accepts(authority: LocalAuthority, folder: Path) -> bool:
    """Whether a TLS client with Python's defaults believes a server of this authority."""
    pair = authority.issue(["api.localhost"], now=datetime.now(UTC))
    (folder / "leaf.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(up, down, server_side=True)
    client = ssl.create_default_context().wrap_bio(down, up, server_hostname="api.localhost")
    try:
        for side in (client, server, client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError:
        return False
    return client.version() is not None


def openssl_accepts(folder: Path) -> bool:
    command = ["openssl", "verify", "-CApath", "/etc/ssl/certs", str(folder / "leaf.pem")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def nss_lists(home: Path, nickname: str) -> bool:
    command = ["certutil", "-L", "-d", f"sql:{home / '.pki/nssdb'}"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return any(line.startswith(nickname) and line.endswith("C,,") for line in
               map(str.rstrip, listing.splitlines()))  # fmt: skip


class Believers:
    """Who believes the authority at this moment."""

    def __init__(self, authority: LocalAuthority, root: Path, home: Path) -> None:
        self.authority, self.root, self.home = authority, root, home

    def __call__(self) -> dict[str, bool]:
        return {
            "Python": default_client_accepts(self.authority, self.home),
            "OpenSSL": openssl_accepts(self.home),
            "NSS": nss_lists(self.home, read(self.root).nickname),
        }


EVERYBODY = {"Python": True, "OpenSSL": True, "NSS": True}
NOBODY = {"Python": False, "OpenSSL": False, "NSS": False}


@pytest.fixture
def believers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Believers]:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "local-ca" / "root.pem"
    authority = LocalAuthority.open(root.parent, now=datetime.now(UTC))
    with alone_with_the_system_store():
        yield Believers(authority, root, tmp_path)
        trust(root, uninstall=True, say=print, complain=print)


class TestForReal:
    pytestmark = needs_debian_as_root

    def test_trust_makes_everybody_believe_and_uninstall_nobody(self, believers: Believers) -> None:
        lines: list[str] = []
        assert believers() == NOBODY
        assert trust(believers.root, uninstall=False, say=lines.append, complain=print) == 0
        assert believers() == EVERYBODY
        assert trust(believers.root, uninstall=True, say=lines.append, complain=print) == 0
        assert believers() == NOBODY
        file = f"{DEBIAN.folder}/{read(believers.root).stem}.crt"
        assert lines == [
            f"system trust store: trusts {file}",
            "browsers (~/.pki/nssdb): trusts it",
            f"system trust store: no longer trusts {file}",
            "browsers (~/.pki/nssdb): no longer trusts it",
        ]

    def test_both_ways_can_be_gone_twice(self, believers: Believers) -> None:
        installs = [
            trust(believers.root, uninstall=False, say=print, complain=print) for _ in range(2)
        ]
        assert believers() == EVERYBODY
        uninstalls = [
            trust(believers.root, uninstall=True, say=print, complain=print) for _ in range(2)
        ]
        assert believers() == NOBODY
        assert installs + uninstalls == [0, 0, 0, 0]
