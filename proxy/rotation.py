"""The contexts on which connections start, one for each day, so that no ticket key lasts longer.

Law: every process forked from the one that made a rotation is on the same context at the same time.

Theory. OpenSSL makes the keys that seal a context's session tickets together with the context, and
pyOpenSSL has no call that sets or replaces them. Workers resume each other's sessions only with
keys that were there before they were forked. So the contexts of the days to come are made ahead, by
the supervisor, and each process goes from one to the next by the system's monotonic clock. What is
made ahead runs out in the end; the supervisor then starts new workers, as for a reload, with more
of it. A process that nobody replaces goes on with contexts of its own: rather unshared than old.
"""

import time
from collections import deque
from collections.abc import Callable

from OpenSSL import SSL

# As long as Go's crypto/tls seals with one key.
DAY_SECONDS = 24 * 3600.0
# 17 KiB and 0.1 ms each; workers have those pages in common.
DAYS_AHEAD = 90
# With fewer, new workers are wanted.
DAYS_LOW = 2


class Rotation:
    """Contexts by `make`, each for one day by `clock` (seconds that never go back)."""

    def __init__(
        self, make: Callable[[], SSL.Context], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._make = make
        self._clock = clock
        self._contexts = deque([make()])
        self._ends = clock() + DAY_SECONDS

    @property
    def current(self) -> SSL.Context:
        """Today's context."""
        if self._clock() >= self._ends:
            self._forget()
        return self._contexts[0]

    @property
    def low(self) -> bool:
        """Whether little is left of what was made ahead."""
        self._forget()
        return len(self._contexts) <= DAYS_LOW

    def refill(self) -> None:
        """Make contexts ahead, for processes that are forked from now on."""
        self._forget()
        while len(self._contexts) < DAYS_AHEAD:
            self._contexts.append(self._make())

    def _forget(self) -> None:
        """Let go of the contexts of days gone by."""
        now = self._clock()
        while self._ends <= now:
            self._ends += DAY_SECONDS
            self._contexts.popleft()
            if not self._contexts:
                self._contexts.append(self._make())
