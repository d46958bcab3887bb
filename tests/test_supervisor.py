"""The supervisor: what it reads again may be anything, and it has no reason to die of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Never

import pytest

from proxy.counts import Oversight
from proxy.log import Log
from proxy.supervisor import Supervisor
from proxy.tally import Tallies
from proxy.tidings import Tidings


def test_a_fault_in_reading_again_is_a_reload_that_failed_and_ends_nobody(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def read() -> Never:
        raise ValueError("embedded null byte")

    log, file = Log("info"), Path("hopward.yml")
    supervisor = Supervisor(read, file, log, local=False)
    supervisor._tidings = Tidings(log, Oversight(Tallies()), file, local=False)
    supervisor._reload()
    event = json.loads(capfd.readouterr().err)
    assert event["event"] == "reload-failed"
    assert event["message"] == "ValueError: embedded null byte"
