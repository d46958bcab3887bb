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
import time
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from . import openssl
from .engine import PIECE, PORTION, ROOM, Plain, Session
from .rotation import Rotation
from .sockets import descriptor_of, write_now

HTTP = b"http/1.1"
ACME = b"acme-tls/1"
# As ALPN's list of a ClientHello has it: its length, then its name (RFC 7301 §3.1).
_ACME_OFFERED = bytes([len(ACME)]) + ACME
# The cheapest for both sides comes first, as Go and BoringSSL have it; whoever can do no other gets
# the next. AES-256 and its SHA-384 cost a full handshake 18 of 338 µs more.
_CIPHERS = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
# SSL_MODE_ENABLE_PARTIAL_WRITE, for which pyOpenSSL has no name (openssl/ssl.h).
_PARTIAL_WRITE = 0x1


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
        openssl.ENGINE.ask_for_names(context)
        return context

    def choose_context(self, name: str, hello: bytes) -> SSL.Context | None:
        """What a connection goes on with; see `engine.Choose`."""
        # OpenSSL asks for the name before it reads the protocols, so they are looked for here.
        return (self.challenge(name) if _ACME_OFFERED in hello else None) or self.choose(name)


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
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    openssl.ENGINE.speak(context, protocol)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_tls13_ciphersuites(_CIPHERS)
    # pyOpenSSL lets a write end after one record; over a memory BIO all of it always fits.
    context.clear_mode(_PARTIAL_WRITE)
    # An idle connection keeps no record buffers: 34 KiB each way otherwise.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


class RecordLayer:
    """One client's TLS connection over its transport. `established`: after the handshake.

    The session tickets that follow a handshake leave with what is sent next, or with `flush`: a
    write of their own costs a fresh connection 8 µs of 250.
    """

    __slots__ = ("_descriptor", "_engine", "_finished", "_transport", "established")

    def __init__(self, base: Base, transport: asyncio.Transport) -> None:
        self._engine = openssl.ENGINE(base.context, base.choose_context)
        self._transport = transport
        self._descriptor: int | None = None
        self._finished = False
        self.established = False

    @property
    def ended(self) -> bool:
        """Whether the client has sent close_notify: it says nothing more."""
        return self._engine.ended

    @property
    def server_name(self) -> str:
        """The name asked for by SNI, lower case, without trailing dot."""
        return self._engine.server_name

    @property
    def session(self) -> Session:
        """What the handshake agreed on, once it is done."""
        return self._engine.session()

    @property
    def challenged(self) -> bool:
        """Whether this is a certificate authority that wants to see a challenge's certificate."""
        return self._engine.protocol == ACME

    def receive_room(self, size: int) -> Plain:
        """Take ciphertext that lies in `engine.ROOM`, and return the plain bytes that it completes.

        What is returned as memoryview is there until bytes are received or sent again, by whomever.
        Raises HandshakeError (the alert has been written) before the handshake is done, and
        ConnectionError after it when the peer breaks the protocol.
        """
        try:
            return self._engine.receive(size) if self.established else self._greet(size)
        except ConnectionError:
            self.flush()
            raise

    def send(self, data: Plain) -> None:
        """Write plain bytes to the peer; nothing after `finish`.

        A memoryview is longer than PIECE.
        """
        if len(data) <= PIECE:
            self._transport.write(self._engine.seal(data))  # type: ignore[arg-type]
            return
        if self._descriptor is None:
            # Asked for once, and only by who needs it: 2 % of a stream of large frames.
            self._descriptor = descriptor_of(self._transport)
        plain = memoryview(data)
        for at in range(0, len(data), PORTION):
            sealed = self._engine.seal_portion(plain[at : at + PORTION])
            write_now(self._transport, self._descriptor, sealed)

    def send_last(self, data: bytes) -> None:
        """Write plain bytes to the peer, and close_notify with them."""
        if len(data) > PIECE:
            self.send(data)
        else:
            self._engine.write(data)
        self.finish()

    def flush(self) -> None:
        """Write what OpenSSL has for the peer, if anything; nothing after `finish`."""
        cipher = self._engine.take()
        if cipher and not self._finished and not self._transport.is_closing():
            self._transport.write(cipher)

    def finish(self) -> None:
        """Send close_notify: the end of what we say, not of what we hear (RFC 8446 §6.1)."""
        # Within a handshake there is nothing to close yet.
        if self.established and not self._finished:
            self._engine.finish()
            self.flush()
            self._finished = True

    def fall_silent(self) -> None:
        """Write nothing more, close_notify neither: it would make a clean end of a broken one."""
        self._finished = True

    def _greet(self, size: int) -> bytes:
        # In pieces: OpenSSL keeps for the life of a connection what was fed to it at once.
        plain = b""
        for at in range(0, size, PIECE):
            if self._handshake(bytes(ROOM[at : min(size, at + PIECE)])):
                plain += self._engine.read()
        return plain

    def _handshake(self, data: bytes) -> bool:
        try:
            self.established = self._engine.handshake(data)
        finally:
            # Where it is done, the tickets wait for what is sent next.
            if not self.established:
                self.flush()
        return self.established
