"""What can go wrong, named by whose fault it is.

Foreign exceptions are translated into these at the edge of the room that met them, never deeper.
"""

import errno

OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""The numbers of an OSError that are the lack of this process or machine, nobody else's fault."""


class ClientError(Exception):
    """The client's fault: answered with `status` and `reason`, which may be shown to it.

    `retry_after`: after how many seconds it may try again. `realm`: for what it needs a password.
    `allowed`: the methods that are served instead, where those are fewer than usual.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        *,
        retry_after: int | None = None,
        realm: str | None = None,
        allowed: bytes | None = None,
    ) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        self.realm = realm
        self.allowed = allowed


class UpstreamError(Exception):
    """The upstream's fault: answered with `status` while no response head has been sent on.

    `reason` is a short label for logs and metrics; the client never sees it, because it would
    tell of what stands behind the proxy.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


NO_RESOURCES = "no_resources"
"""The reason of an UpstreamError where it is this machine that has no descriptor or memory for
another connection: it says nothing of the origin."""

AS_WHO = "do it as the user that hopward runs as, or as root"


class OperatorError(Exception):
    """What whoever runs hopward can mend: told in one line, never with a traceback."""

    exit_code = 1

    def told(self) -> str:
        """The words for stderr."""
        return f"hopward: {self}"


class StartError(OperatorError):
    """The proxy cannot start: a port is taken, a key cannot be read."""


def in_words(error: Exception) -> str:
    """An error in one line of a log; a fault of ours, which has no words for operators, by kind."""
    known = isinstance(error, OperatorError | OSError)
    return str(error) if known else f"{type(error).__name__}: {error}"
