"""What asyncio neither tells of a socket nor does to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from proxy.sockets import (
    UNSENT,
    descriptor_of,
    hold_little,
    hold_more,
    silent,
    unread_waits,
    write_now,
)
from tests.playbook import Wire


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


# ---- bytes whose place is needed again


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        yield here, there


def test_what_the_kernel_does_not_take_at_once_is_kept_as_it_was(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    here, there = pair
    room, wire, kept = memoryview(bytearray(b"a" * 4_000_000)), Wire(), list[bytes]()
    wire.write = kept.append  # type: ignore[method-assign,assignment]
    write_now(wire, here.fileno(), room)
    room[:] = bytes(len(room))
    here.close()
    taken = b"".join(iter(lambda: there.recv(1 << 20), b""))
    assert taken
    assert taken + b"".join(kept) == b"a" * 4_000_000


def test_what_waits_already_goes_first(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    wire = Wire()
    wire.waiting = 1
    write_now(wire, here.fileno(), memoryview(b"later"))
    here.close()
    assert (wire.take(), there.recv(100)) == (b"later", b"")


def test_that_a_connection_has_failed_is_left_for_its_transport_to_find(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    here, there = pair
    there.close()
    wire = Wire()
    write_now(wire, here.fileno(), memoryview(b"lost"))
    assert wire.take() == b"lost"


def test_nothing_is_written_to_a_connection_that_is_closing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    here, there = pair
    wire = Wire()
    wire.close()
    write_now(wire, here.fileno(), memoryview(b"late"))
    here.close()
    assert there.recv(100) == b""


async def unsent_of(do: Callable[[asyncio.Transport], object]) -> int:
    """How much the kernel may hold of a connection taken at a door that is to hold little."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        hold_little(door)
        with socket.create_connection(door.getsockname()):
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=door.accept()[0])
            do(transport)
            taken = transport.get_extra_info("socket")
            unsent: int = taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            transport.close()
            await asyncio.sleep(0)
    return unsent


def test_the_kernel_is_to_hold_little_of_each_connection_taken_at_a_door() -> None:
    assert asyncio.run(unsent_of(lambda transport: None)) == UNSENT


def test_it_is_to_hold_more_for_a_client_that_reads() -> None:
    assert asyncio.run(unsent_of(hold_more)) > UNSENT
