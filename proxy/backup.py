"""Backup and restore: one archive that holds all that disaster recovery needs.

Law: what goes in is a state the store really had, each key with its own certificate; what comes
out is checked to the last byte before anything on the machine is touched.

In the archive: the configuration, the files it names (certificates, keys, authorities), accounts,
certificates, what is remembered of each host, and the local authority. Not in it: locks, answers
to challenges, drafts, what was set aside, and the environment's variables.

Where a named file belongs is not in the archive: the restored configuration says it. So no archive
can have a file written anywhere but where its own configuration reads it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from acme_client.errors import StoreError
from acme_client.names import file_stem
from acme_client.pair import public_bytes, read_chain, read_pair
from acme_client.state import State
from acme_client.store import Store

from .archive import (
    CONFIGURATION,
    BackupError,
    Contents,
    Manifest,
    Member,
    describe,
    pack,
    unpack,
    write,
)
from .config.document import Document, Place
from .installation import (
    File,
    Owner,
    give,
    install,
    owner_here,
    owner_of,
    recorded_owner,
)
from .named_files import NamingError, named_files, read, store_folder
from .running import find

__all__ = ["BackupError", "Restored", "back_up", "restore"]

_ACCOUNTS = "store/acme.json"
_ROOT = "store/local-ca/root"
# Nobody but the owner may change what is put back, and nothing of it is a program.
_MODES = 0o644
_HOST_FILES = frozenset({".pem", ".key", ".json"})
_OTHERS = frozenset({"acme.json"})


@dataclass(frozen=True)
class Restored:
    """What `restore` wrote."""

    store: Path
    files: tuple[Path, ...]
    """Without those that were there already, byte for byte."""


# ---- backup


def back_up(config_file: Path, store: Path, archive: Path) -> tuple[str, ...]:
    """Write the archive, in one step, readable by its owner only.

    Other processes may work in the store meanwhile. Returns what was left out and why, one line
    each: what could not be used by anybody. Raises BackupError.
    """
    if archive.resolve() == config_file.resolve():
        raise BackupError(f"{archive} is the configuration; name another file for the archive")
    with _failures_named():
        configuration = config_file.read_bytes()
        named = named_files(read(configuration, config_file), config_file.parent)
        contents = {CONFIGURATION: configuration}
        members = {CONFIGURATION: _describe(config_file, configuration)}
        for number, (place, path) in enumerate(named.items(), 1):
            contents[f"files/{number}"] = content = path.read_bytes()
            members[f"files/{number}"] = _describe(path, content, place=place)
        kept, left_out = _contents_of(store)
        contents |= kept
        members |= {name: describe(content) for name, content in kept.items()}
        owner = recorded_owner(store) if store.exists() else (None, None)
        _check(contents, members)
    write(archive, pack(contents, members, owner=owner))
    return left_out


def _describe(path: Path, content: bytes, **more: object) -> Member:
    user, group = recorded_owner(path)
    mode = path.stat().st_mode & _MODES
    return describe(content, mode=mode, owner=user, group=group, **more)


def _contents_of(folder: Path) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The store's members, and what was left out."""
    store, contents, left_out = Store(folder), dict[str, bytes](), list[str]()
    for host in sorted(_hosts(folder)):
        stem = file_stem(host)
        pair = store.load(host)
        if pair is None and (folder / f"{stem}.pem").exists():
            left_out.append(f"{host}: its certificate and key in {folder} are no usable pair")
        if pair is not None:
            contents[f"store/{stem}.key"] = pair.key
            contents[f"store/{stem}.pem"] = pair.certificate
        state = store.state(host)
        if state != State():
            # An order under way belongs to a key that is not in the archive.
            contents[f"store/{stem}.json"] = replace(state, order=None).to_json()
    if accounts := store.accounts():
        contents[_ACCOUNTS] = (json.dumps(accounts, indent=2, sort_keys=True) + "\n").encode()
    elif (folder / "acme.json").exists():
        left_out.append(f"the accounts: none can be read in {folder / 'acme.json'}")
    root = _local_authority(folder / "local-ca")
    try:
        _check(root, {})
        contents |= root
    except BackupError as error:
        left_out.append(f"the local authority: {error}")
    return contents, tuple(left_out)


