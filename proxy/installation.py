"""Several files that are put in place together, for whoever is to read them.

Law: until every byte is on the disk under a name of its own, nothing that is there is touched;
then there are only renames, and one that fails undoes those before it.

A power cut between two renames cannot be undone. The steps are therefore in an order in which each
leaves something usable: a key and its certificate go through `.new` names, as in
`acme_client.store`.
"""

from __future__ import annotations

import grp
import os
import pwd
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from acme_client.files import sync_folder

Owner = tuple[int, int]
"""User and group id; -1: as it comes."""
ANYBODY: Owner = (-1, -1)


@dataclass(frozen=True)
class File:
    """One file to be written."""

    path: Path
    content: bytes
    mode: int = 0o600
    owner: Owner = ANYBODY
    folder_mode: int = 0o700
    """Of folders that have to be made for it."""
    by_way_of: Path | None = None
    """A name that readers know too, which it takes first."""

    @property
    def present(self) -> bytes | None:
        """What is there now, None when nothing is; raises OSError when it cannot be read."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            # A link that leads nowhere is something that is there.
            return b"" if self.path.is_symlink() else None


def install(files: Sequence[File]) -> None:
    """Write all of them or, when one cannot be written, none; raises OSError."""
    with _undone_on_failure() as log:
        drafts = [(_draft(file, log), file) for file in files]
        on_their_way = [(draft, file.by_way_of) for draft, file in drafts if file.by_way_of]
        arriving = [(file.by_way_of or draft, file.path) for draft, file in drafts]
        for source, target in [*on_their_way, *arriving]:
            log.rename(source, target)
        for folder in {file.path.parent for file in files}:
            sync_folder(folder)


def recorded_owner(path: Path) -> tuple[str | None, str | None]:
    """User and group of a file by name, as another machine may know them."""
    found = path.stat()
    user = group = None
    with suppress(KeyError):
        user = pwd.getpwuid(found.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(found.st_gid).gr_name
    return user, group


def owner_here(user: str | None, group: str | None) -> Owner:
    """The ids of these names on this machine, as far as it knows them; raises nothing."""
    uid = gid = -1
    with suppress(KeyError):
        uid = pwd.getpwnam(user).pw_uid if user else -1
    with suppress(KeyError):
        gid = grp.getgrnam(group).gr_gid if group else -1
    return uid, gid


def owner_of(path: Path) -> Owner:
    """The ids of whom a file or folder belongs to."""
    found = path.stat()
    return found.st_uid, found.st_gid


def give(path: Path, owner: Owner) -> None:
    """Make `owner` own the file or folder, where this process may do that: as root only."""
    if os.geteuid() == 0 and owner != ANYBODY:
        os.chown(path, *owner, follow_symlinks=False)


@dataclass
class _Log:
    """What was done, so that it can be undone."""

    drafts: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    replaced: list[tuple[Path, Path | None]] = field(default_factory=list)

    def make_folder(self, folder: Path, mode: int, owner: Owner) -> None:
        """Make it and those above it."""
        for each in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
            each.mkdir(mode)
            self.folders.append(each)
            give(each, owner)

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`, of which a second name is kept."""
        kept: Path | None = target.with_name(_hidden(target.name, "before"))
        try:
            os.link(target, str(kept), follow_symlinks=False)
        except FileNotFoundError:
            kept = None
        self.replaced.append((target, kept))
        source.replace(target)

    def undo(self) -> None:
        """Leave everything as it was, as far as it can be."""
        for target, kept in reversed(self.replaced):
            with suppress(OSError):
                if kept is None:
                    target.unlink(missing_ok=True)
                else:
                    kept.replace(target)
                    # Renaming onto another name of the same file leaves both (POSIX rename).
                    kept.unlink(missing_ok=True)
        for draft in self.drafts:
            with suppress(OSError):
                draft.unlink()
        for folder in reversed(self.folders):
            with suppress(OSError):
                folder.rmdir()

    def tidy(self) -> None:
        """Drop the second names."""
        for _, kept in self.replaced:
            if kept is not None:
                with suppress(OSError):
                    kept.unlink()


@contextmanager
def _undone_on_failure() -> Iterator[_Log]:
    log = _Log()
    try:
        yield log
    except BaseException:
        log.undo()
        raise
    log.tidy()


def _draft(file: File, log: _Log) -> Path:
    """The file's bytes on the disk, under a name that nobody looks for."""
    log.make_folder(file.path.parent, file.folder_mode, file.owner)
    draft = file.path.with_name(_hidden(file.path.name, "part"))
    log.drafts.append(draft)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        error.filename = str(file.path)
        raise
    with open(descriptor, "wb") as writer:
        writer.write(file.content)
        writer.flush()
        give(draft, file.owner)
        os.fchmod(descriptor, file.mode)
        os.fsync(descriptor)
    return draft


def _hidden(name: str, ending: str) -> str:
    return f".{name}.{secrets.token_hex(4)}.{ending}"
