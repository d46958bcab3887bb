"""The listening sockets, bound before any worker begins and held while workers come and go.

Law: each worker has sockets of its own (SO_REUSEPORT), so that the kernel spreads connections
evenly, and the supervisor holds them too: what waits in the queue of a worker that died is served
by the next. Only where one worker after the other dies young do its doors rest.
"""

import errno
import socket
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .config import Address, UnixPath
from .errors import StartError

# Linux cuts it to net.core.somaxconn, 4096 by default since 5.4.
BACKLOG = 4096


class Doors(NamedTuple):
    """The listening sockets that one worker takes connections from."""

    https: Sequence[socket.socket] = ()
    http: Sequence[socket.socket] = ()
    admin: Sequence[socket.socket] = ()

    def close(self) -> None:
        """Listen no more, as far as this process is concerned."""
        for door in (*self.https, *self.http, *self.admin):
            door.close()

    def rest(self, but: Container[socket.socket]) -> None:
        """Leave new clients to the sockets of others, until somebody listens here again.

        Who waits in the queue is reset. `but`: sockets that others have as well. Linux takes a
        listening socket that is shut down out of its group and keeps its address (HAProxy pauses
        its own likewise); elsewhere nothing happens. There is but one admin listener: it waits.
        """
        for door in (*self.https, *self.http):
            # Shut down once more, it would give all its later connections an end at once.
            if door not in but and door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                with suppress(OSError):
                    door.shutdown(socket.SHUT_RD)


def open_doors(
    address: Address,
    count: int,
    *,
    among: Sequence[Address] = (),
    beside: Sequence[socket.socket] = (),
    ours: Sequence[socket.socket] = (),
) -> list[socket.socket]:
    """That many sockets on one address. Raises StartError naming the address.

    Port 0 lets the kernel choose, one port for all. `among`: all addresses that the configuration
    names, `beside`: the sockets that are open on this one already, `ours`: all that are open.
    """
    opened: list[socket.socket] = []
    try:
        port = beside[0].getsockname()[1] if beside else _probe(address, among)
        while len(opened) < count:
            opened.append(_listen(address._replace(port=port), among))
    except OSError as error:
        for sock in opened:
            sock.close()
        why = _why(error, address, ours)
        raise StartError(f"cannot listen on {show(address)}: {why}") from error
    return opened


def usable(addresses: Sequence[Address]) -> Sequence[Address]:
    """The addresses as this machine has them, so that the defaults work in any container."""
    return addresses if _ipv6_works() else _without_ipv6(addresses)


def open_admin_door(
    place: Address | UnixPath, ours: Sequence[socket.socket] = ()
) -> list[socket.socket]:
    """The one socket of the admin listener; `ours` as in `open_doors`. Raises StartError."""
    if isinstance(place, Address):
        return open_doors(place, 1, ours=ours)
    sock = socket.socket(socket.AF_UNIX)
    try:
        _make_room(place.path)
        sock.bind(str(place.path))
        # Who may connect to a unix socket may write to it.
        place.path.chmod(0o660)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise StartError(f"cannot listen on unix:{place.path}: {_in_words(error)}") from error
    sock.setblocking(False)
    return [sock]


def _make_room(path: Path) -> None:
    """Remove the socket of a process that is gone; raises OSError where somebody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            # So does Linux answer at any other file too.
            if path.is_socket():
                path.unlink()
                return
            raise OSError(errno.EEXIST, "a file that is no socket stands there") from None
    raise OSError(errno.EADDRINUSE, "another program listens there")


def _in_words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def show(address: Address) -> str:
    """An address as it is written in the configuration."""
    return (
        f"[{address.host}]:{address.port}"
        if ":" in address.host
        else f"{address.host}:{address.port}"
    )


def name_of(sock: socket.socket) -> str:
    """The address a socket is bound to, as it is written in the configuration."""
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return show(Address(host, port))


def _ipv6_works() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _meets(sock: socket.socket, address: Address) -> bool:
    """Whether the two want connections of the same clients."""
    if sock.family == socket.AF_UNIX:
        return False
    own = Address(*sock.getsockname()[:2])
    return own.takes_in(address, ()) or address.takes_in(own, ())


def _without_ipv6(addresses: Sequence[Address]) -> list[Address]:
    kept = [each._replace(host="0.0.0.0") if each.host == "::" else each for each in addresses]
    return [each for each in dict.fromkeys(kept) if ":" not in each.host] or list(addresses)


def _probe(address: Address, addresses: Sequence[Address]) -> int:
    """The port, free for us alone: with SO_REUSEPORT a second hopward would share it unnoticed."""
    with _bind(address, addresses, shared=False) as sock:
        sock.listen(1)
        return int(sock.getsockname()[1])


def _listen(address: Address, addresses: Sequence[Address]) -> socket.socket:
    sock = _bind(address, addresses, shared=True)
    sock.listen(BACKLOG)
    return sock


def _bind(address: Address, addresses: Sequence[Address], *, shared: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sock.family == socket.AF_INET6:
            alone = Address("0.0.0.0", address.port) in addresses
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(alone))
        sock.bind(address)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _why(error: OSError, address: Address, ours: Sequence[socket.socket]) -> str:
    if error.errno == errno.EADDRINUSE:
        own = next((sock for sock in ours if _meets(sock, address)), None)
        if own is None:
            return "another program listens there; stop it or choose another port"
        return (
            f"hopward itself listens on {name_of(own)} by the rules in force; restart it, or "
            "reload without that address first"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"no permission for port {address.port}; give the program CAP_NET_BIND_SERVICE, "
            "or listen on a port above 1023"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return _in_words(error)
