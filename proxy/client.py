"""What an exchange or a tunnel needs of a client's connection, whatever that is made of.

Law: they know the client by this alone, so tests can be one.
"""

from typing import Protocol

from .engine import Plain
from .errors import ClientError, UpstreamError
from .proxy_protocol import Endpoints
from .upstream import Upstream


class Client(Protocol):
    """A client's connection, as seen by who holds it."""

    def send(self, data: Plain) -> None:
        """Write to the client. A memoryview is longer than `engine.PIECE`; it is not kept."""

    def endpoints(self) -> Endpoints | None:
        """Who has connected to which address, as far as is known."""

    def send_last(self, data: bytes) -> None:
        """Write to the client for the last time."""

    def writable(self) -> bool:
        """Whether the client takes what is written to it."""

    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""

    def hold(self) -> None:
        """Read no more from the client for now."""

    def release(self) -> None:
        """Read from the client again."""

    def wait_until(self, deadline: float | None) -> None:
        """Call the holder's `expired` when the loop's time has passed `deadline`."""

    def exchange_ended(self, *, persist: bool) -> None:
        """The response is complete; `persist`: another request may follow."""

    def exchange_failed(self, error: ClientError | UpstreamError, *, persist: bool) -> None:
        """No response head has been sent: answer with the error."""

    def exchange_aborted(self) -> None:
        """The response broke off: end the connection so that this can be seen."""

    def exchange_switched(self, upstream: Upstream, early: bytes, protocols: list[bytes]) -> None:
        """The upstream sent 101: from now on, bytes; `early` came behind its head."""

    def finish(self) -> None:
        """Say nothing more to the client, and hear it out."""

    def close(self) -> None:
        """End the connection once all is written."""

    def break_off(self) -> None:
        """End the connection once all is written, without the words of a clean end."""
