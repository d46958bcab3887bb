"""A renewal that is cut short before each of its steps on the disk, one after another.

    python -m tests.e2e.certificates.crashing STORE HOST DIRECTORY CA_BUNDLE

For each step a copy of the store (`STORE-1`, `STORE-2`, …) and a process of its own, which dies
there as by SIGKILL: nothing is cleaned up, and what was written but not synced is there in half.
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
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}


class Crash:
    """Dies before the `last`-th change of a file in `folder`."""

    def __init__(self, folder: Path, last: int) -> None:
        self._folder, self._left = str(folder), last
        self._sync = os.fsync
        # no audit event tells of it
        os.fsync = self._before_sync  # type: ignore[assignment]
        sys.addaudithook(self._before)

    def _before(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in CHANGES or not str(arguments[0]).startswith(self._folder):
            return
        if event == "open" and not _writes(arguments[2]):
            return
        self._step(f"{event} {Path(str(arguments[0])).name}")

    def _before_sync(self, file: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        if str(path).startswith(self._folder):
            self._step(f"fsync {path.name}", path if path.is_file() else None)
        self._sync(file)

    def _step(self, what: str, unsynced: Path | None = None) -> None:
        self._left -= 1
        if self._left:
            return
        if unsynced is not None:
            self._left = -1  # the truncation is no step
            os.truncate(unsynced, unsynced.stat().st_size // 2)
        print(what, flush=True)
        os._exit(CRASHED)


def _writes(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


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
