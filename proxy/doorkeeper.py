"""Verifies passwords beside the event loop, one at a time, and remembers whom it knows.

Law: the loop never waits for a password, and what waits for one is bounded. No password is kept: a
client is known again by a keyed hash of what it said.

A hash takes 50 to 500 ms of a core and up to 256 MiB, so each worker has one thread for them, which
is nice to those that serve. hashlib and bcrypt leave the interpreter to others meanwhile.
"""

import asyncio
import os
import secrets
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from hashlib import blake2b

from .credentials import Credentials, Guard, credentials_of
from .errors import ClientError
from .head import Fields

# How many passwords may wait for the thread: some seconds' worth.
QUEUE = 16
# How long a question may wait, whatever becomes of the thread.
PATIENCE = 10.0
# How many are remembered, and for how long: a page's requests cost one verification, and who was
# told a password has been changed waits no longer than that after a reload, which forgets all.
KNOWN = 4096
KNOWN_SECONDS = 300.0
_RETRY_AFTER = 5
_NICE = 10

Key = tuple[Guard, bytes]


class Question:
    """Whether somebody may come in, while that is being verified; one for all who ask the same."""

    def __init__(self, guard: Guard, work: Future[bool], dropped: Callable[[], object]) -> None:
        self._guard, self._work, self._dropped = guard, work, dropped
        self.admitted = asyncio.wrap_future(work)
        self._waiting = 0

    def awaited_by(self, task: asyncio.Task[None]) -> None:
        """`task` waits for the answer from now on. When all such have ended, the question is
        dropped."""
        self._waiting += 1
        task.add_done_callback(self._left)

    def _left(self, _task: asyncio.Task[None]) -> None:
        self._waiting -= 1
        if not self._waiting and self._work.cancel():
            self._dropped()

    async def answer(self) -> ClientError | None:
        """Why this client may not come in; None if it may."""
        try:
            async with asyncio.timeout(PATIENCE):
                admitted = await asyncio.shield(self.admitted)
        except (TimeoutError, MemoryError):
            return _too_busy()
        if admitted:
            return None
        return _refusal(self._guard, "this user and password are not known here")


class Doorkeeper:
    """One worker's; made after the fork, on its loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "passwords", _be_nice)
        self._loop = asyncio.get_running_loop()
        self._secret = secrets.token_bytes(32)
        self._known: OrderedDict[Key, float] = OrderedDict()
        self._asked: dict[Key, Question] = {}

    def ask(self, guard: Guard, fields: Fields) -> Question | None:
        """Whether a request with these fields may come in: None if its sender is known already.

        Raises ClientError: 401 without readable credentials, 503 when too many wait.
        """
        said = credentials_of(fields)
        if said is None:
            raise _refusal(guard, "a user and its password are needed here")
        digest = blake2b(b"\0".join(said), digest_size=32, key=self._secret).digest()
        key = guard, digest
        if self._known.get(key, 0.0) > self._loop.time():
            return None
        return self._asked.get(key) or self._begin(key, said)

    def _begin(self, key: Key, said: Credentials) -> Question:
        if len(self._asked) >= QUEUE:
            raise _too_busy()
        guard, _ = key
        work = self._thread.submit(guard.admits, said)
        question = Question(guard, work, partial(self._asked.pop, key))
        self._asked[key] = question
        question.admitted.add_done_callback(partial(self._answered, key))
        return question

    def _answered(self, key: Key, admitted: asyncio.Future[bool]) -> None:
        if admitted.cancelled():
            return
        del self._asked[key]
        if admitted.exception() is None and admitted.result():
            self._known[key] = self._loop.time() + KNOWN_SECONDS
            self._known.move_to_end(key)
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)

    def close(self) -> None:
        """Verify no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _refusal(guard: Guard, reason: str) -> ClientError:
    return ClientError(401, reason, realm=guard.realm)


def _too_busy() -> ClientError:
    return ClientError(503, "too many passwords wait to be verified", retry_after=_RETRY_AFTER)


def _be_nice() -> None:
    # On Linux each thread has a priority of its own; elsewhere this would slow the whole worker.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
