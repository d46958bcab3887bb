"""The command line.

Law: what an operator got wrong is one clear line on stderr and an exit code, never a traceback.
"""

import gc
import json
import os
import platform
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from acme_client.errors import AcmeError

from . import VERSION, command_line, openssl_settings
from .calls import DEFAULT_FILES
from .errors import OperatorError
from .line_output import open_standard_streams
from .log import Log
from .typed_password import typed_password

# Each command imports what it needs: the help needs no pydantic, and most commands no OpenSSL.
if TYPE_CHECKING:
    from .config import Config
    from .config.file import Loaded


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, or raises SystemExit with it."""
    open_standard_streams()
    # A file's name can be any bytes.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        options = command_line.read(sys.argv[1:] if arguments is None else arguments)
        code = COMMANDS[options.call](options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read us has read enough.
        _write_no_more()
        return 0
    except OperatorError as error:
        return _fail(error.told(), error.exit_code)
    except AcmeError as error:
        return _fail(f"hopward: {error}")
    except OSError as error:
        _write_no_more()
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"hopward: {where}{error.strerror or error}")
    except KeyboardInterrupt:
        # As a shell has it of a program that Ctrl-C ended.
        return 130


def _write_no_more() -> None:
    # Python would complain once more when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int = 1) -> int:
    print(message, file=sys.stderr)
    return code


class _NoFileError(OperatorError):
    """No file was named, and none is where it is looked for."""

    exit_code = 2

    def told(self) -> str:
        """As any problem of a file."""
        usual, other = DEFAULT_FILES
        return f"{usual}:1:1: there is no such file, nor {other}; name the configuration: -c FILE"


def _file(options: Namespace) -> Path:
    found: Path | None = options.file or _usual_file()
    if found is None:
        raise _NoFileError
    return found


def _usual_file() -> Path | None:
    return next(filter(Path.exists, DEFAULT_FILES), None)


def _config(options: Namespace, *more: str) -> "Config":
    """Of the sites, the store and `more`: the rest may hang on the service's own environment."""
    from .config.file import load

    return load(_file(options), only=("sites", "store", *more)).config


def _complain(line: str) -> None:
    print(line, file=sys.stderr)


def _warn(loaded: "Loaded") -> None:
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)


# ---- the commands


def _run(options: Namespace) -> int:
    # What is loaded stays for good: to look for garbage in it takes time here and in each worker.
    gc.disable()
    # Before anything else loads OpenSSL.
    openssl_settings.load()
    from .config.file import load
    from .descriptors import raise_limit
    from .strays import gather
    from .supervisor import Supervisor

    gc.freeze()
    gc.enable()

    file, workers = _file(options), options.workers

    def read() -> "Loaded":
        loaded = load(file, local=options.local)
        if not workers:
            return loaded
        config = loaded.config.model_copy(update={"workers": workers})
        return replace(loaded, config=config)

    log = Log(options.log_level)
    gather(log)
    raise_limit()
    return Supervisor(read, file, log, local=options.local).run()


def _reload(options: Namespace) -> int:
    from .reload_command import reload

    file = _file(options)
    pid, loaded = reload(file)
    _warn(loaded)
    print(f"process {pid} serves by {file} as it is now")
    return 0


def _check(options: Namespace) -> int:
    from .config.file import load

    _warn(load(_file(options), local=options.local))
    return 0


def _schema(options: Namespace) -> int:
    from .config import schema

    print(json.dumps(schema(), indent=2))
    return 0


def _hash(_options: Namespace) -> int:
    from .passwords import make

    print(make(typed_password()))
    return 0


def _certs(options: Namespace) -> int:
    from .certificate_commands import certs

    return certs(_config(options), as_json=options.json, say=print)


def _renew(options: Namespace) -> int:
    from .certificate_commands import renew

    return renew(_config(options, "acme"), options.hosts, say=print, complain=_complain)


def _rehearse(options: Namespace) -> int:
    from .certificate_commands import rehearse

    config, hosts, directory = _config(options, "acme"), options.hosts, options.directory
    return rehearse(config, hosts, directory, say=print, complain=_complain)


def _trust(options: Namespace) -> int:
    from .trust import trust

    stores = _stores_of_authorities(options.file or _usual_file())
    roots = [store / "local-ca" / "root.pem" for store in stores]
    root = next(filter(_is_there, roots), roots[0])
    return trust(root, uninstall=options.uninstall, say=print, complain=_complain)


def _stores_of_authorities(file: Path | None) -> list[Path]:
    """Where `run --local` has its authority, and where a service has that of `tls: internal`."""
    from .config.file import data_folder, load
    from .named_files import read, store_folder

    if file is None:
        return [data_folder(os.environ)]
    local = load(file, local=True, only=("sites", "store")).config.store
    return [local, store_folder(read(file.read_bytes(), file), file.parent)]


def _is_there(path: Path) -> bool:
    """Also where nobody but others may see it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _backup(options: Namespace) -> int:
    from .backup import back_up

    for left_out in back_up(_file(options), _config(options).store, options.archive):
        print(f"left out: {left_out}", file=sys.stderr)
    return 0


def _restore(options: Namespace) -> int:
    from .backup import restore

    file = options.file or _usual_file() or DEFAULT_FILES[0]
    for path in restore(options.archive, file, force=options.force).files:
        print(path)
    return 0


def _import(options: Namespace) -> int:
    from acme_client import Store

    from .automatic import hosts_of
    from .takeover import take_over

    config = _config(options)
    for taken in take_over(options.kind, options.source, hosts_of(config), Store(config.store)):
        print(taken)
    return 0


def _completion(options: Namespace) -> int:
    from .completion import script

    print(script(options.shell), end="")
    return 0


def _hosts(options: Namespace) -> int:
    """For the completion of HOST, which is no place for errors."""
    from .automatic import hosts_of
    from .config.file import ConfigError

    try:
        print("\n".join(hosts_of(_config(options))))
    except ConfigError:
        return 2
    return 0


def _version(options: Namespace) -> int:
    # As in service: the groups that are offered there.
    openssl_settings.load()
    from OpenSSL import SSL

    from .groups import key_exchange_groups

    print(f"hopward {VERSION}")
    print(f"Python {platform.python_version()}")
    print(SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii"))
    print("key exchange:", ", ".join(key_exchange_groups()))
    return 0


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "run": _run,
    "reload": _reload,
    "check": _check,
    "schema": _schema,
    "hash": _hash,
    "certs": _certs,
    "renew": _renew,
    "rehearse": _rehearse,
    "trust": _trust,
    "backup": _backup,
    "restore": _restore,
    "import": _import,
    "completion": _completion,
    "version": _version,
    "_hosts": _hosts,
}


if __name__ == "__main__":
    sys.exit(main())
