"""The record layer (RFC 8446) between a client's transport and plain bytes, over pyOpenSSL.

Law: a connection without a known name gets an alert and no certificate.

Theory. Tickets are sealed with the keys of the context a connection *starts* on. So connections
start on a base context, made before the workers are forked and kept over reloads: any worker can
resume what another one began. Each day has another (`rotation`). It holds no certificate; the SNI
callback swaps in the context of the site.
OpenSSL works on memory BIOs: ciphertext is fed to it and taken from it (`openssl`), and the
transport stays uvloop's plain TCP, whose flow control then holds for TLS as well.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from .openssl import PORTION, ROOM, ROOM_SIZE, Plain, engine
from .rotation import Rotation
from .sockets import descriptor_of, write_now

HTTP = b"http/1.1"
ACME = b"acme-tls/1"
# As ALPN's list of a ClientHello has it: its length, then its name (RFC 7301 §3.1).
_ACME_OFFERED = bytes([len(ACME)]) + ACME
# SSL_MODE_ENABLE_PARTIAL_WRITE, for which pyOpenSSL has no name (openssl/ssl.h).
_PARTIAL_WRITE = 0x1
# What is sealed and written without further ado; see `openssl` for what is larger.
_WHOLE = 32 * 1024


NO_MEMORY = "no_memory"
"""The reason of a HandshakeError that is not the client's."""

# The one callback that fails is that of the name.
_REASONS = {"callback_failed": "unrecognized_name"}


class UnknownNameError(Exception):
    """No site has the name that the client asked for; raised within OpenSSL's callbacks only."""


class NoCommonProtocolError(Exception):
    """The client offers protocols by ALPN, and the one spoken here is not among them."""


