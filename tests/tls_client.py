"""A small blocking TLS client over pyOpenSSL: what a test wants to say and see on the wire.

The standard library's ssl is bound to the system's OpenSSL, which may not know X25519MLKEM768;
pyOpenSSL brings the OpenSSL that the proxy itself uses.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from OpenSSL import SSL

PATIENCE = 30


class TLSAlertError(Exception):
    """The other side ended the handshake or the connection with an alert; the text names it."""


class TruncatedError(Exception):
    """The connection ended without close_notify (RFC 8446 §6.1): bytes may be missing."""


class PlainClient:
    """The same verbs as TLSClient over bare TCP: how an origin is spoken to directly."""

    def __init__(self, port: int, host: str = "127.0.0.1", source: str = "") -> None:
        self.socket = socket.create_connection((host, port), PATIENCE, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def recv(self, limit: int = 65536) -> bytes:
        """The next bytes, or b"" at a clean end; ConnectionResetError at an unclean one."""
        return self.socket.recv(limit)

    def recv_until(self, mark: bytes) -> bytes:
        """Everything up to the read in which `mark` came; ends early only with the stream."""
        seen = bytearray()
        while mark not in seen and (chunk := self.recv()):
            seen += chunk
        return bytes(seen)

    def recv_all(self) -> bytes:
        """Everything up to the clean end of the stream."""
        seen = bytearray()
        while chunk := self.recv():
            seen += chunk
        return bytes(seen)

    def half_close(self) -> None:
        """Say that nothing more will be sent; reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def vanish(self) -> None:
        """End the TCP connection with nothing said in the layer above it."""
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class TLSClient(PlainClient):
    """A TLS connection to a loopback port; the server's certificate is verified by `cafile`."""

    def __init__(
        self,
        port: int,
        server_name: str | None = None,
        *,
        cafile: Path | None = None,
        alpn: Sequence[bytes] = (b"http/1.1",),
        session: SSL.Session | None = None,
        versions: tuple[int, int] = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION),
        heard: list[str] | None = None,
        host: str = "127.0.0.1",
        source: str = "",
        before: bytes = b"",
    ) -> None:
        """`heard` gets the names of the handshake's states, those of an alert included.

        `before` is sent ahead of TLS.
        """
        super().__init__(port, host, source)
        # the time-out is the kernel's: a Python one would make the socket non-blocking
        self.socket.settimeout(None)
        bound = struct.pack("ll", PATIENCE, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bound)
        self.socket.sendall(before)
        context = _context(cafile, alpn, versions)
        if heard is not None:
            context.set_info_callback(lambda tls, *_: heard.append(tls.get_state_string().decode()))
        self.tls = SSL.Connection(context, self.socket)
        self.tls.set_connect_state()
        if server_name is not None:
            self.tls.set_tlsext_host_name(server_name.encode("ascii"))
        if session is not None:
            self.tls.set_session(session)
        try:
            with _errors():
                self.tls.do_handshake()
            _require_name(self.tls, server_name if cafile else None)
        except BaseException:
            self.close()
            raise

    def send(self, octets: bytes) -> None:
        with _errors():
            self.tls.sendall(octets)

    def recv(self, limit: int = 65536) -> bytes:
        """The next bytes, or b"" after close_notify; TruncatedError without one."""
        try:
            with _errors():
                return self.tls.recv(limit)
        except SSL.ZeroReturnError:
            return b""

    def half_close(self) -> None:
        """Send close_notify; reading goes on (RFC 8446 §6.1)."""
        with _errors():
            self.tls.shutdown()

    def close(self) -> None:
        """Send close_notify where that still can be, then close the TCP connection."""
        with contextlib.suppress(SSL.Error, OSError):
            self.tls.shutdown()
        self.socket.close()

    @property
    def group(self) -> str | None:
        """The name of the key-exchange group in use."""
        return self.tls.get_group_name()

    @property
    def protocol(self) -> str:
        """The TLS version in use, as "TLSv1.3"."""
        return self.tls.get_protocol_version_name()

    @property
    def alpn(self) -> bytes:
        """The application protocol the server chose, b"" when none."""
        return self.tls.get_alpn_proto_negotiated()

    @property
    def session(self) -> SSL.Session | None:
        """What a later connection may resume; complete only after something has been read."""
        return self.tls.get_session()

    def names(self) -> list[str]:
        """The DNS names in the server's certificate."""
        return _names(self.tls)


def _context(cafile: Path | None, alpn: Sequence[bytes], versions: tuple[int, int]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(versions[0])
    context.set_max_proto_version(versions[1])
    if versions[0] < SSL.TLS1_3_VERSION:
        context.set_cipher_list(b"DEFAULT@SECLEVEL=0")  # TLS 1.0 and 1.1 need SHA-1
    if alpn:
        context.set_alpn_protos(list(alpn))
    if cafile is not None:
        context.load_verify_locations(str(cafile))
        context.set_verify(SSL.VERIFY_PEER)
    return context


def _names(tls: SSL.Connection) -> list[str]:
    certificate = tls.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return []
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)


def _require_name(tls: SSL.Connection, name: str | None) -> None:
    """pyOpenSSL verifies the chain, never the name (RFC 9525 §6)."""
    if name is None:
        return
    names = _names(tls)
    wildcard = "*." + name.lower().partition(".")[2]
    if name.lower() not in names and wildcard not in names:
        raise AssertionError(f"the certificate names {names}, not {name}")


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """OpenSSL's errors in the words of this module; the clean end passes as it is."""
    try:
        yield
    except (SSL.WantReadError, SSL.WantWriteError) as error:
        raise TimeoutError(f"nothing came for {PATIENCE} s") from error
    except SSL.SysCallError as error:
        if error.args[0] in {-1, 0}:
            raise TruncatedError("the connection ended without close_notify") from error
        raise ConnectionResetError(*error.args) from error
    except SSL.ZeroReturnError:
        raise
    except SSL.Error as error:
        reasons = " ".join(entry[2] for entry in error.args[0])
        kind = TruncatedError if "unexpected eof" in reasons else TLSAlertError
        raise kind(reasons) from error
