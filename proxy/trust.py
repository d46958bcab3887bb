"""`hopward trust`: the local authority's root in and out of the stores that programs believe.

Law: what to do is planned from what was found on the machine, as a list of commands, before
the first of them runs; `--uninstall` takes out exactly what installing puts in.

There is no one store. The system's (a folder of anchors and a program that rebuilds the bundle;
a keychain on macOS) is read by curl, Python and other programs; Chromium and Firefox on Linux
read NSS databases in the user's home instead. The table of places follows mkcert's, which
learned them from its users. A user's own databases must not become root's, so this runs as the
user and asks sudo for the system's part only.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from .errors import OperatorError

Command = tuple[str, ...]
Say = Callable[[str], None]


class Anchors(NamedTuple):
    """A Linux family's place for a machine's own authorities."""

    folder: str
    suffix: str
    refresh: Command
    """Run after a file came."""
    forget: Command
    """Run after a file went."""
    tell_hooks: bool = False


_FEDORA = ("update-ca-trust", "extract")
_DEBIAN = ("update-ca-certificates",)
_ARCH = ("trust", "extract-compat")
# In mkcert's order: Fedora's folder is looked for first, as some Debian machines have both.
# Debian's program leaves the links of a file that went, but for --fresh, and never tells its
# hooks of it, so Java's keystore would believe the root for ever.
ANCHORS = (
    Anchors("/etc/pki/ca-trust/source/anchors", ".pem", _FEDORA, _FEDORA),
    Anchors(
        "/usr/local/share/ca-certificates", ".crt", _DEBIAN, (*_DEBIAN, "--fresh"), tell_hooks=True
    ),
    Anchors("/etc/ca-certificates/trust-source/anchors", ".crt", _ARCH, _ARCH),
    Anchors("/usr/share/pki/trust/anchors", ".pem", _DEBIAN, _DEBIAN),  # SUSE
)
TELL_HOOKS = """\
for hook in /etc/ca-certificates/update.d/*; do
    [ ! -x "$hook" ] || echo "-/etc/ssl/certs/$1.pem" | "$hook" || exit
done"""
KEYCHAIN = "/Library/Keychains/System.keychain"
CHROMIUM_DATABASE = ".pki/nssdb"
# Where newer Chromiums keep theirs, unless the one above exists.
XDG_DATABASE = ".local/share/pki/nssdb"
# Relative to the home; only those with a cert9.db are databases.
DATABASES = (
    CHROMIUM_DATABASE,
    XDG_DATABASE,
    "snap/chromium/current/.pki/nssdb",
    ".var/app/*/.pki/nssdb",
    ".var/app/*/data/pki/nssdb",
    ".mozilla/firefox/*",
    ".config/mozilla/firefox/*",
    "snap/firefox/common/.mozilla/firefox/*",
    ".var/app/org.mozilla.firefox/.mozilla/firefox/*",
    "Library/Application Support/Firefox/Profiles/*",
)
# What installs certutil, and the system's own store where even that is missing.
PACKAGES = {
    "apt-get": ("apt-get install libnss3-tools", "apt-get install ca-certificates"),
    "dnf": ("dnf install nss-tools", "dnf install ca-certificates"),
    "yum": ("yum install nss-tools", "yum install ca-certificates"),
    "pacman": ("pacman -S nss", "pacman -S ca-certificates-utils"),
    "zypper": ("zypper install mozilla-nss-tools", "zypper install ca-certificates"),
    "brew": ("brew install nss", ""),
}
PROGRAMS = ("sudo", "certutil", "security", *(a.refresh[0] for a in ANCHORS), *PACKAGES)
# Debian's users have no sbin in their PATH, and Homebrew keeps certutil out of it.
MORE_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/opt/homebrew/opt/nss/bin",
                "/usr/local/opt/nss/bin")  # fmt: skip


# By whether it is to be taken out.
_MISSING = (
    "; `hopward run --local` makes it",
    ", so which one to take out is not known; it has the name hopward-local-authority-… among the "
    "system's anchors, and `hopward local authority …` in browsers",
)


@dataclass(frozen=True)
class Authority:
    """The root to be trusted, under the names the stores know it by."""

    file: Path
    nickname: str
    """In NSS databases; unique to the certificate, as NSS wants it."""
    stem: str
    """The file's name among the system's anchors, without suffix."""
    sha1: str
    """What macOS tells certificates apart by."""


@dataclass(frozen=True)
class Machine:
    """What was found: all that `plan` decides on."""

    system: str
    """`Linux` or `Darwin`."""
    home: Path
    superuser: bool
    borrowed: bool
    """Root for one command, by sudo: the home may be another user's."""
    programs: Mapping[str, str]
    """Name to full path, of those that are there."""
    anchors: Anchors | None
    installed: bool
    """Whether the system's store holds the root."""
    databases: Mapping[Path, bool]
    """NSS databases, and whether each holds the root."""


