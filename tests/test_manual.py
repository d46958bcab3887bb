"""The manual page: equal to the help, and without fault for those who read such pages."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from proxy.calls import CALLS
from proxy.manual import page
from tests.programs import requires

PAGE = Path(__file__).parents[1] / "docs" / "hopward.1"


def test_the_page_is_what_the_table_of_calls_makes() -> None:
    """Otherwise: python -m proxy.manual > docs/hopward.1"""
    assert PAGE.read_text() == page()


def rendered() -> str:
    environ = {**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["man", "--warnings", "-l", str(PAGE)],
        env=environ, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return re.sub(".\b", "", done.stdout)


@requires("man", "apt-get install man-db")
def test_man_shows_the_page_and_warns_of_nothing() -> None:
    assert rendered().count("COMMANDS") == 1


@requires("man", "apt-get install man-db")
def test_every_command_and_option_stands_on_the_page_as_it_is_typed() -> None:
    shown = rendered()
    for call in CALLS:
        assert f"hopward {call.name}" in shown or not call.group
        for argument in call.takes:
            assert argument.name in shown


@requires("mandoc", "apt-get install mandoc")
def test_mandoc_finds_no_fault_with_the_page() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", PAGE], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("mandoc: ")
    # A date would make two pages of one table.
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []
