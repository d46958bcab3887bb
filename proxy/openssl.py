"""The calls of OpenSSL that every read and every write needs, on a connection of pyOpenSSL's.

Law: what is private of pyOpenSSL stands here and nowhere else. `Direct` calls the library below it,
`Public` does the same through what pyOpenSSL promises; the tests run on both, and where a name of
the former is missing the latter is taken.

Why: pyOpenSSL allocates a buffer as large as what might come for each read (264 KiB of ciphertext),
and says "nothing more" by an exception. A keep-alive announce passes here four times; that takes
12 µs of CPU by what pyOpenSSL promises and 4 by these (`python -m bench.openssl`).

Three rooms serve all connections of a process: the loop reads ciphertext into `ROOM`, and what
OpenSSL makes of much of it, either way, is shown where it lies. Whoever gets a memoryview has it
until the next call; to write it on, there is `sockets.write_now`.
"""

from typing import Any, Protocol

from OpenSSL import SSL

# One record holds at most 16 KiB (RFC 8446 §5.1), so a larger read brings no more.
_RECORD = 16 * 1024
# One write of a whole upstream read: uvloop reads up to 256 KB, a record adds 22 bytes to 16 KiB.
_MOST = 264 * 1024
# More than a full room seals: what was left of a record before may come with it.
_SPARE = 2 * _RECORD
# OpenSSL keeps for the life of a connection what its memory BIOs once took: 295 KiB after a large
# answer, were it written in one. So it gets two records at a time.
_PIECE = 32 * 1024
# From here on it pays not to copy: two calls more, 1 µs, where a copy of 32 KiB takes 3.
_BULK = 32 * 1024

ROOM_SIZE = 256 * 1024
ROOM = memoryview(bytearray(ROOM_SIZE))
"""Where the loop puts ciphertext for `Engine.receive`, whosever it is."""

PORTION = 256 * 1024
"""What `Engine.seal` takes at a time."""

Plain = bytes | memoryview
"""A memoryview's bytes are there until the next call of any engine."""


class Engine(Protocol):
    """Plain bytes on one side, ciphertext on the other. `ended`: after the peer's close_notify."""

    ended: bool

    def feed(self, cipher: bytes) -> None:
        """Take ciphertext from the peer."""

    def read(self) -> Plain:
        """The plain bytes that are complete. Raises ConnectionError when the peer breaks TLS."""

    def receive(self, size: int) -> Plain:
        """The same after `size` bytes of ciphertext from the peer, which lie in ROOM."""

    def write(self, plain: bytes) -> None:
        """Encrypt plain bytes for the peer. Raises ConnectionError where nothing can be sent."""

    def seal(self, plain: bytes) -> bytes:
        """The ciphertext for the peer, after these plain bytes. Raises as `write` does."""

    def seal_portion(self, plain: memoryview) -> Plain:
        """The same of at most PORTION bytes, for who writes it on at once."""

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

    def receive(self, size: int) -> bytes:
        parts = []
        for at in range(0, size, _PIECE):
            self.feed(bytes(ROOM[at : min(size, at + _PIECE)]))
            parts.append(self.read())
        return b"".join(parts)

    def write(self, plain: bytes) -> None:
        try:
            self._connection.sendall(plain)
        except SSL.Error as error:
            raise ConnectionError("nothing more can be sent") from error

    def seal(self, plain: bytes) -> bytes:
        self.write(plain)
        return self.take()

    def seal_portion(self, plain: memoryview) -> bytes:
        parts = []
        for at in range(0, len(plain), _PIECE):
            self.write(bytes(plain[at : at + _PIECE]))
            parts.append(self.take())
        return b"".join(parts)

    def take(self) -> bytes:
        parts: list[bytes] = []
        try:
            while True:
                parts.append(self._connection.bio_read(_MOST))
        except SSL.WantReadError:
            return b"".join(parts)