@dataclass(frozen=True)
class Errand:
    """One store, what has to run for it, and the line that is said when all went well."""

    store: str
    outcome: str
    commands: tuple[Command, ...] = ()
    hopeless: bool = False
    """Known to fail before anything runs; the outcome says why."""


def trust(root: Path, *, uninstall: bool, say: Say, complain: Say) -> int:
    """Makes this machine believe the authority whose certificate is the file `root`, or undoes it.

    Says one line per store, or complains. Returns the exit code: 0, or 1 when a store could not be
    changed. Raises OperatorError where there is no authority.
    """
    try:
        authority = read(root)
    except OSError as error:
        hint = _MISSING[uninstall] if isinstance(error, FileNotFoundError) else ""
        raise OperatorError(f"{root}: {error.strerror}{hint}") from error
    except ValueError:
        raise OperatorError(f"{root}: is not a certificate") from None
    errands = plan(authority, survey(authority, os.environ), uninstall=uninstall)
    return max([carry_out(errand, say, complain) for errand in errands])


def read(root: Path) -> Authority:
    """The authority in the PEM file `root`. Raises OSError or ValueError."""
    certificate = x509.load_pem_x509_certificate(root.read_bytes())
    short = certificate.fingerprint(hashes.SHA256()).hex()[:16]
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    common_name = str(names[0].value) if names else "hopward local authority"
    return Authority(
        file=root.absolute(),
        nickname=f"{common_name} {short}",
        stem=f"hopward-local-authority-{short}",
        sha1=certificate.fingerprint(hashes.SHA1()).hex().upper(),
    )


# ---- what is there


def survey(authority: Authority, environ: Mapping[str, str]) -> Machine:
    """Looks at the machine and changes nothing."""
    path = os.pathsep.join([environ.get("PATH", os.defpath), *MORE_FOLDERS])
    found = {name: shutil.which(name, path=path) for name in PROGRAMS}
    programs = {name: where for name, where in found.items() if where}
    home = Path(environ.get("HOME") or Path.home())
    superuser = os.geteuid() == 0
    anchors = _anchors(programs)
    return Machine(
        system=platform.system(),
        home=home,
        superuser=superuser,
        borrowed=superuser and "SUDO_USER" in environ,
        programs=programs,
        anchors=anchors,
        installed=_is_installed(authority, anchors, programs),
        databases={d: _holds(d, authority, programs) for d in _databases(home)},
    )


def _anchors(programs: Mapping[str, str]) -> Anchors | None:
    for anchors in ANCHORS:
        if anchors.refresh[0] in programs and Path(anchors.folder).is_dir():
            return anchors
    return None


def _is_installed(
    authority: Authority, anchors: Anchors | None, programs: Mapping[str, str]
) -> bool:
    if anchors:
        return _anchor_file(authority, anchors).exists()
    if "security" not in programs:
        return False
    listing = _run((programs["security"], "find-certificate", "-a", "-Z", KEYCHAIN))
    return authority.sha1 in listing.stdout


def _databases(home: Path) -> list[Path]:
    found = (folder for pattern in DATABASES for folder in sorted(home.glob(pattern)))
    return [folder for folder in found if (folder / "cert9.db").exists()]


def _holds(database: Path, authority: Authority, programs: Mapping[str, str]) -> bool:
    if "certutil" not in programs:
        return False
    look = (programs["certutil"], "-L", "-d", f"sql:{database}", "-n", authority.nickname)
    return _run(look).returncode == 0


# ---- what to do


def plan(authority: Authority, machine: Machine, *, uninstall: bool) -> list[Errand]:
    """Every store's errand, in the order they are run. Pure."""
    system = _keychain if machine.system == "Darwin" else _system_store
    return [system(authority, machine, uninstall), *_browsers(authority, machine, uninstall)]


def _system_store(authority: Authority, machine: Machine, uninstall: bool) -> Errand:
    store, anchors = "system trust store", machine.anchors
    if anchors is None and uninstall:
        return Errand(store, "there is none, so nothing was to be taken out")
    if anchors is None:
        install = _package(machine, 1)
        return Errand(store, f"none was found; {install} and run this again", hopeless=True)
    file = str(_anchor_file(authority, anchors))
    if not uninstall:
        copy = ("install", "-m", "0644", str(authority.file), file)
        commands: tuple[Command, ...] = (copy, _located(anchors.refresh, machine))
        return _as_root(Errand(store, f"trusts {file}", commands), machine)
    if not machine.installed:
        return Errand(store, "does not hold it, nothing to take out")
    commands = (("rm", "-f", file), _located(anchors.forget, machine))
    if anchors.tell_hooks:
        commands = (*commands, ("sh", "-c", TELL_HOOKS, "sh", authority.stem))
    return _as_root(Errand(store, f"no longer trusts {file}", commands), machine)


