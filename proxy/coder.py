"""Content in a coding, as it streams: zstd and gzip.

Law: what has come can be decoded. Whatever was taken in is flushed out with the same call, and only
a content that is complete gets the end that its coding has.

Levels and windows are chosen by measurement (docs/architecture.md, "Compression"): the first level
of each gives the most for its time, and a small window keeps small what a response holds as long as
it lasts.
"""

import sys
import zlib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ZSTD: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 1,
    # 64 KiB; RFC 9659 allows 8 MiB.
    zstd.CompressionParameter.window_log: 16,
}
_GZIP_LEVEL = 1
# zlib's windowBits: 32 KiB, within gzip's header and trailer.
_GZIP_FORMAT = 31


class Zstd:
    """One response's content in zstd (RFC 8878); `length`: its octets, where that is known."""

    __slots__ = ("_compressor",)

    def __init__(self, length: int | None) -> None:
        self._compressor = zstd.ZstdCompressor(options=_ZSTD)
        if length is not None:
            # What is short needs little memory.
            self._compressor.set_pledged_input_size(length)

    def code(self, data: bytes, *, last: bool) -> bytes:
        """The octets by which all of `data` can be decoded; `last`: the content is complete."""
        if not data and not last:
            return b""
        compressor = self._compressor
        return compressor.compress(data, compressor.FLUSH_FRAME if last else compressor.FLUSH_BLOCK)


class Gzip:
    """One response's content in gzip (RFC 1952)."""

    __slots__ = ("_compressor",)

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)

    def code(self, data: bytes, *, last: bool) -> bytes:
        """The octets by which all of `data` can be decoded; `last`: the content is complete."""
        if not data and not last:
            return b""
        mode = zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH
        return self._compressor.compress(data) + self._compressor.flush(mode)


Coder = Zstd | Gzip


def coder_of(coding: bytes, length: int | None) -> Coder:
    """What codes one response's content; `coding` is `zstd` or `gzip`."""
    return Zstd(length) if coding == b"zstd" else Gzip()
