"""Answers to challenges, as files that any process may give to an authority that asks.

Law: an answer is there before the authority is told to look, and gone when it has looked. Names
come from the network on the reading side, so nothing that could leave the folder is ever opened.

    challenges/http-01/<token>            the key authorization, text (RFC 8555 §8.3)
    challenges/tls-alpn-01/<name>.pem     certificate and key, PEM, for the ALPN protocol
                                          `acme-tls/1` only (RFC 8737 §3)

They are short-lived and not worth an fsync.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path

from . import files

# RFC 8555 §8.3: base64url, no padding. The bound is a file name's.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")
_NAME = re.compile(r"[0-9a-z_-][0-9a-z_.-]{0,249}")
# Nobody validates for so long: a file this old was left by a process that died.
_LEFT_BEHIND = 3600.0


class Answers:
    """The `challenges` folder of a store."""

    def __init__(self, folder: Path) -> None:
        self._tokens = folder / "http-01"
        self._certificates = folder / "tls-alpn-01"

    def http_token(self, token: str) -> bytes | None:
        """The key authorization for a token of a request's path; None for an unknown one."""
        return files.read(self._tokens / token) if _TOKEN.fullmatch(token) else None

    def alpn_certificate(self, name: str) -> bytes | None:
        """Certificate and key (PEM) for a server name; None when it is not being validated."""
        return files.read(self._certificate(name)) if _NAME.fullmatch(name.lower()) else None

    def put_http_token(self, token: str, key_authorization: str) -> Path:
        """Answer http-01; raises ValueError for a token that is no base64url."""
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"{token!r} is no challenge token")
        return _put(self._tokens / token, key_authorization.encode())

    def put_alpn_certificate(self, name: str, pem: bytes) -> Path:
        """Answer tls-alpn-01 for this server name."""
        if not _NAME.fullmatch(name.lower()):
            raise ValueError(f"{name!r} is no server name")
        return _put(self._certificate(name), pem)

    def remove(self, answer: Path) -> None:
        """Take back what a `put` returned."""
        with suppress(OSError):
            answer.unlink()

    def tidy(self) -> None:
        """Remove what a process left behind that was killed."""
        for folder in (self._tokens, self._certificates):
            with suppress(OSError):
                for path in folder.iterdir():
                    _remove_when_old(path)

    def _certificate(self, name: str) -> Path:
        return self._certificates / f"{name.lower()}.pem"


def _put(path: Path, content: bytes) -> Path:
    with files.failures_named():
        files.make_folder(path.parent.parent)
        files.make_folder(path.parent)
        files.replace(path, content, durable=False)
    return path


def _remove_when_old(path: Path) -> None:
    with suppress(OSError):
        if abs(time.time() - path.stat().st_mtime) > _LEFT_BEHIND:
            path.unlink()
