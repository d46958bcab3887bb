"""Whatever would be printed by others is an event: each in a process of its own, as it would be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BEGIN = """
import asyncio, gc, logging, threading, warnings
from proxy.log import Log
from proxy.strays import gather
gather(Log("info"))
"""


def told(program: str) -> list[dict[str, Any]]:
    """The events on stderr of a program that gathers strays."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        timeout=60,
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_warning_is_an_event() -> None:
    [event] = told("warnings.warn('mind the gap')")
    assert (event["level"], event["event"], event["message"]) == (
        "warning",
        "library",
        "mind the gap",
    )


@pytest.mark.parametrize(("say", "level"), [("warning", "warning"), ("error", "error")])
def test_what_a_library_logs_is_an_event(say: str, level: str) -> None:
    [event] = told(f"logging.getLogger('acme.client').{say}('two %s', 'lines\\nof it')")
    assert event.pop("time")
    assert event == {
        "level": level,
        "event": "library",
        "source": "acme.client",
        "message": "two lines\nof it",
    }


def test_what_a_library_says_for_its_authors_is_not_told() -> None:
    assert told("logging.getLogger('asyncio').info('all is well')") == []


FAULTS = {
    "uncaught": "1 / 0",
    "in a thread": "threading.Thread(target=lambda: 1 / 0).start()",
    "in a finalizer": "class A:\n  def __del__(self): 1 / 0\nA()",
    "logged by a library": "try: 1 / 0\nexcept Exception: logging.getLogger('a').exception('x')",
    "a task that nobody awaits": """
async def fails(): 1 / 0
async def main():
    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    del task
    gc.collect()
asyncio.run(main())
""",
}


@pytest.mark.parametrize("program", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_ours_is_one_line_with_its_traceback(program: str) -> None:
    [event] = told(program)
    assert (event["level"], event["event"]) == ("error", "fault")
    assert event["trace"].rstrip().endswith("ZeroDivisionError: division by zero")
    assert event["trace"].startswith("Traceback (most recent call last):\n")
