"""What an operator can say about automatic certificates.

Law: values only. Nothing here is read from a file or checked against the network.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True)
class Eab:
    """An external account binding (RFC 8555 §7.3.4), as the authority handed it out."""

    key_id: str
    hmac_key: str
    """base64url, as it is handed out."""


@dataclass(frozen=True)
class Settings:
    """Which authority issues, for whom, and how control over a name is shown."""

    directory: str = LETS_ENCRYPT
    email: str | None = None
    ca_bundle: Path | None = None
    """PEM roots trusted in addition to the public ones when a directory is connected to."""
    challenges: tuple[str, ...] = ("tls-alpn-01", "http-01")
    """In the order in which they are tried."""
    profile: str | None = None
    """Asked of the first directory only, and only of a fallback that offers it too."""
    key_type: str = "ecdsa-p256"
    eab: Eab | None = None
    """For the first directory only: the binding is that authority's."""
    fallback: tuple[str, ...] = ()
    dns_hook: tuple[str, ...] = ()
    """Program and arguments that set TXT records; see `dns`."""

    @property
    def directories(self) -> tuple[str, ...]:
        """Every directory once, in the order in which they are tried."""
        return tuple(dict.fromkeys((self.directory, *self.fallback)))

    @property
    def fingerprint(self) -> str:
        """The same text for the same settings, and nothing of them can be read in it."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]
