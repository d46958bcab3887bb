"""A client's decoder of content in a coding: what it makes of each piece, and when it has all."""

from __future__ import annotations

import sys
import zlib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Decoder:
    """Decodes as octets come; `complete` once the coding's own end has come."""

    def __init__(self, coding: bytes) -> None:
        # 64 KiB of memory must do for whoever decodes.
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 16}
        self._zstd = zstd.ZstdDecompressor(options=options) if coding == b"zstd" else None
        self._gzip = zlib.decompressobj(31)

    def decode(self, octets: bytes) -> bytes:
        """All that can be known of the content by now."""
        if self._zstd is None:
            return self._gzip.decompress(octets)
        return self._zstd.decompress(octets) if octets else b""

    @property
    def complete(self) -> bool:
        return self._gzip.eof if self._zstd is None else self._zstd.eof