def _hosts(folder: Path) -> set[str]:
    """The hosts that have files here, all of them readable; raises OSError."""
    hosts = set()
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.suffix in _HOST_FILES:
                # What cannot be read must not be missing from a backup without a word.
                with suppress(FileNotFoundError):
                    path.open("rb").close()
                hosts.add(None if path.name in _OTHERS else _host(path.stem))
    return {host for host in hosts if host is not None}


def _host(stem: str) -> str | None:
    """The reverse of `file_stem`; None for a name that it does not give."""
    host = f"*{stem[1:]}" if stem.startswith("_.") else stem
    try:
        return host if file_stem(host) == stem else None
    except ValueError:
        return None


def _local_authority(folder: Path) -> dict[str, bytes]:
    with suppress(FileNotFoundError), _read_locked(folder):
        key, certificate = (folder / f"root{ending}" for ending in (".key", ".pem"))
        return {f"{_ROOT}.key": key.read_bytes(), f"{_ROOT}.pem": certificate.read_bytes()}
    return {}


@contextmanager
def _read_locked(folder: Path) -> Iterator[None]:
    """While `local_ca` changes nothing in its folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


# ---- restore


def restore(
    archive: Path, config_file: Path, store: Path | None = None, *, force: bool = False
) -> Restored:
    """Put back what `back_up` wrote: the configuration as `config_file`, and the store.

    The store is the folder that the restored configuration names, or `store` where it is given.
    Without `force` nothing that is there already is replaced by something else. Nobody may be
    serving from the store. Raises BackupError, and then has changed nothing.
    """
    manifest, contents = unpack(archive)
    with _failures_named():
        _check(contents, manifest.members)
        document = read(contents[CONFIGURATION], config_file)
        target = store or store_folder(document, config_file.parent)
        owner = _owner(target, manifest)
        files = [
            _configuration(contents, manifest, config_file),
            *_named_files(contents, manifest, document, config_file.parent),
            *_store_files(contents, target, owner),
        ]
        if not force:
            _refuse_to_replace(files)
        with _alone_in(target, owner):
            changes = [file for file in files if file.present != file.content]
            if not force:
                _refuse_to_replace(files)
            install(changes)
    return Restored(target, tuple(file.path for file in changes))


def _owner(folder: Path, manifest: Manifest) -> Owner:
    if folder.exists():
        return owner_of(folder)
    return owner_here(manifest.store_owner, manifest.store_group)


def _configuration(contents: Contents, manifest: Manifest, config_file: Path) -> File:
    # A link to where the file is kept is kept.
    path = config_file.resolve() if config_file.is_symlink() else config_file
    return _file(path, CONFIGURATION, contents, manifest)


def _file(path: Path, name: str, contents: Contents, manifest: Manifest) -> File:
    member = manifest.members[name]
    owner = owner_of(path) if path.exists() else owner_here(member.owner, member.group)
    return File(path, contents[name], member.mode & _MODES | 0o600, owner, folder_mode=0o755)


def _named_files(
    contents: Contents, manifest: Manifest, document: Document, folder: Path
) -> Iterator[File]:
    named = named_files(document, folder)
    for name, member in manifest.members.items():
        if member.place is None:
            continue
        if member.place not in named:
            where = ".".join(map(str, member.place))
            raise BackupError(f"{name!r} in the archive belongs to {where}, which names no file")
        yield _file(named[member.place], name, contents, manifest)


def _store_files(contents: Contents, folder: Path, owner: Owner) -> Iterator[File]:
    for name, content in contents.items():
        top, _, rest = name.partition("/")
        if top != "store":
            continue
        path = folder / rest
        passing = path.suffix in (".key", ".pem") and path.parent == folder
        by_way_of = path.with_name(f"{path.name}.new") if passing else None
        yield File(path, content, owner=owner, by_way_of=by_way_of)
        if name == _ACCOUNTS:
            yield File(folder / "acme.json.bak", content, owner=owner)


def _refuse_to_replace(files: list[File]) -> None:
    """Raise BackupError where something else is there already."""
    there = [file for file in files if file.present not in (None, file.content)]
    if not there:
        return
    more = f" and {len(there) - 3} more" if len(there) > 3 else ""
    names = ", ".join(_as_it_is(file) for file in there[:3])
    raise BackupError(f"would replace {names}{more}; with --force it does")


def _as_it_is(file: File) -> str:
    if file.path.suffix == ".pem" and file.present:
        with suppress(ValueError):
            present, archived = (read_chain(pem)[0] for pem in (file.present, file.content))
            if present.not_valid_before_utc > archived.not_valid_before_utc:
                return f"{file.path} (which is newer)"
    return str(file.path)


@contextmanager
def _alone_in(folder: Path, owner: Owner) -> Iterator[None]:
    """While nobody else writes into the store; a folder made for nothing is taken away again."""
    store, made = Store(folder), not folder.exists()
    # A proxy that issues no certificate takes no lock.
    if find(folder) is not None or not store.take_lock():
        raise BackupError(f"hopward is running on {folder}; stop it first")
    try:
        yield
        store.tell()
        for name in ("", "lock", "changed"):
            # Made by root, they would lock out whoever serves.
            give(folder / name, owner)
    except BaseException:
        if made:
            with suppress(OSError):
                (folder / "lock").unlink()
                folder.rmdir()
        raise
    finally:
        store.release_lock()


# ---- what both look at


def _check(contents: Contents, members: Mapping[str, Member]) -> None:
    """Raise BackupError unless everything could be used where it came from."""
    for name, content in contents.items():
        try:
            _check_one(name, content, contents)
        except (ValueError, TypeError, RecursionError, UnsupportedAlgorithm) as error:
            raise BackupError(f"{name} in the archive cannot be used: {error}") from error
    named = {each.place: contents[name] for name, each in members.items() if each.place}
    for place, content in named.items():
        try:
            _check_named(place, content, named)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            where = ".".join(map(str, place))
            raise BackupError(f"the file that {where} names cannot be used: {error}") from error


def _check_one(name: str, content: bytes, contents: Contents) -> None:
    stem, _, ending = name.rpartition(".")
    host = _host(stem.removeprefix("store/"))
    if name == _ACCOUNTS:
        if not isinstance(json.loads(content), dict):
            raise ValueError("no accounts")
    elif not name.startswith("store/"):
        return
    elif ending == "json":
        State.from_json(content)
    elif ending == "pem":
        key = contents.get(f"{stem}.key", b"")
        if stem == _ROOT:
            _check_pair(content, key)
        else:
            read_pair(content, key, host or "")
    elif f"{stem}.pem" not in contents:
        raise ValueError("its certificate is missing")


def _check_named(place: Place, content: bytes, named: Mapping[Place, bytes]) -> None:
    if place[-1] == "key":
        _check_pair(named.get((*place[:-1], "cert"), b""), content)
    else:
        read_chain(content)


def _check_pair(certificate: bytes, key: bytes) -> None:
    leaf = read_chain(certificate)[0]
    own = load_pem_private_key(key, password=None).public_key()
    if public_bytes(own) != public_bytes(leaf.public_key()):
        raise ValueError("it belongs to another certificate")


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except (StoreError, NamingError) as error:
        raise BackupError(str(error)) from error
    except OSError as error:
        raise BackupError(f"{error.filename or 'a file'}: {error.strerror or error}") from error
