"""The engine of TLS by OpenSSL's own functions, below pyOpenSSL.

Law: what is private of pyOpenSSL stands here and nowhere else. Where one of its names is missing,
`pyopenssl.Public` is taken.

Why: pyOpenSSL allocates a buffer as large as what might come for each read (264 KiB of ciphertext),
says "nothing more" by an exception, and finds the connection of a callback in a table. A keep-alive
announce passes here four times; that takes 12 µs of CPU by what pyOpenSSL promises and 4 by these
(`python -m bench.openssl`). A handshake takes some 30 µs less (the same).
"""

import sys
from functools import cache
from types import TracebackType
from typing import Any

from OpenSSL import SSL

from .engine import (
    MOST,
    PIECE,
    RECORD,
    ROOM,
    Choose,
    Engine,
    HandshakeError,
    Plain,
    Session,
    label,
    plain_name,
)
from .pyopenssl import Public

# More than a full room seals: what was left of a record before may come with it.
_SPARE = 2 * RECORD
# From here on it pays not to copy: two calls more, 1 µs, where a copy of 32 KiB takes 3.
_BULK = 32 * 1024
# Of a client's KeyUpdates (RFC 8446 §4.6.3), 14 µs each: how many one read may bring (it has room
# for 9700), and the bytes of answers to them that may wait for what is sent next. BoringSSL takes
# 32 in a row, Go 16; one is due after 2^24 records.
_UPDATES = 32
_UNANSWERED = 4096


