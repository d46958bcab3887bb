"""Long work in steps, between which others have their turn.

Law: a step is short, however much there is to do. Whoever drives the work decides what comes
between two steps: a worker serves its clients.
"""

from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Yields after each step; returns what has come of the work."""


def at_once(steps: Steps[T]) -> T:
    """What comes of the work, all of it done now."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def gathered(items: Iterable[T], most: int) -> Steps[list[T]]:
    """The items that an iterator makes, at most so many of them in a step."""
    found: list[T] = []
    for item in items:
        if found and not len(found) % most:
            yield
        found.append(item)
    return found
