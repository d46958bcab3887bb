"""The newest configuration, put up where workers that began with an older one can read it.

Law: what is read was written as a whole. It is memory of our own processes and of nobody else's,
which is why it may be a pickle; the supervisor alone writes.
"""

import os
import pickle
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from .config import Config
from .memory_file import memory_file

_HEADER = struct.Struct("<QI")


class News(NamedTuple):
    """What holds from now on. `aliases`: see `config.local_names`."""

    config: Config
    aliases: Mapping[str, str]


class Bulletin:
    """One place for `News`; the next replaces it. `descriptor`: of one that exists already."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = memory_file("hopward-bulletin") if descriptor is None else descriptor

    def put_up(self, news: News) -> None:
        """Replace what stands there."""
        content = pickle.dumps(news)
        os.pwrite(self.descriptor, content, _HEADER.size)
        header = _HEADER.pack(len(content), zlib.crc32(content))
        os.pwrite(self.descriptor, header, 0)

    def read(self) -> News | None:
        """What stands there; None while it is being replaced, or where another version wrote it."""
        length, checksum = _HEADER.unpack(os.pread(self.descriptor, _HEADER.size, 0))
        content = os.pread(self.descriptor, length, _HEADER.size)
        if zlib.crc32(content) != checksum:
            return None
        try:
            news = pickle.loads(content)
        except Exception:  # noqa: BLE001 - a newer version's objects fail in ways of their own
            return None
        return news if isinstance(news, News) else None
