"""How a connection to one origin is opened: by address, by name, by path, over TLS.

Law: what goes wrong comes out as an UpstreamError, whatever the system calls it.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TypeVar

from .config import Origin
from .errors import NO_RESOURCES, OURS, UpstreamError
from .proxy_protocol import Endpoints, written_header

# Names are asked for again after this long; until there is an answer the last one is in force.
RESOLVE_SECONDS = 5.0
# So long after it was asked a new answer is waited for where there is an old one.
FRESH_ANSWER_SECONDS = 0.5

P = TypeVar("P", bound=asyncio.Protocol)


class Dialer:
    """Opens connections to one origin, each for a protocol of its own.

    `timeout` is in seconds, for all of it: resolving, connecting, TLS; None for no end.
    """

    def __init__(self, origin: Origin, timeout: float | None) -> None:
        self.origin = origin
        self._timeout = timeout
        self._addresses: Sequence[str] = ()
        self._resolve_again = self._asked_at = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._tls: ssl.SSLContext | None = None

    async def dial(self, factory: Callable[[], P], ends: Endpoints | None = None) -> P:
        """Open a connection. Raises UpstreamError: 504 when it takes too long, 503 where this
        machine has no room for it (NO_RESOURCES), else 502.

        `ends`: those of the client's connection for which it is, None for the proxy's own; only an
        origin that wants the PROXY protocol is told.
        """
        version = self.origin.proxy_protocol
        before = b"" if version is None else written_header(version, ends)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._dial(factory, before)
        except TimeoutError:
            raise UpstreamError(504, "connect_timeout") from None

    async def _dial(self, factory: Callable[[], P], before: bytes) -> P:
        loop = asyncio.get_running_loop()
        try:
            if self._tls is None and self.origin.scheme == "https":
                self._tls = _client_tls(self.origin)
            if self.origin.unix is not None:
                return await _dial_path(loop, factory, str(self.origin.unix), before)
            return await self._dial_any(loop, factory, await self._resolve(loop), before)
        except ssl.SSLError as error:
            raise UpstreamError(502, "tls") from error
        except OSError as error:
            if error.errno in OURS:
                raise UpstreamError(503, NO_RESOURCES) from error
            raise UpstreamError(502, "refused") from error

    async def _dial_any(
        self,
        loop: asyncio.AbstractEventLoop,
        factory: Callable[[], P],
        addresses: Sequence[str],
        before: bytes,
    ) -> P:
        last: OSError = OSError("no address")
        for address in addresses:
            try:
                return await self._dial_address(loop, factory, address, before)
            except ssl.SSLError:
                raise
            except OSError as error:
                last = error
        # Whoever stood behind the name may have moved.
        self._resolve_again = 0.0
        raise last

    async def _dial_address(
        self, loop: asyncio.AbstractEventLoop, factory: Callable[[], P], address: str, before: bytes
    ) -> P:
        port, name = self.origin.port, self.origin.host if self._tls else None
        if not before:
            made = loop.create_connection(
                factory, address, port, ssl=self._tls, server_hostname=name
            )
            return (await made)[1]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = await _say_first(loop, family, (address, port), before)
        made = loop.create_connection(factory, sock=sock, ssl=self._tls, server_hostname=name)
        return (await made)[1]

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> Sequence[str]:
        if _is_address(self.origin.host):
            return (self.origin.host,)
        if self._asking is None and loop.time() >= self._resolve_again:
            self._asked_at = loop.time()
            self._asking = loop.create_task(self._ask(loop))
        if self._asking is not None:
            # Never cancelled: it is all connections' that are opened meanwhile.
            left = self._asked_at + FRESH_ANSWER_SECONDS - loop.time()
            await asyncio.wait((self._asking,), timeout=max(left, 0) if self._addresses else None)
        if not self._addresses:
            raise UpstreamError(502, "unresolved")
        return self._addresses

    async def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask for the name's addresses, one question at a time: a loop has two threads for the
        questions of all origins, and one that nobody answers keeps its thread for many seconds."""
        try:
            found = await loop.getaddrinfo(self.origin.host, self.origin.port, type=1)
            self._addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        except OSError:
            pass
        finally:
            self._asking = None
        if self._addresses:
            self._resolve_again = loop.time() + RESOLVE_SECONDS


async def _dial_path(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], P], path: str, before: bytes
) -> P:
    if not before:
        return (await loop.create_unix_connection(factory, path))[1]
    sock = await _say_first(loop, socket.AF_UNIX, path, before)
    return (await loop.create_unix_connection(factory, sock=sock))[1]


async def _say_first(
    loop: asyncio.AbstractEventLoop, family: int, place: str | tuple[str, int], before: bytes
) -> socket.socket:
    """A connected socket on which `before` has been sent: ahead of TLS, and of any protocol."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, place)
        await loop.sock_sendall(sock, before)
    except BaseException:
        sock.close()
        raise
    return sock


def _client_tls(origin: Origin) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(origin.ca) if origin.ca else None)
    except (FileNotFoundError, PermissionError) as error:
        # Nobody can be verified by it; the next connection looks for it again.
        raise UpstreamError(502, "tls") from error
    if not origin.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