class Direct:
    """By the functions of OpenSSL itself."""

    __slots__ = ("_copies", "_incoming", "_outgoing", "_owner", "_ssl", "ended")

    def __init__(self, connection: SSL.Connection) -> None:
        # What the pointers point to lives as long as its owner.
        self._owner: Any = connection
        self._ssl = self._owner._ssl
        self._incoming = self._owner._into_ssl
        self._outgoing = self._owner._from_ssl
        # Whether ciphertext is copied into a BIO. Once it has been read from the room itself, the
        # BIO that pyOpenSSL made is gone, and it must not be asked to write to that.
        self._copies = True
        self.ended = False

    def feed(self, cipher: bytes) -> None:
        _lib.BIO_write(self._incoming, cipher, len(cipher))

    def read(self) -> Plain:
        return self._read_on(_lib.SSL_read(self._ssl, _plain, _RECORD))

    def receive(self, size: int) -> Plain:
        if self._copies and size < _BULK:
            _lib.BIO_write(self._incoming, _cipher, size)
        else:
            self._look_into_room(size)
        size = _lib.SSL_read(self._ssl, _plain, _RECORD)
        if size > 0 and not _lib.BIO_get_mem_data(self._incoming, _nowhere):
            # Nothing is left to be read: no second call only to learn that.
            return _unpack(_plain, size)  # type: ignore[no-any-return]
        return self._read_on(size)

    def _look_into_room(self, size: int) -> None:
        """Let OpenSSL read the room itself: a memory BIO would clear memory and copy to it first.

        Whatever it does not use of a record is copied to its own buffer, so no byte of the room is
        needed after this read.
        """
        bio = _lib.BIO_new_mem_buf(_cipher, size)
        if bio == _nowhere:
            raise MemoryError
        _lib.BIO_set_mem_eof_return(bio, -1)
        _lib.SSL_set_bio(self._ssl, bio, self._outgoing)
        self._incoming, self._copies = bio, False

    def _read_on(self, size: int) -> Plain:
        filled = 0
        parts: list[bytes] = []
        while size > 0:
            filled += size
            if filled + _RECORD > len(_plain_view):
                parts.append(_unpack(_plain, filled))
                filled = 0
            size = _lib.SSL_read(self._ssl, _plain + filled, _RECORD)
        why = _lib.SSL_get_error(self._ssl, size)
        if why == _lib.SSL_ERROR_ZERO_RETURN:
            self.ended = True
        elif why != _lib.SSL_ERROR_WANT_READ:
            _lib.ERR_clear_error()
            raise ConnectionError("the peer broke the TLS protocol")
        if filled >= _BULK and not parts:
            return _plain_view[:filled]
        parts.append(_unpack(_plain, filled))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, plain: bytes) -> None:
        if plain and _lib.SSL_write(self._ssl, plain, len(plain)) <= 0:
            _lib.ERR_clear_error()
            raise ConnectionError("nothing more can be sent")

    def seal(self, plain: bytes) -> bytes:
        if plain and _lib.SSL_write(self._ssl, plain, len(plain)) <= 0:
            _lib.ERR_clear_error()
            raise ConnectionError("nothing more can be sent")
        size = _lib.BIO_read(self._outgoing, _sealed, _MOST)
        return _unpack(_sealed, size) if 0 < size < _MOST else self._take_on(size)

    def seal_portion(self, plain: memoryview) -> Plain:
        begin, filled = _ffi.from_buffer(plain), 0
        for at in range(0, len(plain), _PIECE):
            if _lib.SSL_write(self._ssl, begin + at, min(_PIECE, len(plain) - at)) <= 0:
                _lib.ERR_clear_error()
                raise ConnectionError("nothing more can be sent")
            filled += _lib.BIO_read(self._outgoing, _sealed + filled, _MOST - filled)
        return _sealed_view[:filled]

    def take(self) -> bytes:
        return self._take_on(_lib.BIO_read(self._outgoing, _sealed, _MOST))

    def _take_on(self, size: int) -> bytes:
        parts = []
        while size > 0:
            parts.append(_unpack(_sealed, size))
            size = _lib.BIO_read(self._outgoing, _sealed, _MOST) if size == _MOST else 0
        return b"".join(parts)


_NEEDED = (
    "BIO_get_mem_data",
    "BIO_new_mem_buf",
    "BIO_read",
    "BIO_set_mem_eof_return",
    "BIO_write",
    "ERR_clear_error",
    "SSL_ERROR_WANT_READ",
    "SSL_ERROR_ZERO_RETURN",
    "SSL_get_error",
    "SSL_read",
    "SSL_set_bio",
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
    _cipher: Any = _ffi.from_buffer(ROOM)
    _plain_view = memoryview(bytearray(_MOST + _SPARE))
    _plain: Any = _ffi.from_buffer(_plain_view)
    _sealed_view = memoryview(bytearray(_MOST))
    _sealed: Any = _ffi.from_buffer(_sealed_view)
    _nowhere: Any = _ffi.NULL
    _unpack: Any = _ffi.unpack


def engine(connection: SSL.Connection) -> Engine:
    """The faster engine that there is, for a connection over memory BIOs."""
    return Direct(connection) if DIRECT else Public(connection)