class Direct:
    """By the functions of OpenSSL itself, with buffers that all connections of a process share.

    All connections belong to one thread: that of the loop.
    """

    __slots__ = (
        "__weakref__",
        "_choose",
        "_copies",
        "_hello",
        "_incoming",
        "_outgoing",
        "_ssl",
        "ended",
        "protocol",
        "server_name",
    )

    def __init__(self, start: SSL.Context, choose: Choose) -> None:
        self._choose = choose
        new = _lib.SSL_new(_of(start))
        if not new:
            raise MemoryError("no memory for a TLS connection")
        self._ssl = _ffi.gc(new, _lib.SSL_free)
        # SSL_free() frees these too.
        self._incoming = _lib.BIO_new(_lib.BIO_s_mem())
        self._outgoing = _lib.BIO_new(_lib.BIO_s_mem())
        _lib.SSL_set_bio(new, self._incoming, self._outgoing)
        if not (self._incoming and self._outgoing):
            raise MemoryError("no memory for a TLS connection")
        _lib.SSL_set_accept_state(new)
        # A read ends behind each KeyUpdate, so that they can be counted.
        _lib.SSL_clear_mode(new, _lib.SSL_MODE_AUTO_RETRY)
        # Whether ciphertext is copied into a BIO. Once it has been read from the room itself, that
        # BIO is gone.
        self._copies = True
        self._hello = self.protocol = b""
        self.ended = False
        self.server_name = ""

    @staticmethod
    def ask_for_names(context: SSL.Context) -> None:
        _lib.SSL_CTX_set_tlsext_servername_callback(_of(context), _name_asked())

    @staticmethod
    def speak(context: SSL.Context, protocol: bytes) -> None:
        _lib.SSL_CTX_set_alpn_select_cb(_of(context), _protocol_offered(protocol), _ffi.NULL)

    def handshake(self, cipher: bytes) -> bool:
        global _shaking
        self._hello += cipher
        _lib.BIO_write(self._incoming, cipher, len(cipher))
        _shaking = self
        result = _lib.SSL_do_handshake(self._ssl)
        _shaking = None
        if result == 1:
            self._hello = b""
            return True
        if _lib.SSL_get_error(self._ssl, result) != _lib.SSL_ERROR_WANT_READ:
            raise HandshakeError(label(_errors()))
        return False

    def choose(self) -> bool:
        """Within the handshake: swap the chosen context in; False where there is none."""
        asked = _lib.SSL_get_servername(self._ssl, _lib.TLSEXT_NAMETYPE_host_name)
        name = self.server_name = plain_name(_ffi.string(asked)) if asked else ""
        chosen = self._choose(name, self._hello)
        if chosen is None:
            return False
        _lib.SSL_set_SSL_CTX(self._ssl, _of(chosen))
        return True

    def session(self) -> Session:
        ssl = self._ssl
        group = _lib.SSL_get0_group_name(ssl)
        return Session(
            _text(_ffi.string(_lib.SSL_get_version(ssl))),
            _text(_ffi.string(group)) if group else "",
            bool(_lib.SSL_session_reused(ssl)),
        )

    def read(self) -> Plain:
        return self._read_on(_lib.SSL_read(self._ssl, _plain, RECORD))

    def receive(self, size: int) -> Plain:
        if self._copies and size < _BULK:
            _lib.BIO_write(self._incoming, _cipher, size)
        else:
            self._look_into_room(size)
        size = _lib.SSL_read(self._ssl, _plain, RECORD)
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
        filled = updates = 0
        parts: list[bytes] = []
        while size > 0 or self._goes_on(size, updates):
            if size > 0:
                filled += size
            else:
                updates += 1
            if filled + RECORD > len(_plain_view):
                parts.append(_unpack(_plain, filled))
                filled = 0
            size = _lib.SSL_read(self._ssl, _plain + filled, RECORD)
        if filled >= _BULK and not parts:
            return _plain_view[:filled]
        parts.append(_unpack(_plain, filled))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _goes_on(self, size: int, updates: int) -> bool:
        """Whether what ended a read was a KeyUpdate, and more is there."""
        why = _lib.SSL_get_error(self._ssl, size)
        if why == _lib.SSL_ERROR_ZERO_RETURN:
            self.ended = True
            return False
        if why != _lib.SSL_ERROR_WANT_READ:
            _lib.ERR_clear_error()
            raise ConnectionError("the peer broke the TLS protocol")
        unanswered = _lib.BIO_get_mem_data(self._outgoing, _nowhere)
        if updates > _UPDATES or unanswered > _UNANSWERED:
            raise ConnectionError("the peer changes its keys without end")
        return bool(_lib.BIO_get_mem_data(self._incoming, _nowhere))

    def write(self, plain: bytes) -> None:
        if plain and _lib.SSL_write(self._ssl, plain, len(plain)) <= 0:
            _lib.ERR_clear_error()
            raise ConnectionError("nothing more can be sent")

    def seal(self, plain: bytes) -> bytes:
        if plain and _lib.SSL_write(self._ssl, plain, len(plain)) <= 0:
            _lib.ERR_clear_error()
            raise ConnectionError("nothing more can be sent")
        size = _lib.BIO_read(self._outgoing, _sealed, MOST)
        return _unpack(_sealed, size) if 0 < size < MOST else self._take_on(size)

    def seal_portion(self, plain: memoryview) -> Plain:
        begin, filled = _ffi.from_buffer(plain), 0
        for at in range(0, len(plain), PIECE):
            if _lib.SSL_write(self._ssl, begin + at, min(PIECE, len(plain) - at)) <= 0:
                _lib.ERR_clear_error()
                raise ConnectionError("nothing more can be sent")
            filled += _lib.BIO_read(self._outgoing, _sealed + filled, MOST - filled)
        return _sealed_view[:filled]

    def finish(self) -> None:
        if _lib.SSL_shutdown(self._ssl) < 0:
            _lib.ERR_clear_error()

    def take(self) -> bytes:
        return self._take_on(_lib.BIO_read(self._outgoing, _sealed, MOST))

    def _take_on(self, size: int) -> bytes:
        parts = []
        while size > 0:
            parts.append(_unpack(_sealed, size))
            size = _lib.BIO_read(self._outgoing, _sealed, MOST) if size == MOST else 0
        return b"".join(parts)


_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)
# Whose handshake OpenSSL is at when it calls back.
_shaking: Direct | None = None


def _of(context: SSL.Context) -> Any:
    """OpenSSL's own context."""
    return context._context


# OpenSSL keeps the callbacks' addresses only, so each is made once and stays.


@cache
def _name_asked() -> Any:
    def asked(_ssl: Any, _alert: Any, _argument: Any) -> int:
        chosen = _shaking is not None and _shaking.choose()
        return int(_lib.SSL_TLSEXT_ERR_OK if chosen else _lib.SSL_TLSEXT_ERR_ALERT_FATAL)

    return _ffi.callback("int(SSL *, int *, void *)", asked, _lib.SSL_TLSEXT_ERR_ALERT_FATAL, _tell)


