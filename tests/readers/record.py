"""What a server has understood: one line of a file for each whole request."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple


class Seen(NamedTuple):
    """One whole request, as a server gives it to its application."""

    method: str
    target: str
    host: str
    body: bytes

    @classmethod
    def of(cls, method: bytes, target: bytes, host: bytes, body: bytes) -> Seen:
        """The same from bytes as they stand on the wire."""
        return cls(method.decode("latin-1"), target.decode("latin-1"), host.decode("latin-1"), body)


def note(file: str, seen: Seen) -> None:
    """Add a request to the file; before its answer, so that who has the answer finds it."""
    line = json.dumps([seen.method, seen.target, seen.host, seen.body.hex()]) + "\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


class Record:
    """The requests that were noted in a file since they were last asked for."""

    def __init__(self, file: Path) -> None:
        self.file, self._read = file, 0
        file.touch()

    def new(self) -> list[Seen]:
        with self.file.open("rb") as stream:
            stream.seek(self._read)
            lines = stream.read()
        self._read += len(lines)
        told_lines = map(json.loads, lines.splitlines())
        return [Seen(told[0], told[1], told[2], bytes.fromhex(told[3])) for told in told_lines]