def _located(command: Command, machine: Machine) -> Command:
    return (machine.programs[command[0]], *command[1:])


def _anchor_file(authority: Authority, anchors: Anchors) -> Path:
    return Path(anchors.folder, authority.stem + anchors.suffix)


def _keychain(authority: Authority, machine: Machine, uninstall: bool) -> Errand:
    security = machine.programs.get("security", "/usr/bin/security")
    certificate = str(authority.file)
    if not uninstall:
        add = (security, "add-trusted-cert", "-d", "-r", "trustRoot", "-k", KEYCHAIN, certificate)
        return _as_root(Errand("system keychain", "trusts it", (add,)), machine)
    if not machine.installed:
        return Errand("system keychain", "does not hold it, nothing to take out")
    distrust = (security, "remove-trusted-cert", "-d", certificate)
    delete = (security, "delete-certificate", "-Z", authority.sha1, KEYCHAIN)
    return _as_root(Errand("system keychain", "no longer trusts it", (distrust, delete)), machine)


def _as_root(errand: Errand, machine: Machine) -> Errand:
    if machine.superuser:
        return errand
    if "sudo" in machine.programs:
        raised = tuple((machine.programs["sudo"], "--", *c) for c in errand.commands)
        return Errand(errand.store, errand.outcome, raised)
    todo = " && ".join(map(shlex.join, errand.commands))
    return Errand(errand.store, f"needs root and there is no sudo; as root: {todo}", hopeless=True)


def _browsers(authority: Authority, machine: Machine, uninstall: bool) -> list[Errand]:
    databases = dict(machine.databases)
    if not uninstall and _chromium_has_none(machine):
        databases[machine.home / CHROMIUM_DATABASE] = False
    if not databases:
        return []
    if machine.borrowed:
        return [Errand("browsers", "left alone under sudo; run this without it to reach yours")]
    if "certutil" not in machine.programs:
        install = _package(machine, 0)
        return [Errand("browsers", f"left alone as certutil is missing; {install}, and again this")]
    change = _take_out if uninstall else _put_in
    return [change(authority, machine, database) for database in databases]


def _chromium_has_none(machine: Machine) -> bool:
    # Made beside the newer one, the older one would hide it and the user's own certificates.
    usual = {machine.home / CHROMIUM_DATABASE, machine.home / XDG_DATABASE}
    return machine.system != "Darwin" and usual.isdisjoint(machine.databases)


def _put_in(authority: Authority, machine: Machine, database: Path) -> Errand:
    if machine.databases.get(database):
        return Errand(_shown(database, machine), "trusts it already")
    certutil, where = machine.programs["certutil"], f"sql:{database}"
    make: tuple[Command, ...] = ()
    if database not in machine.databases:
        make = (
            ("mkdir", "-p", "-m", "0700", str(database)),
            (certutil, "-N", "-d", where, "--empty-password"),
        )
    # "C": believed as an authority for servers, and for nothing else (mail, code).
    add = (certutil, "-A", "-d", where, "-t", "C,,", "-n", authority.nickname)
    commands = (*make, (*add, "-i", str(authority.file)))
    return Errand(_shown(database, machine), "trusts it", commands)


def _take_out(authority: Authority, machine: Machine, database: Path) -> Errand:
    if not machine.databases[database]:
        return Errand(_shown(database, machine), "does not hold it, nothing to take out")
    certutil = machine.programs["certutil"]
    delete = (certutil, "-D", "-d", f"sql:{database}", "-n", authority.nickname)
    return Errand(_shown(database, machine), "no longer trusts it", (delete,))


def _shown(database: Path, machine: Machine) -> str:
    name = database.relative_to(machine.home)
    return f"browsers (~/{name})"


def _package(machine: Machine, which: int) -> str:
    for manager, installs in PACKAGES.items():
        if manager in machine.programs and installs[which]:
            return f"install it with `{installs[which]}`"
    return "install " + ("NSS's certutil", "ca-certificates")[which]


# ---- doing it


def carry_out(errand: Errand, say: Say, complain: Say) -> int:
    """Runs the errand's commands up to the first that fails; one line is said, and 0 returned, or
    complained of, and 1 returned."""
    for command in errand.commands:
        done = _run(command)
        if done.returncode:
            complain(f"{errand.store}: `{shlex.join(command)}` failed: {_reason(done)}")
            return 1
    (complain if errand.hopeless else say)(f"{errand.store}: {errand.outcome}")
    return int(errand.hopeless)


def _run(command: Command) -> subprocess.CompletedProcess[str]:
    # sudo and certutil ask for passwords on the terminal itself, not on these pipes.
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", error.strerror or str(error))


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