class HandshakeError(Exception):
    """A handshake that failed; `reason` is OpenSSL's own, as a label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Session(NamedTuple):
    """What a handshake agreed on; `group` is "" where there was no key exchange."""

    version: str
    group: str
    resumed: bool


class Base:
    """The contexts on which connections start, made before any worker is; `clock` tells the day.

    `choose` gives the context of a lower-case name without trailing dot, or None: then the client
    gets the `unrecognized_name` alert (RFC 6066 §3). `challenge` gives the context with which a
    certificate authority is answered that offers `acme-tls/1` (RFC 8737), and is asked for nobody
    else: a visitor never sees that certificate. Each worker sets its own.
    """

    choose: Callable[[str], SSL.Context | None]
    challenge: Callable[[str], SSL.Context | None]

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.choose = self.challenge = lambda name: None
        self.rotation = Rotation(self._make, clock)

    @property
    def context(self) -> SSL.Context:
        """The one on which a connection starts now."""
        return self.rotation.current

    def _make(self) -> SSL.Context:
        context = _context(HTTP)
        context.set_tlsext_servername_callback(self._servername)
        return context

    def _servername(self, connection: SSL.Connection) -> None:
        name = _name_asked(connection)
        # OpenSSL asks for the name before it reads the protocols, so they are looked for here.
        offered = _ACME_OFFERED in (connection.get_app_data() or b"")
        context = (self.challenge(name) if offered else None) or self.choose(name)
        if context is None:
            raise UnknownNameError(name)
        connection.set_context(context)


def site_context(certificate: bytes, key: bytes, protocol: bytes = HTTP) -> SSL.Context:
    """The context of a site from PEM: the chain with its leaf first, and the key.

    `protocol` is the one that ALPN may choose. Raises ValueError or SSL.Error when certificate and
    key cannot be read or do not belong together.
    """
    context = _context(protocol)
    leaf, *chain = x509.load_pem_x509_certificates(certificate)
    context.use_certificate(leaf)
    for issuer in chain:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(load_pem_private_key(key, None))  # type: ignore[arg-type]
    context.check_privatekey()
    return context


def _context(protocol: bytes) -> SSL.Context:
    def select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        if protocol not in offered:
            raise NoCommonProtocolError
        return protocol

    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_alpn_select_callback(select)
    # pyOpenSSL lets a write end after one record; over a memory BIO all of it always fits.
    context.clear_mode(_PARTIAL_WRITE)
    # An idle connection keeps no record buffers: 34 KiB each way otherwise.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


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


class RecordLayer:
    """One client's TLS connection over its transport. `established`: after the handshake.

    The session tickets that follow a handshake leave with what is sent next, or with `flush`: a
    write of their own costs a fresh connection 8 µs of 250.
    """

    __slots__ = ("_connection", "_engine", "_finished", "_hello", "_transport", "established")

    def __init__(self, base: SSL.Context, transport: asyncio.Transport) -> None:
        self._connection = SSL.Connection(base, None)
        self._connection.set_accept_state()
        self._engine = engine(self._connection)
        self._transport = transport
        self._hello = b""
        self._finished = False
        self.established = False

    @property
    def ended(self) -> bool:
        """Whether the client has sent close_notify: it says nothing more."""
        return self._engine.ended

    @property
    def server_name(self) -> str:
        """The name asked for by SNI, lower case, without trailing dot."""
        return _name_asked(self._connection)

    @property
    def session(self) -> Session:
        """What the handshake agreed on, once it is done."""
        connection = self._connection
        version, group = connection.get_protocol_version_name(), connection.get_group_name()
        return Session(version, group or "", _resumed(connection))

    @property
    def challenged(self) -> bool:
        """Whether this is a certificate authority that wants to see a challenge's certificate."""
        return self._connection.get_alpn_proto_negotiated() == ACME

    def receive(self, data: bytes) -> bytes:
        """Take ciphertext from the transport and return the plain bytes that it completes.

        Raises HandshakeError (the alert has been written) before the handshake is done, and
        ConnectionError after it when the peer breaks the protocol.
        """
        parts = []
        for at in range(0, len(data), ROOM_SIZE):
            piece = data[at : at + ROOM_SIZE]
            ROOM[: len(piece)] = piece
            parts.append(bytes(self.receive_room(len(piece))))
        return b"".join(parts)

    def receive_room(self, size: int) -> Plain:
        """The same for `size` bytes that lie in `openssl.ROOM`.

        What is returned as memoryview is there until bytes are received or sent again, by whomever.
        """
        try:
            return self._engine.receive(size) if self.established else self._greet(size)
        except ConnectionError:
            self.flush()
            raise

    def _greet(self, size: int) -> bytes:
        # In pieces: OpenSSL keeps for the life of a connection what was fed to it at once.
        parts = [b""]
        for at in range(0, size, _WHOLE):
            data = bytes(ROOM[at : min(size, at + _WHOLE)])
            self._engine.feed(data)
            if self.established or self._handshake(data):
                parts.append(bytes(self._engine.read()))
        return b"".join(parts)

    def send(self, data: bytes) -> None:
        """Write plain bytes to the peer; nothing after `finish`."""
        if len(data) <= _WHOLE:
            self._transport.write(self._engine.seal(data))
            return
        plain, descriptor = memoryview(data), descriptor_of(self._transport)
        for at in range(0, len(data), PORTION):
            write_now(
                self._transport, descriptor, self._engine.seal_portion(plain[at : at + PORTION])
            )

    def send_last(self, data: bytes) -> None:
        """Write plain bytes to the peer, and close_notify with them."""
        if len(data) > _WHOLE:
            self.send(data)
        else:
            self._engine.write(data)
        self.finish()

    def flush(self) -> None:
        """Write what OpenSSL has for the peer, if anything."""
        cipher = self._engine.take()
        if cipher and not self._transport.is_closing():
            self._transport.write(cipher)

    def finish(self) -> None:
        """Send close_notify: the end of what we say, not of what we hear (RFC 8446 §6.1)."""
        # Within a handshake there is nothing to close yet.
        if self.established and not self._finished:
            self._finished = True
            with suppress(SSL.Error):
                self._connection.shutdown()
            self.flush()

    def _handshake(self, data: bytes) -> bool:
        self._hello += data
        self._connection.set_app_data(self._hello)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self.flush()
            return False
        except (SSL.Error, NoCommonProtocolError) as error:
            self.flush()
            raise HandshakeError(_reason(error)) from error
        self.established = True
        self._hello = b""
        self._connection.set_app_data(None)
        return True


def _name_asked(connection: SSL.Connection) -> str:
    name = connection.get_servername() or b""
    return name.decode("ascii", "replace").lower().removesuffix(".")


def _resumed(connection: SSL.Connection) -> bool:
    # pyOpenSSL has no name for this; the binding below it has (openssl/ssl.h). Without it, nothing
    # is known to have been resumed.
    reused = getattr(SSL._lib, "SSL_session_reused", None)  # type: ignore[attr-defined]
    return reused is not None and bool(reused(connection._ssl))


def _reason(error: Exception) -> str:
    if isinstance(error, NoCommonProtocolError):
        return "no_application_protocol"
    details = error.args[0] if error.args and isinstance(error.args[0], list) else []
    if any(detail[2] == "malloc failure" for detail in details):
        return NO_MEMORY
    reason = str(details[-1][2]).replace(" ", "_") if details else "protocol"
    return _REASONS.get(reason, reason)