@cache
def _protocol_offered(protocol: bytes) -> Any:
    def select(_ssl: Any, out: Any, out_size: Any, offered: Any, size: int, _argument: Any) -> int:
        at = _place(_unpack(_ffi.cast("char *", offered), size), protocol)
        if at is None:
            return int(_lib.SSL_TLSEXT_ERR_ALERT_FATAL)
        if _shaking is not None:
            _shaking.protocol = protocol
        out[0], out_size[0] = offered + at, len(protocol)
        return int(_lib.SSL_TLSEXT_ERR_OK)

    return _ffi.callback(
        "int(SSL *, const unsigned char **, unsigned char *, const unsigned char *,"
        " unsigned int, void *)",
        select,
        _lib.SSL_TLSEXT_ERR_ALERT_FATAL,
        _tell,
    )


def _tell(kind: type[BaseException], fault: BaseException, trace: TracebackType) -> None:
    """A fault in a callback refuses the client, and is told."""
    sys.excepthook(kind, fault, trace)


def _place(names: bytes, wanted: bytes) -> int | None:
    """Where a name begins in a list of names, each behind its length (RFC 7301 §3.1)."""
    at = 0
    while at < len(names):
        size = names[at]
        if names[at + 1 : at + 1 + size] == wanted:
            return at + 1
        at += 1 + size
    return None


@cache
def _text(name: bytes) -> str:
    """The name of a version or group, of which there are few."""
    return name.decode("ascii")


def _errors() -> list[str]:
    """What OpenSSL says went wrong, the last of it last; then it has nothing more to say."""
    reasons = []
    while code := _lib.ERR_get_error():
        reason = _lib.ERR_reason_error_string(code)
        reasons.append(_ffi.string(reason).decode("ascii", "replace") if reason else "")
    return reasons


_NEEDED = (
    "BIO_get_mem_data",
    "BIO_new",
    "BIO_new_mem_buf",
    "BIO_read",
    "BIO_s_mem",
    "BIO_set_mem_eof_return",
    "BIO_write",
    "ERR_clear_error",
    "ERR_get_error",
    "ERR_reason_error_string",
    "SSL_CTX_set_alpn_select_cb",
    "SSL_CTX_set_tlsext_servername_callback",
    "SSL_ERROR_WANT_READ",
    "SSL_ERROR_ZERO_RETURN",
    "SSL_MODE_AUTO_RETRY",
    "SSL_TLSEXT_ERR_ALERT_FATAL",
    "SSL_TLSEXT_ERR_OK",
    "SSL_clear_mode",
    "SSL_do_handshake",
    "SSL_free",
    "SSL_get0_group_name",
    "SSL_get_error",
    "SSL_get_servername",
    "SSL_get_version",
    "SSL_new",
    "SSL_read",
    "SSL_session_reused",
    "SSL_set_SSL_CTX",
    "SSL_set_accept_state",
    "SSL_set_bio",
    "SSL_shutdown",
    "SSL_write",
    "TLSEXT_NAMETYPE_host_name",
)


def _is_there() -> bool:
    context = SSL.Context(SSL.TLS_METHOD)
    known = _ffi is not None and hasattr(context, "_context")
    return known and all(hasattr(_lib, name) for name in _NEEDED)


DIRECT = _is_there()
"""Whether the functions of OpenSSL can be called."""

if DIRECT:
    # Of the bytearrays themselves: a memoryview is cleared by the collector at the interpreter's
    # end, whoever still points to it, and it would crash.
    _cipher: Any = _ffi.from_buffer(ROOM.obj)
    _plain_view = memoryview(bytearray(MOST + _SPARE))
    _plain: Any = _ffi.from_buffer(_plain_view.obj)
    _sealed_view = memoryview(bytearray(MOST))
    _sealed: Any = _ffi.from_buffer(_sealed_view.obj)
    _nowhere: Any = _ffi.NULL
    _unpack: Any = _ffi.unpack

ENGINE: type[Engine] = Direct if DIRECT else Public
"""The faster engine that there is."""
