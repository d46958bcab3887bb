"""Processes of a test's own, for what several of them share."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self


class Fork:
    """A child that does `life` and then waits until it is ended; killed when the `with` ends.

    What `life` returns can be read by `said`.
    """

    def __init__(self, life: Callable[[], int]) -> None:
        self._hear, say = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            with contextlib.suppress(BaseException):
                os.write(say, b"%d\n" % life())
                os.close(say)
                signal.pause()
            os._exit(1)
        os.close(say)
        self._answer: int | None = None

    def said(self) -> int:
        """What the child's life came to, waited for."""
        if self._answer is None:
            with open(self._hear, "rb") as file:
                self._answer = int(file.read())
        return self._answer

    def kill(self) -> None:
        """End it at once."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        if self._answer is None:
            os.close(self._hear)


@contextlib.contextmanager
def forks(count: int, life: Callable[[], int]) -> Iterator[list[Fork]]:
    """Several children that all do the same at the same time."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Fork(life)) for _ in range(count)]
