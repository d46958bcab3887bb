"""Renewals asked for by another process while one holds the store's lock.

Law: whoever holds the lock does the work; everybody else leaves a wish and reads the answer.

    renew/<host>          a wish: the file's content names the host
    renew/<host>.answer   {"error": null or the authority's words}
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from . import files
from .names import file_stem

_ANSWER = ".answer"


class Wishes:
    """The `renew` folder of a store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ask(self, host: str) -> None:
        """Leave a wish. Raises StoreError."""
        with files.failures_named():
            files.make_folder(self._folder)
            self._answer(host).unlink(missing_ok=True)
            files.replace(self._wish(host), host.encode(), durable=False)

    def asked(self) -> list[str]:
        """The hosts that somebody wants renewed now."""
        with suppress(OSError):
            found = [each for each in self._folder.iterdir() if not _is_other(each.name)]
            return sorted(content.decode() for each in found if (content := files.read(each)))
        return []

    def answer(self, host: str, error: str | None) -> None:
        """Tell how it went and strike the wish off."""
        with suppress(OSError):
            content = json.dumps({"error": error}).encode()
            files.replace(self._answer(host), content, durable=False)
            self._wish(host).unlink(missing_ok=True)

    def answered(self, host: str) -> tuple[bool, str | None]:
        """Whether there is an answer, and the error it tells of; taken away when read."""
        content = files.read(self._answer(host))
        if content is None:
            return False, None
        self.forget(host)
        with suppress(ValueError, AttributeError):
            return True, json.loads(content).get("error")
        return True, "the answer could not be read"

    def forget(self, host: str) -> None:
        """Take wish and answer away."""
        for path in (self._wish(host), self._answer(host)):
            with suppress(OSError):
                path.unlink()

    def _wish(self, host: str) -> Path:
        return self._folder / file_stem(host)

    def _answer(self, host: str) -> Path:
        return self._folder / f"{file_stem(host)}{_ANSWER}"


def _is_other(name: str) -> bool:
    return name.startswith(".") or name.endswith(_ANSWER)
