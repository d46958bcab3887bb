"""A renewal that is cut short before each of its steps on the disk, one after another.

    python -m tests.e2e.certificates.crashing STORE HOST DIRECTORY CA_BUNDLE

For each step a copy of the store (`STORE-1`, `STORE-2`, …) and a process of its own, which dies
there as by a power cut: nothing is cleaned up, what was written but not synced is there in half,
and a file that was opened to be written anew is empty.
Prints one line per step, `N WHAT`; the last line is `N done`: that renewal came to its end.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from acme_client import Settings, Store, renew_now

CRASHED = 9
MOST_STEPS = 200
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir"}


class Crash:
    """A power cut before the `last`-th change of a file in `folder`."""

    def __init__(self, folder: Path, last: int) -> None:
        self._folder, self._left = folder, last
        # what is certainly on the disk: the time of the last change, by inode
        self._safe = {found.st_ino: found.st_mtime_ns for _, found in self._files()}
        self._sync = os.fsync
        # no audit event tells of it
        os.fsync = self._before_sync  # type: ignore[assignment]
        sys.addaudithook(self._before)

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        return [(path, path.stat()) for path in self._folder.rglob("*") if path.is_file()]

    def _before(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in CHANGES or not str(arguments[0]).startswith(str(self._folder)):
            return
        if event == "open" and not _has(arguments[2], os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        path = Path(str(arguments[0]))
        emptied = event == "open" and path.exists() and _has(arguments[2], os.O_TRUNC)
        self._step(f"{event} {path.name}", path if emptied else None)

    def _before_sync(self, file: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        if path.is_relative_to(self._folder):
            self._step(f"fsync {path.name}")
        self._sync(file)
        found = os.fstat(file)
        self._safe[found.st_ino] = found.st_mtime_ns

    def _step(self, what: str, emptied: Path | None = None) -> None:
        self._left -= 1
        if self._left == 0:
            if emptied is not None:
                os.truncate(emptied, 0)
            self._lose_what_is_not_safe()
            print(what, flush=True)
            os._exit(CRASHED)

    def _lose_what_is_not_safe(self) -> None:
        for path, found in self._files():
            if self._safe.get(found.st_ino) != found.st_mtime_ns:
                os.truncate(path, found.st_size // 2)


def _has(flags: object, wanted: int) -> bool:
    return isinstance(flags, int) and bool(flags & wanted)


def renew(step: int, folder: Path, host: str, directory: str, bundle: str) -> NoReturn:
    """Renew in `folder` and die before its `step`-th change."""
    Crash(folder, step)
    try:
        settings = Settings(directory=directory, ca_bundle=Path(bundle))
        [(_, error)] = renew_now(settings, Store(folder), [host])
        print(error or "done", flush=True)
        os._exit(0)
    except BaseException:  # noqa: BLE001 (nothing may come back into the parent's loop)
        traceback.print_exc()
        os._exit(1)


def main(store: Path, host: str, directory: str, bundle: str) -> int:
    for step in range(1, MOST_STEPS):
        folder = store.with_name(f"{store.name}-{step}")
        shutil.copytree(store, folder)
        print(step, end=" ", flush=True)
        if (child := os.fork()) == 0:
            renew(step, folder, host, directory, bundle)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ended != CRASHED:
            return ended
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:5]))
