"""What asyncio's transports neither tell of a socket nor do to it."""

import array
import asyncio
import fcntl
import os
import select
import socket
import struct
import termios
from contextlib import suppress

UNSENT = 128 * 1024
"""How much the kernel may hold of a connection that it has not sent yet."""
# And of a client that has taken all that waited once: in pieces of 64 KiB a download costs a fifth
# more CPU.
_UNSENT_OF_READERS = 1024 * 1024

_READ = 256 * 1024
# How long a peer may take nothing of what was said to it last: the default of `response_body`.
PATIENCE_SECONDS = 60.0
# Where the kernel writes its answer; one for all, for a worker asks one thing at a time.
_unread = array.array("i", [0])


def unacknowledged(transport: asyncio.WriteTransport) -> int:
    """Bytes written that the peer's kernel has not acknowledged; compare two readings.

    A full write buffer alone does not tell a slow reader from a dead one: the kernel takes more
    only in large steps, at 10 KB/s minutes apart, while this number shrinks with each packet.
    """
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return waiting
    queued = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, queued)
    except OSError:
        return waiting
    return waiting + queued[0]


def hold_little(door: socket.socket) -> None:
    """Let the kernel hold at most UNSENT bytes, not sent yet, of each connection taken here.

    By itself it takes megabytes for a client that does not read them, in packets as small as that
    client has asked for: one read of an origin's kept a worker for 10 ms, and 300 such clients kept
    1.2 GB of the kernel's memory, at whose end all connections of a machine stand still. What is on
    its way does not count, so no client that reads gets its answer slower (tcp(7)).
    """
    with suppress(AttributeError, OSError):
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


def hold_more(transport: asyncio.Transport) -> bool:
    """Let it hold more of this one, whose client reads; costs 4 µs, so once is enough. True."""
    with suppress(AttributeError, OSError):
        transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_OF_READERS
        )
    return True


def unread(transport: asyncio.BaseTransport) -> bytes:
    """What waits in the kernel of a connection whose transport has failed; b"" when nothing does.

    Not to be had of TLS, where it would be ciphertext.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0 or transport.get_extra_info("ssl_object") is not None:
        return b""
    try:
        return os.read(sock.fileno(), _READ)
    except OSError:
        return b""


def silent(transport: asyncio.BaseTransport) -> bool:
    """Whether nothing has come that the transport has not read yet: no bytes, and no end.

    The loop tells of what comes once per round, in any order: a connection may long be closed by
    its peer while another that became readable in the same round is served. Costs 1.5 µs.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    waiting = select.poll()
    waiting.register(sock.fileno(), select.POLLIN)
    return not waiting.poll(0)


def write_now(transport: asyncio.Transport, descriptor: int, data: bytes | memoryview) -> None:
    """Write bytes that must not be kept: what the kernel does not take at once is copied first.

    `descriptor` is that of a transport's socket, or -1 where only the transport can write to it.
    """
    if isinstance(data, bytes):
        transport.write(data)
        return
    if transport.is_closing():
        return
    taken = 0
    if descriptor >= 0 and not transport.get_write_buffer_size():
        # Whatever is wrong with the connection, the transport will find it as well.
        with suppress(OSError):
            taken = os.write(descriptor, data)
    if taken < len(data):
        transport.write(bytes(data[taken:]))


def descriptor_of(transport: asyncio.BaseTransport) -> int:
    """The descriptor of a transport's socket, for as long as the transport is open; -1: none."""
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


def unread_waits(descriptor: int) -> bool:
    """Whether bytes have come that the transport has not read yet; an end alone is none.

    What `silent` tells, but for the end, at a fifth of its cost.
    """
    if descriptor < 0:
        return False
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, _unread)
    except OSError:
        return False
    return _unread[0] > 0


def close_once_taken(transport: asyncio.WriteTransport) -> None:
    """Close when the peer has taken what was written; give it up when it takes nothing for long.

    A transport that is closed waits for its peer without end.
    """
    transport.close()
    _look_after(transport, -1)


def _look_after(transport: asyncio.WriteTransport, before: int) -> None:
    if not transport.get_write_buffer_size():
        return
    left = unacknowledged(transport)
    if left == before:
        transport.abort()
    else:
        asyncio.get_running_loop().call_later(PATIENCE_SECONDS, _look_after, transport, left)


def reset(transport: asyncio.WriteTransport) -> None:
    """End a connection with a TCP reset, so that nobody takes the end for a clean one.

    Without it the kernel sends FIN, and a reader that does not insist on close_notify (Python's
    http.client is one) would take half a body that ends with the connection for all of it.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0 and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
