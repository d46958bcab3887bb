"""Counters that outlive the process that counts."""

from __future__ import annotations

import os

import pytest

from proxy.tally import Tally


def test_everything_begins_at_zero() -> None:
    assert dict(Tally([("a", "success"), ("a", "failure")]).items()) == {
        ("a", "success"): 0,
        ("a", "failure"): 0,
    }


def test_what_a_child_counted_is_known_after_its_end() -> None:
    tally = Tally([("a",), ("b",)])
    child = os.fork()
    if not child:
        tally.add(("b",))
        tally.add(("b",))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert dict(tally.items()) == {("a",): 0, ("b",): 2}


def test_a_key_that_was_not_there_from_the_start_is_an_error() -> None:
    with pytest.raises(KeyError):
        Tally([]).add(("a",))
