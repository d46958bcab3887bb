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


# To make a compressor takes 27 µs, which is five times what it then does to 600 bytes. So some of
# those that have ended a content begin another one; 2 MiB at most.
_IDLE: list[zstd.ZstdCompressor] = []
_MOST_IDLE = 8


class Zstd:
    """One response's content in zstd (RFC 8878)."""

    __slots__ = ("_compressor",)

    def __init__(self) -> None:
        self._compressor = _IDLE.pop() if _IDLE else zstd.ZstdCompressor(options=_ZSTD)

    def code(self, data: bytes, *, last: bool) -> bytes:
        """The octets by which all of `data` can be decoded.

        `last`: the content is complete, and nothing more is coded here.
        """
        if not data and not last:
            return b""
        compressor = self._compressor
        if not last:
            return compressor.compress(data, compressor.FLUSH_BLOCK)
        octets = compressor.compress(data, compressor.FLUSH_FRAME)
        if len(_IDLE) < _MOST_IDLE:
            _IDLE.append(compressor)
        return octets


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


def coder_of(coding: bytes) -> Coder:
    """What codes one response's content; `coding` is `zstd` or `gzip`."""
    return Zstd() if coding == b"zstd" else Gzip()
