"""The calls of OpenSSL that every read and every write needs, on a connection of pyOpenSSL's.

Law: what is private of pyOpenSSL stands here and nowhere else. `Direct` calls the library below it,
`Public` does the same through what pyOpenSSL promises; the tests run on both, and where a name of
the former is missing the latter is taken.

Why: pyOpenSSL allocates a buffer as large as what might come for each read (264 KiB of ciphertext),
and says "nothing more" by an exception. A keep-alive announce passes here four times; that takes
12 µs of CPU by what pyOpenSSL promises and 4 by these (`python -m bench.openssl`).
"""

from typing import Any, Protocol

from OpenSSL import SSL

# One record holds at most 16 KiB (RFC 8446 §5.1), so a larger read brings no more.
_RECORD = 16 * 1024
# One write of a whole upstream read: uvloop reads up to 256 KB, a record adds 22 bytes to 16 KiB.
_MOST = 264 * 1024


class Engine(Protocol):
    """Plain bytes on one side, ciphertext on the other. `ended`: after the peer's close_notify."""

    ended: bool

    def feed(self, cipher: bytes) -> None:
        """Take ciphertext from the peer."""

    def read(self) -> bytes:
        """The plain bytes that are complete. Raises ConnectionError when the peer breaks TLS."""

    def write(self, plain: bytes) -> None:
        """Encrypt plain bytes for the peer. Raises ConnectionError where nothing can be sent."""

    def take(self) -> bytes:
        """The ciphertext for the peer; empty when there is none."""


class Public:
    """By the names that pyOpenSSL promises."""

    __slots__ = ("_connection", "ended")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self.ended = False

    def feed(self, cipher: bytes) -> None:
        self._connection.bio_write(cipher)

    def read(self) -> bytes:
        parts: list[bytes] = []
        try:
            while True:
                parts.append(self._connection.recv(_RECORD))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.ended = True
        except SSL.Error as error:
            raise ConnectionError("the peer broke the TLS protocol") from error
        return b"".join(parts)

    def write(self, plain: bytes) -> None:
        try:
            self._connection.sendall(plain)
        except SSL.Error as error:
            raise ConnectionError("nothing more can be sent") from error

    def take(self) -> bytes:
        parts: list[bytes] = []
        try:
            while True:
                parts.append(self._connection.bio_read(_MOST))
        except SSL.WantReadError:
            return b"".join(parts)


class Direct:
    """By the functions of OpenSSL itself, with one buffer for all connections of a process."""

    __slots__ = ("_incoming", "_outgoing", "_owner", "_ssl", "ended")

    def __init__(self, connection: SSL.Connection) -> None:
        # What the pointers point to lives as long as its owner.
        self._owner: Any = connection
        self._ssl = self._owner._ssl
        self._incoming = self._owner._into_ssl
        self._outgoing = self._owner._from_ssl
        self.ended = False

    def feed(self, cipher: bytes) -> None:
        _lib.BIO_write(self._incoming, cipher, len(cipher))

    def read(self) -> bytes:
        size = _lib.SSL_read(self._ssl, _buffer, _RECORD)
        if size > 0 and not _lib.BIO_get_mem_data(self._incoming, _nowhere):
            # Nothing is left to be read: no second call only to learn that.
            return _unpack(_buffer, size)  # type: ignore[no-any-return]
        return self._read_on(size)

    def _read_on(self, size: int) -> bytes:
        filled = 0
        parts: list[bytes] = []
        while size > 0:
            filled += size
            if filled + _RECORD > _MOST:
                parts.append(_unpack(_buffer, filled))
                filled = 0
            size = _lib.SSL_read(self._ssl, _buffer + filled, _RECORD)
        if filled:
            parts.append(_unpack(_buffer, filled))
        why = _lib.SSL_get_error(self._ssl, size)
        if why == _lib.SSL_ERROR_ZERO_RETURN:
            self.ended = True
        elif why != _lib.SSL_ERROR_WANT_READ:
            _lib.ERR_clear_error()
            raise ConnectionError("the peer broke the TLS protocol")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, plain: bytes) -> None:
        if plain and _lib.SSL_write(self._ssl, plain, len(plain)) <= 0:
            _lib.ERR_clear_error()
            raise ConnectionError("nothing more can be sent")

    def take(self) -> bytes:
        size = _lib.BIO_read(self._outgoing, _buffer, _MOST)
        if size < _MOST:
            return _unpack(_buffer, size) if size > 0 else b""
        parts = []
        while size > 0:
            parts.append(_unpack(_buffer, size))
            size = _lib.BIO_read(self._outgoing, _buffer, _MOST)
        return b"".join(parts)


_NEEDED = (
    "BIO_get_mem_data",
    "BIO_read",
    "BIO_write",
    "ERR_clear_error",
    "SSL_ERROR_WANT_READ",
    "SSL_ERROR_ZERO_RETURN",
    "SSL_get_error",
    "SSL_read",
    "SSL_write",
)
_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)


def _is_there() -> bool:
    connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    parts = all(hasattr(connection, name) for name in ("_ssl", "_into_ssl", "_from_ssl"))
    return _ffi is not None and parts and all(hasattr(_lib, name) for name in _NEEDED)


DIRECT = _is_there()
"""Whether the functions of OpenSSL can be called."""

if DIRECT:
    _buffer: Any = _ffi.new("char[]", _MOST)
    _nowhere: Any = _ffi.NULL
    _unpack: Any = _ffi.unpack


def engine(connection: SSL.Connection) -> Engine:
    """The faster engine that there is, for a connection over memory BIOs."""
    return Direct(connection) if DIRECT else Public(connection)
