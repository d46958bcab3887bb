"""Visitors who never stop to come, and what each of them is shown."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509

from tests.tls_client import TLSAlertError, TLSClient

IN_A_ROW = 16  # that all of these miss one of two workers happens once in 32,000 times
PAUSE = 0.05  # seconds between one visitor's handshakes: twenty a second


@dataclass
class Sight:
    """When one certificate was shown first and last, on the monotonic clock."""

    first: float
    last: float


@dataclass
class Shown:
    """The certificates one visitor was shown, by serial, and the handshakes that failed."""

    sights: dict[int, Sight] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    handshakes: int = 0
    expired: int = 0

    @property
    def generations(self) -> int:
        """How many different certificates were shown."""
        return len(self.sights)

    @property
    def longest_overlap(self) -> float:
        """For how many seconds an older certificate was shown beside a newer one at most."""
        order = sorted(self.sights.values(), key=lambda sight: sight.first)
        overlaps = [older.last - newer.first for older, newer in itertools.pairwise(order)]
        return max(overlaps, default=0.0)

    def note(self, certificate: x509.Certificate) -> None:
        now = time.monotonic()
        self.handshakes += 1
        self.expired += certificate.not_valid_after_utc.timestamp() < time.time()
        self.sights.setdefault(certificate.serial_number, Sight(now, now)).last = now


class Visitor:
    """Makes one full handshake after another from `with` to its end, each verified by `root`."""

    def __init__(self, port: int, host: str, root: Path) -> None:
        self.shown = Shown()
        self._port, self._host, self._root = port, host, root
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._come_again, daemon=True)

    def is_welcome(self) -> bool:
        """Whether several visits in a row succeed, at whatever worker."""
        try:
            return all(self._visit() for _ in range(IN_A_ROW))
        except (TLSAlertError, OSError):
            return False

    def _visit(self) -> x509.Certificate:
        with TLSClient(self._port, self._host, cafile=self._root) as client:
            found = client.tls.get_peer_certificate(as_cryptography=True)
        assert found is not None
        return found

    def _come_again(self) -> None:
        while not self._ended.wait(PAUSE):
            try:
                self.shown.note(self._visit())
            except Exception as error:  # noqa: BLE001 (whatever it was, the visitor saw it)
                self.shown.failures.append(f"{type(error).__name__}: {error}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(60)
