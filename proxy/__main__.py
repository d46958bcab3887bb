"""The command line.

Law: what an operator got wrong is one clear line on stderr and an exit code, never a traceback.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from acme_client import AcmeError

from . import VERSION
from .config import schema
from .config.file import ConfigError, Loaded, data_folder, load
from .errors import OperatorError
from .line_output import open_standard_streams
from .log import LEVELS, Log
from .reload_command import RefusedError, reload
from .strays import gather

Command = Callable[[argparse.Namespace], int]
DEFAULT_FILES = (Path("hopward.yml"), Path("/etc/hopward/hopward.yml"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    open_standard_streams()
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        # As a shell has it of a program that Ctrl-C ended.
        return 130
    except BrokenPipeError:
        # Whoever read us has read enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ConfigError, RefusedError) as error:
        print(error, file=sys.stderr)
        return 2
    except (OperatorError, AcmeError) as error:
        print(f"hopward: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hopward", description="A TLS-terminating reverse proxy: one small YAML file."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.set_defaults(command=function)
        return command

    run = add("run", _run, "serve until SIGTERM or Ctrl-C")
    _takes_file(run)
    _takes_local(run)
    run.add_argument("--workers", type=_count, metavar="N", help="processes that serve")
    run.add_argument("--log-level", choices=LEVELS, default="info")

    check = add("check", _check, "validate the configuration, start nothing")
    _takes_file(check)
    _takes_local(check)

    _takes_file(add("reload", _reload, "tell the running proxy to read its file again"))

    add("schema", _schema, "print the JSON Schema of the configuration, for editors")

    certs = add("certs", _certs, "show every certificate, its days left and its next renewal")
    _takes_file(certs)
    certs.add_argument("--json", action="store_true", help="for programs")

    renew = add("renew", _renew, "renew certificates now, due or not")
    _takes_file(renew)
    _takes_hosts(renew)

    rehearse = add("rehearse", _rehearse, "issue and renew at a staging directory, for practice")
    _takes_file(rehearse)
    rehearse.add_argument("--directory", metavar="URL", help="(else Let's Encrypt's staging one)")
    _takes_hosts(rehearse)

    backup = add("backup", _backup, "put all that disaster recovery needs into one archive")
    _takes_file(backup)
    backup.add_argument("archive", type=Path, metavar="OUT.tar.gz")

    restore = add("restore", _restore, "put back what a backup holds")
    _takes_file(restore)
    restore.add_argument("archive", type=Path, metavar="IN.tar.gz")
    restore.add_argument("--force", action="store_true", help="replace what is there")

    take_over = add("import", _import, "take over certificates and account of another program")
    _takes_file(take_over)
    take_over.add_argument("kind", choices=("certbot", "caddy", "pingoo"), metavar="PROGRAM")
    take_over.add_argument(
        "source", type=Path, metavar="PATH", help="its folder; it is not changed"
    )

    trust = add("trust", _trust, "let this machine trust the local authority")
    _takes_file(trust)
    trust.add_argument("--uninstall", action="store_true", help="trust it no longer")

    add("version", _version, "print versions and key-exchange groups")
    return parser


def _takes_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-c",
        dest="file",
        type=Path,
        metavar="FILE",
        help=f"the configuration (else {DEFAULT_FILES[0]}, then {DEFAULT_FILES[1]})",
    )


def _takes_local(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--local",
        action="store_true",
        help="for development: loopback only, certificates of a local authority, *.localhost names",
    )


def _takes_hosts(command: argparse.ArgumentParser) -> None:
    command.add_argument("hosts", nargs="*", metavar="HOST", help="(else every one)")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _file(options: argparse.Namespace) -> Path:
    found: Path | None = options.file or next(filter(Path.exists, DEFAULT_FILES), None)
    return found or DEFAULT_FILES[0]


def _load(options: argparse.Namespace) -> Loaded:
    return load(_file(options), local=options.local)


def _run(options: argparse.Namespace) -> int:
    # Commands that serve nothing need neither uvloop nor OpenSSL.
    from .supervisor import Supervisor

    file, workers = _file(options), options.workers

    def read() -> Loaded:
        loaded = load(file, local=options.local)
        if not workers:
            return loaded
        config = loaded.config.model_copy(update={"workers": workers})
        return replace(loaded, config=config)

    log = Log(options.log_level)
    gather(log)
    return Supervisor(read, file, log, local=options.local).run()


def _check(options: argparse.Namespace) -> int:
    loaded = _load(options)
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    return 0


def _reload(options: argparse.Namespace) -> int:
    pid, loaded = reload(_file(options))
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    print(f"process {pid} serves by {_file(options)} as it is now")
    return 0


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(schema(), indent=2))
    return 0


def _certs(options: argparse.Namespace) -> int:
    from .certificate_commands import certs

    return certs(load(_file(options)).config, as_json=options.json, say=print)


def _renew(options: argparse.Namespace) -> int:
    from .certificate_commands import renew

    return renew(load(_file(options)).config, options.hosts, say=print)


def _rehearse(options: argparse.Namespace) -> int:
    from .certificate_commands import rehearse

    config = load(_file(options)).config
    return rehearse(config, options.hosts, options.directory, say=print)


def _backup(options: argparse.Namespace) -> int:
    from .backup import back_up

    file = _file(options)
    for left_out in back_up(file, load(file).config.store, options.archive):
        print(f"left out: {left_out}", file=sys.stderr)
    return 0


def _restore(options: argparse.Namespace) -> int:
    from .backup import restore

    restored = restore(options.archive, _file(options), force=options.force)
    for path in restored.files:
        print(path)
    return 0


def _import(options: argparse.Namespace) -> int:
    from acme_client import Store

    from .issuing import hosts_of
    from .takeover import take_over

    config = load(_file(options)).config
    for taken in take_over(options.kind, options.source, hosts_of(config), Store(config.store)):
        print(taken)
    return 0


def _trust(options: argparse.Namespace) -> int:
    from .trust import trust

    file = _file(options)
    known = options.file or file.exists()
    store = load(file, local=True).config.store if known else data_folder(os.environ)
    return trust(store / "local-ca" / "root.pem", uninstall=options.uninstall, say=print)


def _version(options: argparse.Namespace) -> int:
    from OpenSSL import SSL

    from .groups import key_exchange_groups

    print(f"hopward {VERSION}")
    print(f"Python {platform.python_version()}")
    print(SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii"))
    print("key exchange:", ", ".join(key_exchange_groups()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
