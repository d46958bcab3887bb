"""Waiting that ends when it is told to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from acme_client.patience import set_by


@pytest.fixture
def number() -> Iterator[signal.Signals]:
    """A signal that a test may handle."""
    before = signal.getsignal(signal.SIGUSR1)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_never_sets_in_the_thread_that_may_wait(number: signal.Signals) -> None:
    """That thread may hold the lock which setting takes."""
    setters: list[int] = []

    class Stop(threading.Event):
        def set(self) -> None:
            setters.append(threading.get_ident())
            super().set()

    stop = Stop()
    set_by(stop, number)
    signal.raise_signal(number)
    assert stop.wait(30)
    assert setters != [threading.get_ident()]
