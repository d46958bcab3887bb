"""What the processes of a configuration are told as they begin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from proxy.config import Config
from proxy.generation import Common, issuer_seat
from proxy.log import Log
from proxy.tally import Tallies
from proxy.worker import Plan


def test_only_the_first_issuer_of_a_start_or_reload_tries_again_what_was_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = list[bool]()
    monkeypatch.setattr("proxy.issuing.run", lambda *_, **ties: wanted.append(ties["wanted"]))
    config = Config.model_validate({"sites": {"a.example": "http://127.0.0.1:1"}})
    plan, common = SimpleNamespace(config=config), SimpleNamespace(log=Log("error"), lifeline=-1)
    seat = issuer_seat(cast("Plan", plan), cast("Common", common), None)
    assert seat is not None
    assert seat.job is not None
    for _ in range(3):
        assert seat.job(Tallies().take(), -1) == 0
        seat.restart(seat.began + 3600)
    assert wanted == [True, False, False]
