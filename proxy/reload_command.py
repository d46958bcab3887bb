"""`hopward reload`: the running proxy reads its file again, and says how that went.

Law: a file that cannot be used is never tried. It is read here first, as the running proxy would
read it, and only where it is good is that proxy asked, by SIGHUP.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from .config.file import ConfigError, Loaded, load
from .errors import AS_WHO, OperatorError
from .running import Found, find

# Seconds. A reload starts workers, which read every certificate.
PATIENCE = 60.0
_PAUSE = 0.05

Wait = Callable[[float], None]


class RefusedError(OperatorError):
    """The running proxy did not take its configuration and serves on as before: its own words."""

    exit_code = 2

    def told(self) -> str:
        """As the proxy told it."""
        return str(self)


def reload(
    file: Path, environ: Mapping[str, str] = os.environ, wait: Wait = time.sleep
) -> tuple[int, Loaded]:
    """Have the proxy that runs by `file` read it again.

    Returns its process id, once it serves by what stands in the file, and what that is. Raises
    ConfigError (then no proxy was asked), RefusedError, and OperatorError where none runs, none may
    be asked, or none answers within `PATIENCE` seconds.
    """
    found, store, loaded = _find(file, environ)
    serves_by = Path(found.record.file)
    if not _same(file, serves_by):
        raise OperatorError(
            f"the hopward that runs on {store} (process {found.pid}) serves by another file; "
            f"name that one: hopward reload -c {serves_by}"
        )
    _ask(found.pid, store)
    _await(found, store, wait)
    return found.pid, loaded


def _find(file: Path, environ: Mapping[str, str]) -> tuple[Found, Path, Loaded]:
    """A proxy, its store and the file as it would read it; `--local` reads and stores otherwise."""
    bad: ConfigError | None = None
    looked: list[str] = []
    for local in (False, True):
        try:
            loaded = load(file, environ, local=local)
        except ConfigError as error:
            bad = bad or error
            continue
        store = loaded.config.store
        try:
            found = find(store)
        except OSError as error:
            who = f": {AS_WHO}" if isinstance(error, PermissionError) else ""
            looked.append(f"{store} ({(error.strerror or str(error)).lower()}{who})")
            continue
        if found is not None and found.record.local == local:
            return found, store, loaded
        looked.append(str(store))
    if bad is not None:
        raise bad
    stores = ", nor on ".join(dict.fromkeys(looked))
    raise OperatorError(
        f"no running hopward was found on {stores}; "
        "where `store` is what has changed, restart hopward"
    )


def _same(file: Path, other: Path) -> bool:
    try:
        return file.samefile(other)
    except OSError:
        return file.absolute() == other


def _ask(pid: int, store: Path) -> None:
    if not pid:
        raise OperatorError(
            f"the hopward on {store} runs in a container of its own; reload it in there"
        )
    try:
        os.kill(pid, signal.SIGHUP)
    except PermissionError:
        raise OperatorError(f"no permission to signal process {pid}; {AS_WHO}") from None
    except ProcessLookupError:
        raise OperatorError(_ended(pid)) from None


def _ended(pid: int) -> str:
    return f"process {pid} has ended before it answered"


def _await(asked: Found, store: Path, wait: Wait) -> None:
    for _ in range(int(PATIENCE / _PAUSE)):
        now = find(store)
        if now is None or now.pid != asked.pid:
            raise OperatorError(_ended(asked.pid))
        # One that was under way when this one was asked for may have read the file before.
        begun_since = now.record.attempts > asked.record.attempts
        if begun_since and now.record.result is not None:
            if now.record.result == "failure":
                raise RefusedError(now.record.error)
            return
        wait(_PAUSE)
    raise OperatorError(
        f"process {asked.pid} has not answered within {PATIENCE:.0f} s; its log says why"
    )
