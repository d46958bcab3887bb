"""Waiting for descriptors, whatever their numbers."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from proxy.waiting import readable, writable

BEYOND_SELECT = 1500


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends of a pipe, with numbers that select(2) does not take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, BEYOND_SELECT + 2), hard))
    receive, send = os.pipe()
    high = BEYOND_SELECT, BEYOND_SELECT + 1
    os.dup2(receive, high[0])
    os.dup2(send, high[1])
    os.close(receive)
    os.close(send)
    yield high
    os.closerange(high[0], high[1] + 1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_can_be_read_is_named(pipe: tuple[int, int]) -> None:
    receive, send = pipe
    assert readable([receive], 0) == []
    os.write(send, b"x")
    assert readable([receive], None) == [receive]


def test_an_end_can_be_read(pipe: tuple[int, int]) -> None:
    receive, send = pipe
    os.close(send)
    assert readable([receive], None) == [receive]


def test_a_full_pipe_cannot_be_written(pipe: tuple[int, int]) -> None:
    _, send = pipe
    assert writable(send, 0)
    os.set_blocking(send, False)
    while writable(send, 0):
        os.write(send, bytes(4096))
    with pytest.raises(BlockingIOError):
        os.write(send, b"x")
