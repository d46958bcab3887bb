"""The store: a folder of files in which certificates, accounts and answers to challenges meet.

Law: at every moment, also in the middle of a write or after a power cut at any point of it, the
folder holds a loadable pair for every host that ever had one.

What lies in it (folders 0700, files 0600 from their first byte on; `*` in a host's name is `_`):

    <host>.pem  <host>.key            the pair that is served: leaf first, then the chain
    <host>.pem.new  <host>.key.new    the next pair, on its way in
    <host>.json                       what is remembered of the host (`state`)
    <name>.bad-<time>                 what could not be used, set aside for a person to look at
    acme.json  acme.json.bak          accounts by directory, and a copy for the day one is corrupt
    challenges/                       answers to challenges (`answers`)
    renew/                            renewals that another process asks for (`wishes`)
    changed                           replaced after each change of a pair: one stat() tells it
    lock                              held by `flock` for life by the one process that writes

How a pair comes in: the new key is written as `.key.new` before the order is finalized; when the
certificate is here and was checked it is written as `.pem.new`; then the key is renamed, the
certificate is renamed, and the folder is synced. Whoever reads takes the newest pair that belongs
together out of {key, key.new} x {pem, pem.new}; so each point of this sequence gives the old pair
or the new one. The writer finishes at its next start what was cut short.

Readers need no lock and change nothing. A reader can see the key of before and the certificate of
after a rename; it looks again then.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

from . import files
from .answers import Answers
from .errors import StoreError
from .names import file_stem
from .pair import Pair, read_pair
from .state import State
from .times import Clock, utc_now
from .wishes import Wishes

# A commit takes two renames; more looks than this mean that the files are bad, not in motion.
_LOOKS = 3


# What tells that a host's files are those of before.
_Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class _Found:
    pair: Pair
    key: Path
    certificate: Path

    @property
    def rank(self) -> tuple[datetime, datetime, bool]:
        """Newest first; of equals the one that needs no renaming."""
        return self.pair.not_before, self.pair.not_after, self.settled

    @property
    def settled(self) -> bool:
        """Whether the files have their final names."""
        return self.certificate.suffix == ".pem" and self.key.suffix == ".key"


class Store:
    """The folder. Reading never raises for what is in it; writing raises StoreError."""

    def __init__(
        self, folder: Path, *, answers: Answers | None = None, clock: Clock = utc_now
    ) -> None:
        self.folder = folder
        self.answers = answers or Answers(folder / "challenges")
        self.wishes = Wishes(folder / "renew")
        self._clock = clock
        self.registering = threading.Lock()
        """Held while an account is looked up or made."""
        self._lock = files.Lock(folder / "lock")
        # A commit under way in one thread is not one that was cut short.
        self._motion = threading.Lock()
        self._seen: dict[str, tuple[_Signature, _Found]] = {}
        self.set_aside: list[Path] = []
        """What `load` found unusable since somebody emptied this list."""

    # ---- what any process may do

    def load(self, host: str) -> Pair | None:
        """The newest usable pair of `host`, or None.

        While the lock is held, an interrupted commit is finished and what is unusable is set
        aside, so that the next attempt begins clean.
        """
        if not self._lock.held:
            found = self._newest(host)
        else:
            with self._motion:
                found = self._newest(host)
                with suppress(OSError):
                    self._settle(host, found)
        return None if found is None else found.pair

    def state(self, host: str) -> State:
        """What is remembered of `host`; an empty state where nothing can be read."""
        path = self._path(host, ".json")
        content = files.read(path)
        if content is None:
            return State()
        try:
            return State.from_json(content)
        except ValueError:
            if self._lock.held:
                self._put_aside(path)
            return State()

    def generation(self) -> int:
        """A number that is another one after each change of a pair."""
        try:
            found = (self.folder / "changed").stat()
        except OSError:
            return 0
        return hash((found.st_mtime_ns, found.st_ino))

    def http_token(self, token: str) -> bytes | None:
        """What to answer to `/.well-known/acme-challenge/<token>`; None: 404."""
        return self.answers.http_token(token)

    def alpn_certificate(self, name: str) -> bytes | None:
        """Certificate and key for a client that offers the ALPN protocol `acme-tls/1` alone."""
        return self.answers.alpn_certificate(name)

    # ---- what only the holder of the lock does

    @property
    def locked(self) -> bool:
        """Whether this object holds the lock."""
        return self._lock.held

    def take_lock(self) -> bool:
        """Become the one that writes; False while another process is. Raises StoreError."""
        with files.failures_named():
            files.make_folder(self.folder)
            taken = self._lock.take()
        if taken:
            self.answers.tidy()
            # Whoever wrote before may have died between the last rename and the telling.
            with suppress(StoreError):
                self.tell()
        return taken

    def release_lock(self) -> None:
        """Let another process write."""
        self._lock.release()

    def probe(self) -> None:
        """Raise StoreError unless a pair could be written now: asked before an order is placed."""
        with files.failures_named():
            files.probe(self.folder)

    def keep_key(self, host: str, key: bytes) -> None:
        """Put the key of an order under way on the disk; raises StoreError."""
        with files.failures_named():
            files.make_folder(self.folder)
            files.replace(self._path(host, ".key.new"), key)

    def kept_key(self, host: str) -> bytes | None:
        """The key that `keep_key` put there."""
        return files.read(self._path(host, ".key.new"))

    def commit(self, host: str, certificate: bytes) -> None:
        """Make `certificate` with the kept key the pair that is served; raises StoreError."""
        with self._motion, files.failures_named():
            files.replace(self._path(host, ".pem.new"), certificate)
            self._path(host, ".key.new").replace(self._path(host, ".key"))
            self._path(host, ".pem.new").replace(self._path(host, ".pem"))
            files.sync_folder(self.folder)
        self.tell()

    def adopt(self, host: str, certificate: bytes, key: bytes) -> Pair:
        """Take a pair over that another program had; raises ValueError, StoreError."""
        pair = read_pair(certificate, key, host)
        self.keep_key(host, key)
        self.commit(host, certificate)
        return pair

    def save_state(self, host: str, state: State) -> None:
        """Remember; raises StoreError."""
        with files.failures_named():
            files.replace(self._path(host, ".json"), state.to_json())

    def tell(self) -> None:
        """Make `generation` another one; raises StoreError."""
        with files.failures_named():
            files.replace(self.folder / "changed", b"", durable=False)

    def accounts(self) -> dict[str, Any]:
        """`acme.json`; where it is corrupt, it is set aside and its backup is read.

        Raises StoreError for a file that cannot be read: taken for none, it would be replaced.
        """
        for path in (self._accounts, self._accounts_before):
            content = None
            with files.failures_named(), suppress(FileNotFoundError):
                content = path.read_bytes()
            if content is None:
                continue
            with suppress(ValueError, RecursionError):
                accounts = json.loads(content)
                if isinstance(accounts, dict):
                    return accounts
            if self._lock.held:
                self._put_aside(path)
        return {}

    def save_accounts(self, accounts: Mapping[str, Any]) -> None:
        """Write `acme.json` and its backup; raises StoreError."""
        content = (json.dumps(accounts, indent=2, sort_keys=True) + "\n").encode()
        with files.failures_named():
            files.replace(self._accounts, content)
            files.replace(self._accounts_before, content)

    # ---- within

    @property
    def _accounts(self) -> Path:
        return self.folder / "acme.json"

    @property
    def _accounts_before(self) -> Path:
        return self.folder / "acme.json.bak"

    def _path(self, host: str, ending: str) -> Path:
        return self.folder / f"{file_stem(host)}{ending}"

    def _newest(self, host: str) -> _Found | None:
        for _ in range(_LOOKS):
            signature = self._signature(host)
            seen = self._seen.get(host)
            if seen is not None and seen[0] == signature:
                return seen[1]
            found = self._look(host)
            if found is not None:
                self._seen[host] = (signature, found)
                return found
        return None

    def _signature(self, host: str) -> _Signature:
        endings = (".key", ".key.new", ".pem", ".pem.new")
        return tuple(_stamp(self._path(host, ending)) for ending in endings)

    def _look(self, host: str) -> _Found | None:
        keys = self._readable(host, ".key", ".key.new")
        certificates = self._readable(host, ".pem", ".pem.new")
        found = []
        for (key_path, key), (path, certificate) in product(keys.items(), certificates.items()):
            with suppress(ValueError):
                found.append(_Found(read_pair(certificate, key, host), key_path, path))
        return max(found, key=lambda each: each.rank, default=None)

    def _readable(self, host: str, *endings: str) -> dict[Path, bytes]:
        paths = [self._path(host, ending) for ending in endings]
        return {path: content for path in paths if (content := files.read(path)) is not None}

    def _settle(self, host: str, found: _Found | None) -> None:
        """Finish a commit that was cut short; set aside what no pair can be made of."""
        key, certificate = self._path(host, ".key"), self._path(host, ".pem")
        unfinished = self._path(host, ".pem.new")
        if found is None:
            for path in (certificate, unfinished, key):
                self._put_aside(path)
            return
        if found.settled:
            if unfinished.exists():
                unfinished.unlink()
            return
        found.key.replace(key)
        found.certificate.replace(certificate)
        files.sync_folder(self.folder)
        self.tell()

    def _put_aside(self, path: Path) -> None:
        if not path.exists():
            return
        stamp = self._clock().strftime("%Y%m%dT%H%M%S.%fZ")
        aside = path.with_name(f"{path.name}.bad-{stamp}")
        with suppress(OSError):
            path.rename(aside)
            self.set_aside.append(aside)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
