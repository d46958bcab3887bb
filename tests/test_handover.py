"""What passes from one program to the next under one process id."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from proxy.handover import Handover, Survivor, trial


class ReplacedError(Exception):
    """What exec would have done."""


def test_a_worker_that_has_just_died_does_not_stop_an_upgrade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has ended its voice, and is still to be reaped."""
    told: list[dict[str, str]] = []

    def execve(_program: str, _arguments: object, environ: dict[str, str]) -> NoReturn:
        told.append(environ)
        raise ReplacedError

    monkeypatch.setattr(os, "execve", execve)
    lifeline = os.pipe()
    survivors = [Survivor("worker", 4711, voice=-1)]
    handover = Handover(lifeline, lifeline[0], lifeline[0], [], survivors)
    with pytest.raises(ReplacedError):
        handover.pass_on()
    os.close(int(told[0]["HOPWARD_HANDOVER"]))
    for descriptor in lifeline:
        os.close(descriptor)


def test_where_no_process_can_be_had_for_the_trial_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*_: object, **__: object) -> NoReturn:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.run", refused)
    trouble = trial(tmp_path / "hopward.yml")
    assert trouble is not None
    assert sys.executable in trouble
    assert "Resource temporarily unavailable" in trouble


def test_a_trial_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("proxy.handover._TRIAL", "import signal; signal.pause()")
    monkeypatch.setattr("proxy.handover._TRIAL_SECONDS", 0.5)
    trouble = trial(tmp_path / "hopward.yml")
    assert trouble is not None
    assert "not done with a trial" in trouble
