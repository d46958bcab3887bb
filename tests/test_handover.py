"""What passes from one program to the next under one process id."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from proxy.handover import Handover, Survivor


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
