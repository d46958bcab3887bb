"""One HTTP exchange with a certificate authority, in a bounded time and a bounded size.

Law: a call returns or raises within its deadline, and within a tenth of a second once `stop` is
set, whatever the other side does.

The time-outs of a socket are per read: a server that sends a byte every few seconds outlives them,
in a head as in a body, and a resolver knows none at all. So each call runs in a daemon thread of
its own and the caller waits for it; a caller that gives up shuts the socket, which ends the thread
too. A thread per call is cheap here: a renewal takes a dozen calls every few weeks.
"""

from __future__ import annotations

import functools
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from .errors import Retry, SettingsError, Stopped

DEADLINE = 30.0
# Chains are a few KiB, directories less; Let's Encrypt's largest answer is far below.
LARGEST_ANSWER = 1 << 20
_LOOK_AT_STOP = 0.1
_CHUNK = 1 << 16
USER_AGENT = "hopward (acme_client; python-acme)"


@dataclass(frozen=True)
class Answer:
    """A complete response."""

    status: int
    fields: Mapping[str, str]
    """Names in lower case; of repeated fields the values joined by a comma (RFC 9110 §5.3)."""
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; raises Retry for anything else."""
        try:
            parsed = json.loads(self.body)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            raise Retry(f"the answer (HTTP {self.status}) is no JSON object: {self.excerpt()}")
        return parsed

    def excerpt(self) -> str:
        """The beginning of the body for a person to read, in one line."""
        return " ".join(self.body[:200].decode("utf-8", "replace").split())


def tls_context(ca_bundle: Path | None) -> ssl.SSLContext:
    """Public roots and those of `ca_bundle`; raises SettingsError when it cannot be read."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if ca_bundle is not None:
        try:
            context.load_verify_locations(ca_bundle)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"{ca_bundle}: no readable certificates in PEM: {error}") from error
    return context


def _shared_context(ca_bundle: Path | None) -> ssl.SSLContext:
    """One context for all attempts: reading the public roots takes as long as a whole order."""
    try:
        changed = None if ca_bundle is None else ca_bundle.stat().st_mtime_ns
    except OSError:
        return tls_context(ca_bundle)
    return _context_as_of(ca_bundle, changed)


@functools.lru_cache(maxsize=4)
def _context_as_of(ca_bundle: Path | None, changed: int | None) -> ssl.SSLContext:
    return tls_context(ca_bundle)


class Transport:
    """Connections to authorities, kept open between the calls of one attempt."""

    def __init__(
        self,
        ca_bundle: Path | None = None,
        *,
        deadline: float = DEADLINE,
        stop: threading.Event | None = None,
    ) -> None:
        self._tls = _shared_context(ca_bundle)
        self._deadline = deadline
        self._stop = stop or threading.Event()
        self._kept: dict[tuple[str, str], HTTPConnection] = {}

    def send(
        self, method: str, url: str, body: bytes | None = None, content_type: str = ""
    ) -> Answer:
        """One request and its whole response, whatever its status.

        Raises Retry when none came in time, was broken or too large, and Stopped.
        """
        fields = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        if content_type:
            fields["Content-Type"] = content_type
        call = _Call(self, urlsplit(url), method, body, fields)
        return call.wait(self._deadline, self._stop)

    def close(self) -> None:
        """Close the connections."""
        while self._kept:
            self._kept.popitem()[1].close()

    def lease(self, url: SplitResult) -> tuple[HTTPConnection, bool]:
        """A connection for this URL, and whether it was used before."""
        kept = self._kept.pop((url.scheme, url.netloc), None)
        return (kept, True) if kept is not None else (self._connection(url), False)

    def give_back(self, url: SplitResult, connection: HTTPConnection) -> None:
        """Keep a connection for the next call."""
        old = self._kept.pop((url.scheme, url.netloc), None)
        if old is not None:
            old.close()
        self._kept[url.scheme, url.netloc] = connection

    def _connection(self, url: SplitResult) -> HTTPConnection:
        host, port = url.hostname or "", url.port
        proxy = urlsplit(getproxies().get(url.scheme, ""))
        through = proxy.hostname if proxy.hostname and not proxy_bypass(host) else None
        first = (through, proxy.port) if through else (host, port)
        # The caller has given up by then: it only ends a thread that is still connecting.
        later = 2 * self._deadline
        if url.scheme == "http":
            connection = HTTPConnection(first[0], first[1], timeout=later)
        else:
            connection = HTTPSConnection(first[0], first[1], timeout=later, context=self._tls)
        if through:
            connection.set_tunnel(host, port)
        return connection


class _Call:
    """One exchange in its thread."""

    def __init__(
        self,
        transport: Transport,
        url: SplitResult,
        method: str,
        body: bytes | None,
        fields: dict[str, str],
    ) -> None:
        self._transport = transport
        self._url = url
        self._method = method
        self._body = body
        self._fields = fields
        self._done = threading.Event()
        self._abandoned = False
        self._connection: HTTPConnection | None = None
        self._answer: Answer | None = None
        self._error: Exception | None = None

    def wait(self, deadline: float, stop: threading.Event) -> Answer:
        """The answer; raises Retry or Stopped."""
        threading.Thread(target=self._run, name="acme-call", daemon=True).start()
        end = time.monotonic() + deadline
        while not self._done.wait(max(0.0, min(_LOOK_AT_STOP, end - time.monotonic()))):
            if stop.is_set():
                self._abandon()
                raise Stopped
            if time.monotonic() >= end:
                self._abandon()
                raise Retry(f"{self._where()}: no complete answer within {deadline:g} s")
        if self._answer is not None:
            return self._answer
        raise Retry(f"{self._where()}: {_in_words(self._error)}") from self._error

    def _where(self) -> str:
        return f"{self._method} {self._url.geturl()}"

    def _abandon(self) -> None:
        self._abandoned = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            # Wakes the read in the other thread; closing alone would not.
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            self._answer = self._exchange()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._error = error
        finally:
            self._done.set()

    def _exchange(self) -> Answer:
        connection, used = self._transport.lease(self._url)
        try:
            return self._exchange_on(connection)
        except (ConnectionError, http.client.RemoteDisconnected):
            connection.close()
            if not used or self._abandoned:
                raise
        # A kept connection that the server had closed. Were the request done already, its nonce
        # would keep it from being done twice.
        return self._exchange_on(self._transport.lease(self._url)[0])

    def _exchange_on(self, connection: HTTPConnection) -> Answer:
        self._connection = connection
        try:
            connection.request(self._method, self._target(), self._body, self._fields)
            response = connection.getresponse()
            with closing(response):
                body = self._read(response)
        except BaseException:
            connection.close()
            raise
        if self._abandoned or response.will_close:
            connection.close()
        else:
            self._transport.give_back(self._url, connection)
        return Answer(response.status, _joined(response), body)

    def _target(self) -> str:
        path = self._url.path or "/"
        return f"{path}?{self._url.query}" if self._url.query else path

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        body = bytearray()
        while chunk := response.read(_CHUNK):
            body += chunk
            if len(body) > LARGEST_ANSWER:
                raise ValueError(f"the answer is larger than {LARGEST_ANSWER} bytes")
            if self._abandoned:
                raise TimeoutError
        if response.length:
            raise http.client.IncompleteRead(bytes(body), response.length)
        return bytes(body)


def _joined(response: http.client.HTTPResponse) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in response.getheaders():
        key = name.lower()
        fields[key] = f"{fields[key]}, {value}" if key in fields else value
    return fields


def _in_words(error: Exception | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer broke off"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
