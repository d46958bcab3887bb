"""What has come on a connection that nobody has read yet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from proxy.sockets import descriptor_of, silent, unread_waits


async def told(do: Callable[[socket.socket], object]) -> tuple[bool, bool]:
    """(unread_waits, silent) of a connection whose peer has done that, before it is read."""
    ours, theirs = socket.socketpair()
    with theirs:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        transport.pause_reading()
        do(theirs)
        seen = unread_waits(descriptor_of(transport)), silent(transport)
        transport.close()
        await asyncio.sleep(0)
    return seen


@pytest.mark.parametrize(
    ("do", "seen"),
    [
        (lambda peer: None, (False, True)),
        (lambda peer: peer.send(b"x"), (True, False)),
        (lambda peer: peer.shutdown(socket.SHUT_WR), (False, False)),
    ],
    ids=["nothing", "bytes", "an end"],
)
def test_what_waits_in_the_kernel_is_told(
    do: Callable[[socket.socket], object], seen: tuple[bool, bool]
) -> None:
    assert asyncio.run(told(do)) == seen
