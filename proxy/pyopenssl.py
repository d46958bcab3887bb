"""The engine of TLS by the names that pyOpenSSL promises: for where those below it are missing.

Law: whatever it does, `openssl.Direct` does the same; the tests run on both.
"""

import sys
from contextlib import suppress
from types import TracebackType

from OpenSSL import SSL

from .engine import (
    MOST,
    PIECE,
    RECORD,
    ROOM,
    Choose,
    HandshakeError,
    Session,
    label,
    plain_name,
)


class UnknownNameError(Exception):
    """No site has the name that the client asked for; raised within OpenSSL's callbacks only."""


class NoCommonProtocolError(Exception):
    """The client offers protocols by ALPN, and the one spoken here is not among them."""


class Public:
    """By the names that pyOpenSSL promises, which tell of no KeyUpdate: it counts none."""

    __slots__ = ("__weakref__", "_choose", "_connection", "_hello", "ended", "server_name")

    def __init__(self, start: SSL.Context, choose: Choose) -> None:
        self._choose = choose
        self._connection = SSL.Connection(start, None)
        self._connection.set_accept_state()
        self._hello = b""
        self.ended = False
        self.server_name = ""

    @staticmethod
    def ask_for_names(context: SSL.Context) -> None:
        def asked(connection: SSL.Connection) -> None:
            engine = connection.get_app_data()
            name = engine.server_name = plain_name(connection.get_servername() or b"")
            chosen = engine._choose(name, engine._hello)
            if chosen is None:
                raise UnknownNameError(name)
            connection.set_context(chosen)

        context.set_tlsext_servername_callback(asked)

    @staticmethod
    def speak(context: SSL.Context, protocol: bytes) -> None:
        def select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
            if protocol not in offered:
                raise NoCommonProtocolError
            return protocol

        context.set_alpn_select_callback(select)

    @property
    def protocol(self) -> bytes:
        return self._connection.get_alpn_proto_negotiated()

    def handshake(self, cipher: bytes) -> bool:
        self._hello += cipher
        self._connection.set_app_data(self)
        self._connection.bio_write(cipher)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except NoCommonProtocolError as error:
            raise HandshakeError("no_application_protocol") from error
        except SSL.Error as error:
            details = error.args[0] if error.args and isinstance(error.args[0], list) else []
            raise HandshakeError(label([detail[2] for detail in details])) from error
        finally:
            self._connection.set_app_data(None)
        self._hello = b""
        return True

    def session(self) -> Session:
        connection = self._connection
        version, group = connection.get_protocol_version_name(), connection.get_group_name()
        # pyOpenSSL has no name for this; the binding below it has. Without it, nothing is known
        # to have been resumed.
        reused = getattr(getattr(SSL, "_lib", None), "SSL_session_reused", None)
        resumed = reused is not None and bool(reused(getattr(connection, "_ssl", None)))
        return Session(version, group or "", resumed)

    def read(self) -> bytes:
        parts: list[bytes] = []
        try:
            while True:
                parts.append(self._connection.recv(RECORD))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.ended = True
        except SSL.Error as error:
            raise ConnectionError("the peer broke the TLS protocol") from error
        return b"".join(parts)

    def receive(self, size: int) -> bytes:
        parts = []
        for at in range(0, size, PIECE):
            self._connection.bio_write(bytes(ROOM[at : min(size, at + PIECE)]))
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
        for at in range(0, len(plain), PIECE):
            self.write(bytes(plain[at : at + PIECE]))
            parts.append(self.take())
        return b"".join(parts)

    def finish(self) -> None:
        with suppress(SSL.Error):
            self._connection.shutdown()

    def take(self) -> bytes:
        parts: list[bytes] = []
        try:
            while True:
                parts.append(self._connection.bio_read(MOST))
        except SSL.WantReadError:
            return b"".join(parts)


def silence_refusals() -> None:
    """Keep pyOpenSSL from printing a traceback for each client that asks for an unknown name.

    It reports exceptions of the SNI callback to `sys.excepthook`, and has no other way to refuse.
    """
    previous = sys.excepthook

    def excepthook(
        kind: type[BaseException], value: BaseException, trace: TracebackType | None
    ) -> None:
        if kind is not UnknownNameError:
            previous(kind, value, trace)

    sys.excepthook = excepthook
