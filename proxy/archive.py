"""The file format of a backup: a .tar.gz that can be read by hand, and checked before it is used.

Law: `unpack` gives all of a sound archive or raises `BackupError`; it writes nothing, follows
nothing, and holds no more than `LARGEST` bytes, whatever the file says of itself.

    manifest.json       what this is, and of each other member its size, SHA-256 and origin
    hopward.yml         the configuration
    files/<number>      files that the configuration names: certificates, keys, authorities
    store/…             what the store holds, under the same names
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from acme_client import files
from acme_client.errors import StoreError
from acme_client.times import to_text, utc_now

from . import VERSION
from .errors import OperatorError

MANIFEST, CONFIGURATION = "manifest.json", "hopward.yml"
# Ten thousand hosts with RSA chains are a quarter of this.
LARGEST = 256 << 20
FORMAT_VERSION = 1
# Nothing here can lead out of a folder: no name begins with a dot, none has a slash of its own.
_NAMES = re.compile(
    r"manifest\.json|hopward\.yml|files/[0-9]{1,6}|store/acme\.json"
    r"|store/local-ca/root\.(?:pem|key)|store/[0-9a-z_:-][0-9a-z_.:-]{0,252}\.(?:pem|key|json)"
)


class BackupError(OperatorError):
    """A backup cannot be made, or not be put back: one line that says why and what to do."""


class Member(BaseModel):
    """What the manifest says of a member."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    size: int
    sha256: str
    mode: int = 0o600
    """The permissions the file had; of the store's files 0600 whatever they had."""
    owner: str | None = None
    group: str | None = None
    place: tuple[str | int, ...] | None = None
    """Where the configuration names this file; the path itself is nowhere in the archive."""


class Manifest(BaseModel):
    """The first member."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["hopward backup"] = "hopward backup"
    version: int = FORMAT_VERSION
    made: str
    made_by: str
    store_owner: str | None = None
    store_group: str | None = None
    members: dict[str, Member]


Contents = Mapping[str, bytes]
"""Member name -> bytes, without the manifest."""


def describe(content: bytes, **more: object) -> Member:
    """The manifest's entry for these bytes; `more` are its further fields."""
    digest = hashlib.sha256(content).hexdigest()
    return Member.model_validate({"size": len(content), "sha256": digest, **more})


def pack(
    contents: Contents, members: Mapping[str, Member], *, owner: tuple[str | None, str | None]
) -> bytes:
    """The archive's bytes; `owner` is user and group of the store."""
    manifest = Manifest(
        made=to_text(utc_now().replace(microsecond=0)),
        made_by=f"hopward {VERSION}",
        store_owner=owner[0],
        store_group=owner[1],
        members=dict(members),
    )
    raw = manifest.model_dump_json(indent=2, exclude_none=True).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {MANIFEST: raw, **contents}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(utc_now().timestamp())
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def write(archive: Path, content: bytes) -> None:
    """Put the archive in its place, 0600 from its first byte on; raises BackupError."""
    try:
        with files.failures_named():
            files.replace(archive, content)
    except StoreError as error:
        # Of the archive's own name, not of that which it has while it is written.
        why = error.__cause__
        words = why.strerror if isinstance(why, OSError) else str(error)
        raise BackupError(f"{archive} cannot be written: {words}") from error


def unpack(archive: Path) -> tuple[Manifest, Contents]:
    """Everything in an archive, proved to be what was put into it; raises BackupError."""
    try:
        contents = _read(archive)
        manifest = Manifest.model_validate_json(contents.pop(MANIFEST, b""))
        _compare(manifest, contents)
    except OSError as error:
        if error.strerror:
            raise BackupError(f"{archive}: {error.strerror}") from error
        raise BackupError(f"{archive} is no whole .tar.gz: {error}") from error
    except ValidationError as error:
        raise BackupError(f"{archive} is no backup of hopward: its manifest is not one") from error
    except (ValueError, EOFError, zlib.error, tarfile.TarError) as error:
        raise BackupError(f"{archive} is no backup that can be used: {error}") from error
    return manifest, contents


def _read(archive: Path) -> dict[str, bytes]:
    with gzip.open(archive) as packed:
        # Bounded here, so that nothing a member says of its own size can cost more.
        plain = packed.read(LARGEST + 1)
    if len(plain) > LARGEST:
        raise ValueError(f"it holds more than {LARGEST >> 20} MiB")
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
        for entry in tar:
            if not _NAMES.fullmatch(entry.name) or not entry.isreg() or entry.issparse():
                raise ValueError(f"{entry.name!r} in it is none of its files")
            if entry.name in contents:
                raise ValueError(f"{entry.name!r} is in it twice")
            contents[entry.name] = _bytes_of(tar, entry)
    return contents


def _bytes_of(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    reader = tar.extractfile(entry)
    content = b"" if reader is None else reader.read()
    if len(content) != entry.size:
        raise ValueError(f"{entry.name!r} in it is cut short")
    return content


def _compare(manifest: Manifest, contents: Contents) -> None:
    if manifest.version != FORMAT_VERSION:
        raise ValueError(
            f"its format is number {manifest.version}, made by {manifest.made_by!r}, and this "
            f"hopward ({VERSION}) knows {FORMAT_VERSION}"
        )
    if missing := sorted(manifest.members.keys() ^ contents.keys()):
        raise ValueError(f"its manifest and its files differ: {', '.join(missing[:3])}")
    for name, content in contents.items():
        member = manifest.members[name]
        if (len(content), hashlib.sha256(content).hexdigest()) != (member.size, member.sha256):
            raise ValueError(f"{name!r} in it was changed or damaged")
    if CONFIGURATION not in contents:
        raise ValueError("it holds no configuration")
