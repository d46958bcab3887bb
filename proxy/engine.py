"""What an engine of TLS is: one connection over memory, ciphertext in and plain bytes out.

Law: an engine knows OpenSSL, and neither sites nor transports.

Rooms serve all connections of a process: the loop reads ciphertext into `ROOM`, and what OpenSSL
makes of much of it, either way, is shown where it lies. Whoever gets a memoryview has it until the
next call; to write it on, there is `sockets.write_now`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from OpenSSL import SSL

# One record holds at most 16 KiB (RFC 8446 §5.1), so a larger read brings no more.
RECORD = 16 * 1024
# One write of a whole upstream read: uvloop reads up to 256 KB, a record adds 22 bytes to 16 KiB.
MOST = 264 * 1024
# OpenSSL keeps for the life of a connection what its memory BIOs once took: 295 KiB after a large
# answer, were it written in one. So it gets two records at a time.
PIECE = 32 * 1024

ROOM_SIZE = 256 * 1024
ROOM = memoryview(bytearray(ROOM_SIZE))
"""Where the loop puts ciphertext for `Engine.receive`, whosever it is."""

PORTION = 256 * 1024
"""What `Engine.seal` takes at a time."""

Plain = bytes | memoryview
"""A memoryview's bytes are there until the next call of any engine."""

NO_MEMORY = "no_memory"
"""The reason of a HandshakeError that is not the client's."""

# The one callback that fails is that of the name.
_REASONS = {"callback_failed": "unrecognized_name"}

Choose = Callable[[str, bytes], SSL.Context | None]
"""The context for a name, lower case and without trailing dot, or None to refuse.

The octets are those of the ClientHello, as they came; the name is "" where none is asked for.
"""


class HandshakeError(Exception):
    """A handshake that failed; `reason` is OpenSSL's own, as a label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Session(NamedTuple):
    """What a handshake agreed on; `group` is "" where there was no key exchange."""

    version: str
    group: str
    resumed: bool


class Engine(Protocol):
    """The server's end of a connection. Made of the context to start on, and what chooses another.

    `ended`: after the client's close_notify. `server_name`: the name asked for by SNI, as `Choose`
    gets it.
    """

    ended: bool
    server_name: str

    def __init__(self, start: SSL.Context, choose: Choose) -> None: ...

    @staticmethod
    def ask_for_names(context: SSL.Context) -> None:
        """Let connections that start on this context be chosen another by the name asked for.

        Without a choice they end with the alert `unrecognized_name` (RFC 6066 §3).
        """

    @staticmethod
    def speak(context: SSL.Context, protocol: bytes) -> None:
        """Answer an offer of protocols by ALPN with this one, or end the handshake (RFC 7301)."""

    def handshake(self, cipher: bytes) -> bool:
        """Take ciphertext from the client; whether the handshake is done with it.

        Raises HandshakeError; then an alert can be taken.
        """

    @property
    def protocol(self) -> bytes:
        """That of ALPN, or b""."""

    def session(self) -> Session:
        """What the handshake agreed on, once it is done."""

    def read(self) -> Plain:
        """The plain bytes that are complete. Raises ConnectionError when the client breaks TLS."""

    def receive(self, size: int) -> Plain:
        """The same after `size` bytes of ciphertext from the client, which lie in ROOM."""

    def write(self, plain: bytes) -> None:
        """Encrypt plain bytes for the client. Raises ConnectionError where nothing can be sent."""

    def seal(self, plain: bytes) -> bytes:
        """The ciphertext for the client, after these plain bytes. Raises as `write` does."""

    def seal_portion(self, plain: memoryview) -> Plain:
        """The same of at most PORTION bytes, for who writes it on at once."""

    def finish(self) -> None:
        """Say close_notify, after the handshake."""

    def take(self) -> bytes:
        """The ciphertext for the client; empty when there is none."""


def plain_name(name: bytes) -> str:
    """A name of SNI as `Choose` gets it."""
    return name.decode("ascii", "replace").lower().removesuffix(".")


def label(reasons: Sequence[str]) -> str:
    """A failure's name, of what OpenSSL says went wrong, the last of it last."""
    if "malloc failure" in reasons:
        return NO_MEMORY
    name = reasons[-1].replace(" ", "_") if reasons else "protocol"
    return _REASONS.get(name, name)
