"""The command line.

Law: what an operator got wrong is one clear line on stderr and an exit code, never a traceback.
"""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from . import VERSION
from .config import Config, schema
from .config_file import ConfigError, Loaded, load
from .errors import StartError
from .local_ca import LocalAuthorityError
from .log import LEVELS, Log

DEFAULT_FILES = (Path("hopward.yml"), Path("/etc/hopward/hopward.yml"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (StartError, LocalAuthorityError) as error:
        print(f"hopward: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hopward", description="A TLS-terminating reverse proxy: one small YAML file."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "serve until SIGTERM or Ctrl-C")
    _takes_file(run)
    _takes_local(run)
    run.add_argument("--workers", type=_count, metavar="N", help="processes that serve")
    run.add_argument("--log-level", choices=LEVELS, default="info")

    check = _command(commands, "check", _check, "validate the configuration, start nothing")
    _takes_file(check)
    _takes_local(check)

    _command(commands, "schema", _schema, "print the JSON Schema of the configuration, for editors")

    trust = _command(commands, "trust", _trust, "let this machine trust the local authority")
    _takes_file(trust)
    trust.add_argument("--uninstall", action="store_true", help="trust it no longer")

    _command(commands, "version", _version, "print versions and key-exchange groups")
    return parser


def _command(commands, name, function, text):  # type: ignore[no-untyped-def]
    command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    command.set_defaults(command=function)
    return command


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


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _load(options: argparse.Namespace, *, local: bool) -> Loaded:
    file = options.file or next(filter(Path.exists, DEFAULT_FILES), DEFAULT_FILES[0])
    return load(file, local=local)


def _run(options: argparse.Namespace) -> int:
    # Commands that serve nothing need neither uvloop nor OpenSSL.
    from .supervisor import Supervisor

    loaded = _load(options, local=options.local)
    log = Log(options.log_level)
    for warning in loaded.warnings:
        log.warning("configuration", message=str(warning))
    config = loaded.config
    if options.workers:
        config = config.model_copy(update={"workers": options.workers})
    return Supervisor(config, options.local, log).run()


def _check(options: argparse.Namespace) -> int:
    loaded = _load(options, local=options.local)
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    return 0


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(schema(), indent=2))
    return 0


def _trust(options: argparse.Namespace) -> int:
    from .trust import trust

    store = _local_store(options)
    return trust(store / "local-ca" / "root.pem", uninstall=options.uninstall, say=print)


def _version(options: argparse.Namespace) -> int:
    from OpenSSL import SSL

    print(f"hopward {VERSION}")
    print(f"Python {platform.python_version()}")
    print(SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii"))
    print("key exchange: X25519MLKEM768, X25519, P-256, …")
    return 0


if __name__ == "__main__":
    sys.exit(main())
