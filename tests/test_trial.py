"""The program that is installed now, tried: what it says against itself, and that a trial ends."""

from __future__ import annotations

import errno
import os
from typing import NoReturn

import pytest

from proxy.trial import SECONDS, Trial
from tests.programs import wait_for


def outcome(monkeypatch: pytest.MonkeyPatch, program: str) -> str:
    """Of a trial of this program in Python."""
    monkeypatch.setattr("proxy.trial._MAIN", program)
    trial = Trial([], now=0.0)
    end = wait_for(lambda: [said] if (said := trial.outcome(0.0)) is not None else [])
    return end[0]


def test_a_program_that_could_serve_is_told_by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(monkeypatch, "print('hello')") == ""


def test_what_a_program_says_against_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(monkeypatch, "import sys; sys.exit('hopward: no such port')") == "no such port"


def test_one_that_says_nothing_is_told_by_how_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(monkeypatch, "raise SystemExit(3)") == "the new program ended with 3"


def test_a_trial_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.trial._MAIN", "import signal; signal.pause()")
    trial = Trial([], now=0.0)
    assert trial.outcome(SECONDS - 0.1) is None
    assert "not done with a trial" in (trial.outcome(SECONDS) or "")


def test_where_no_process_can_be_had_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object, **__: object) -> NoReturn:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refused)
    before = os.listdir("/dev/fd")
    with pytest.raises(BlockingIOError):
        Trial([], now=0.0)
    assert os.listdir("/dev/fd") == before
