"""How fast each end of a dialogue sends and takes."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from itertools import cycle

from OpenSSL import SSL

from tests.e2e.wire.client import Client
from tests.message_stream import Stream
from tests.scripted_origin import Call
from tests.tls_client import TLSClient

MIB = 1 << 20
BLOCK = bytes(16384)
# A connection that takes nothing for as long as this has stalled.
STALL = 0.2


def fill(connection: Client | Call, block: bytes = BLOCK) -> int:
    """Send `block` after `block` until the other end takes no more; the bytes that were sent."""
    if isinstance(connection, Call):
        return _fill_socket(connection, block)
    assert isinstance(connection.wire, TLSClient)
    return _fill_tls(connection.wire, block)


def _fill_socket(call: Call, block: bytes) -> int:
    sent, rest = 0, cycle([block])
    piece = memoryview(next(rest))
    while select.select([], [call.socket], [], STALL)[1]:
        taken = call.socket.send(piece)
        sent += taken
        piece = piece[taken:] or memoryview(next(rest))
    return sent


def _fill_tls(client: TLSClient, block: bytes) -> int:
    """A record that began must end: the last block counts although it still waits."""
    sent = 0
    client.socket.setblocking(False)
    try:
        while True:
            sent += client.tls.send(block)
    except SSL.WantWriteError:
        if not select.select([], [client.socket], [], STALL)[1]:
            return sent
    finally:
        client.socket.setblocking(True)
    return sent + _fill_tls(client, block)


def take(stream: Stream, size: int) -> int:
    """Read `size` bytes and forget them; the number that came."""
    left = size - len(stream.ahead)
    del stream.ahead[:size]
    while left > 0:
        stream.exactly(min(left, MIB))
        left -= min(left, MIB)
    return size


def steadily(rounds: int, pause: float) -> Iterator[int]:
    """The pace of one who is slow but never stops: `pause` seconds before each round."""
    for number in range(rounds):
        time.sleep(pause)
        yield number
