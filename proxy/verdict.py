"""What becomes of an exchange whose upstream failed. Pure: one table.

Law: once the response's head has been sent on, a failure is seen as one; and nothing is asked for
twice that must not be.
"""

from enum import Enum, auto

# RFC 9110 §9.2.2. TRACE never gets here.
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))


class Verdict(Enum):
    """What becomes of the exchange."""

    RETRY_ONCE = auto()
    ANSWER = auto()
    ABORT = auto()


# (response head sent to the client?, safe to repeat?)
VERDICTS = {
    (False, True): Verdict.RETRY_ONCE,
    (False, False): Verdict.ANSWER,
    (True, True): Verdict.ABORT,
    (True, False): Verdict.ABORT,
}
