"""Every call of the command line: what it does, what it takes, and examples of it.

Law: a call is described here and nowhere else. The parser, the help, the completion of shells and
the manual page are made from this table, so none of them knows another truth.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .log import LEVELS

DEFAULT_FILES = (Path("hopward.yml"), Path("/etc/hopward/hopward.yml"))
PURPOSE = "A TLS-terminating reverse proxy with automatic certificates: one small YAML file."
GROUPS = ("Serve", "Configuration", "Certificates", "Save and move", "The rest")
EXAMPLES = (
    ("hopward run --local -c hopward.yml", "try it on this machine, without root or a CA"),
    ("hopward check && hopward reload", "a changed configuration into the running proxy"),
    ("hopward certs", "is every certificate well, and when is it renewed?"),
    ("hopward rehearse", "would renewal work today?"),
    ("hopward backup /root/hopward.tar.gz", "all that disaster recovery needs, in one file"),
)
FILES = (
    (str(DEFAULT_FILES[0]), "the configuration, where no -c FILE is given"),
    (str(DEFAULT_FILES[1]), "the same, where there is none in this folder"),
    ("/var/lib/hopward", "certificates and accounts, unless `store` names another folder"),
)
EXITS = (
    ("0", "it is done"),
    ("1", "it could not be done; one line on stderr says why"),
    ("2", "the call or the configuration is wrong: FILE:LINE:COLUMN and what would be right"),
)
SIGNALS = (
    ("SIGTERM, SIGINT", "take no more clients, finish what is under way, end; again: end at once"),
    ("SIGHUP", "read the configuration again, as `hopward reload`"),
    ("SIGUSR1", "open log files again, for those who move them away"),
    ("SIGUSR2", "become the program that is installed now, without losing a connection"),
)

Completes = Literal["nothing", "file", "folder", "host"]


def _url(text: str) -> str:
    if not text.startswith("https://") or any(map(str.isspace, text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no URL; write https://HOST/PATH")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; write 1 to 1024")
    return int(text)


@dataclass(frozen=True)
class Argument:
    """An option (its name begins with a dash) or an operand."""

    name: str
    text: str
    value: str = ""
    """What stands for the value of an option in the help; empty: it is a switch."""
    stored: str = ""
    """The attribute in which the value is found; by default made of the name."""
    choices: tuple[str, ...] = ()
    default: str | None = None
    completes: Completes = "nothing"
    many: bool = False
    """An operand that may stand any number of times, or not at all."""
    reads: Callable[[str], object] = str

    @property
    def is_option(self) -> bool:
        """Whether it is named in a call, rather than known by its place."""
        return self.name.startswith("-")


@dataclass(frozen=True)
class Call:
    """One command."""

    name: str
    group: str
    """One of GROUPS; empty: for the completion of shells only, shown nowhere."""
    summary: str
    text: str = ""
    takes: tuple[Argument, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    exits: tuple[tuple[str, str], ...] = ()
    """Where they say more than EXITS."""


_FILE = Argument(
    "-c",
    f"the configuration (else {DEFAULT_FILES[0]}, then {DEFAULT_FILES[1]})",
    value="FILE",
    stored="file",
    completes="file",
    reads=Path,
)
_LOCAL = Argument(
    "--local",
    "for development: loopback only, certificates of a local authority, *.localhost names",
)
_HOSTS = Argument(
    "HOST", "a site with `tls: acme` (else every one)", stored="hosts", completes="host", many=True
)

CALLS = (
    Call(
        "run",
        "Serve",
        "serve until SIGTERM or Ctrl-C",
        "Listens, says `ready` on stderr, and serves until it is told to end; then it takes no "
        "more clients and finishes what is under way, for `timeouts.drain` at most.",
        (
            _FILE,
            _LOCAL,
            Argument("--workers", "processes that serve (else `workers`)", "N", reads=_count),
            Argument(
                "--log-level",
                f"how much is told on stderr: {', '.join(LEVELS)} (else info)",
                "LEVEL",
                choices=LEVELS,
                default="info",
            ),
        ),
        (
            ("hopward run -c hopward.yml", "as a service would"),
            ("hopward run --local", "the same file on https://NAME.localhost:8443, without root"),
            ("hopward run --workers 1 --log-level debug", "to look for a fault"),
        ),
        (
            ("0", "it was told to end, and has finished"),
            ("1", "it cannot start: a port is taken, for instance"),
            ("2", "the configuration is wrong"),
        ),
    ),
    Call(
        "reload",
        "Serve",
        "have the running proxy read its file again",
        "Checks the file first; only where it is good is the running proxy told. No request fails "
        "and no WebSocket ends by it. Returns once the proxy serves by the file, or has refused it "
        "and serves on as before.",
        (_FILE,),
        (
            ("hopward reload", "after a change in /etc/hopward/hopward.yml"),
            ("hopward reload -c ./hopward.yml", "the proxy that was started with that file"),
        ),
        (
            ("0", "the proxy serves by the file as it is now"),
            ("1", "no proxy runs, none may be signalled, or none answers within a minute"),
            ("2", "the file is wrong; the proxy serves on as before"),
        ),
    ),
    Call(
        "check",
        "Configuration",
        "validate the configuration, start nothing",
        "Reads the file as `run` does, and the files it names, and tells every problem, not only "
        "the first. A good file is answered with silence.",
        (_FILE, _LOCAL),
        (("hopward check -c hopward.yml", "FILE:LINE:COLUMN: what is wrong, what would be right"),),
        (("0", "it is good"), ("2", "it is wrong, a line for each problem")),
    ),
    Call(
        "schema",
        "Configuration",
        "print the JSON Schema of the configuration, for editors",
        examples=(
            (
                "hopward schema > hopward.schema.json",
                "then, first in hopward.yml: # yaml-language-server: $schema=hopward.schema.json",
            ),
        ),
    ),
    Call(
        "hash",
        "Configuration",
        "make the hash of a password, for basic_auth",
        "Asks for the password twice and does not show it; where the input is no terminal, one "
        "line of it is the password. Prints a hash by scrypt, which takes half a second to make "
        "and as long to try.",
        examples=(
            ("hopward hash", 'then, at the site: basic_auth: {anna: "the line it prints"}'),
            ("pwgen 20 1 | tee /dev/stderr | hopward hash", "a password made by a program"),
        ),
    ),
    Call(
        "certs",
        "Certificates",
        "show every certificate, its days left and its next renewal",
        takes=(_FILE, Argument("--json", "for programs: a list of objects, times ISO 8601 UTC")),
        examples=(
            ("hopward certs", "a line for each host"),
            ("hopward certs --json | jq '.[] | select(.last_error)'", "those in trouble"),
        ),
    ),
    Call(
        "renew",
        "Certificates",
        "renew certificates now, due or not",
        "Works beside the running proxy, which answers the authority's questions, or without one. "
        "It counts towards the authority's limits; `hopward rehearse` does not.",
        (_FILE, _HOSTS),
        (
            ("hopward renew", "every certificate"),
            ("hopward renew www.example.com api.example.com", "these two"),
        ),
        (("0", "each is renewed"), ("1", "one is not; the authority's own words say why")),
    ),
    Call(
        "rehearse",
        "Certificates",
        "issue and renew at a staging directory, for practice",
        "A full issuance and a renewal, by the same ports and challenges as the real ones. No live "
        "certificate is touched.",
        (
            _FILE,
            Argument("--directory", "(else Let's Encrypt's staging one)", "URL", reads=_url),
            _HOSTS,
        ),
        (
            ("hopward rehearse", "every host"),
            ("hopward rehearse --directory https://ca.internal/acme/directory", "elsewhere"),
        ),
        (("0", "it works"), ("1", "it does not; the authority's own words say why")),
    ),
    Call(
        "trust",
        "Certificates",
        "let this machine trust the local authority",
        "Puts the authority of `tls: internal` and `--local` into the trust stores of the system "
        "and of its browsers. Run it as yourself: it asks sudo for the system's part.",
        (_FILE, Argument("--uninstall", "trust it no longer")),
        (("hopward trust", "after the first `hopward run --local`, which makes it"),),
    ),
    Call(
        "backup",
        "Save and move",
        "put all that disaster recovery needs into one archive",
        "The configuration, the files it names, accounts, certificates, keys. The archive is for "
        "its owner only (0600). The proxy may run meanwhile.",
        (
            _FILE,
            Argument("OUT.tar.gz", "the archive", stored="archive", completes="file", reads=Path),
        ),
        (("hopward backup /root/hopward.tar.gz", "in place of the one before, in one step"),),
    ),
    Call(
        "restore",
        "Save and move",
        "put back what a backup holds",
        "Writes the configuration as FILE, and the store, and says what it wrote. What is there "
        "already is not replaced. Stop the proxy before.",
        (
            _FILE,
            Argument("--force", "replace what is there"),
            Argument("IN.tar.gz", "the archive", stored="archive", completes="file", reads=Path),
        ),
        (
            (
                "hopward restore -c /etc/hopward/hopward.yml hopward.tar.gz",
                "on a new machine; then start it",
            ),
        ),
    ),
    Call(
        "import",
        "Save and move",
        "take over certificates and account of another program",
        "So that moving costs no issuance. Its folder is only read. Stop the proxy before.",
        (
            _FILE,
            Argument(
                "PROGRAM",
                "certbot, caddy or pingoo",
                stored="kind",
                choices=("certbot", "caddy", "pingoo"),
            ),
            Argument("PATH", "its folder", stored="source", completes="folder", reads=Path),
        ),
        (
            ("hopward import certbot /etc/letsencrypt", "beside nginx, mostly"),
            ("hopward import caddy /var/lib/caddy/.local/share/caddy", "as its package has it"),
        ),
    ),
    Call(
        "completion",
        "The rest",
        "print the completion of commands for a shell",
        takes=(
            Argument(
                "SHELL",
                "bash, zsh or fish",
                stored="shell",
                choices=("bash", "zsh", "fish"),
            ),
        ),
        examples=(
            ('eval "$(hopward completion bash)"', "in ~/.bashrc"),
            ('eval "$(hopward completion zsh)"', "in ~/.zshrc, after compinit"),
            ("hopward completion fish > ~/.config/fish/completions/hopward.fish", "once"),
        ),
    ),
    Call("version", "The rest", "print versions and key-exchange groups"),
    Call("_hosts", "", "print the hosts that HOST can be", takes=(_FILE,)),
)
