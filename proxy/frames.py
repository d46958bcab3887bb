"""Where the WebSocket frames of one direction begin and end (RFC 6455 §5.2). Pure.

Law: it only watches. A tunnel is transparent; the one thing it must know is whether a Close of its
own would stand between two frames or tear one apart.
"""

import secrets
from struct import Struct

_CLOSE = 8
# What a frame without an extended length has at most: 125 bytes, and a head with a mask.
_SHORT = 132
_GOING_AWAY = (1001).to_bytes(2)
_LONG = Struct(">Q")


class Frames:
    """Follows the bytes of one direction. `closed` once a Close frame has passed.

    Only frame heads are looked at: a read costs one step for each frame in it, whatever its size.
    """

    __slots__ = ("_head", "_left", "closed")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.closed = False

    @property
    def between(self) -> bool:
        """Whether no frame is under way."""
        return not self._left and not self._head

    def follow(self, data: bytes | memoryview) -> None:
        """Note that `data` has passed."""
        at = self._left
        size = len(data)
        if at >= size:
            self._left = at - size
            return
        if not at and size < _SHORT and not self._head and _is_whole(data, size):
            self.closed = self.closed or data[0] & 0x0F == _CLOSE
            return
        if self._head:
            data, self._head = self._head + data, b""
            size = len(data)
        while at < size:
            length = _frame_length(data, at)
            if not length:
                self._head, self._left = bytes(data[at:]), 0
                return
            if data[at] & 0x0F == _CLOSE:
                self.closed = True
            at += length
        self._left = at - size

    def rest_of_frame(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` still belong to the frame under way."""
        if not self._head:
            return min(self._left, len(data))
        length = _frame_length(self._head + data, 0)
        return min(length - len(self._head), len(data)) if length else len(data)


def _is_whole(data: bytes | memoryview, size: int) -> bool:
    """Whether it is one short frame: most reads of small messages are."""
    if size < 2:
        return False
    second = data[1]
    return size == ((second & 0x7F) + 6 if second & 0x80 else second + 2) and second & 0x7F < 126


def _frame_length(data: bytes | memoryview, at: int) -> int:
    """The length of the frame that begins at `at`, head included; 0 while that can't be told."""
    left = len(data) - at
    if left < 2:
        return 0
    second = data[at + 1]
    short, mask = second & 0x7F, second >> 7 << 2
    if short < 126:
        return 2 + mask + short
    if short == 126:
        return 4 + mask + (data[at + 2] << 8 | data[at + 3]) if left >= 4 else 0
    return 10 + mask + _LONG.unpack_from(data, at + 2)[0] if left >= 10 else 0


def close_frame(*, masked: bool) -> bytes:
    """Close 1001 'going away'; `masked` as a client must send it, else as a server does."""
    final, length = 0x80 | _CLOSE, len(_GOING_AWAY)
    if not masked:
        return bytes((final, length)) + _GOING_AWAY
    key = secrets.token_bytes(4)
    hidden = bytes(byte ^ mask for byte, mask in zip(_GOING_AWAY, key, strict=False))
    return bytes((final, 0x80 | length)) + key + hidden
