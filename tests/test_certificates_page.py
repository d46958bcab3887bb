"""docs/certificates.md says what is so: its tests exist, and its waits are those of the policy."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from pathlib import Path

import pytest

from acme_client.renewal import WAITS, Failure

ROOT = Path(__file__).parents[1]
PAGE = ROOT.joinpath("docs", "certificates.md").read_text("utf-8")
SURVIVED = PAGE.partition("## What it survives")[2].partition("\n## ")[0]
# The rows of the table of waits, by how they begin.
ROWS = {
    Failure.UNREACHABLE: "nobody answers",
    Failure.TRANSIENT: "the answer is an error",
    Failure.NAMED: "it names a time",
    Failure.VALIDATION: "the validation fails",
    Failure.UNUSABLE: "the certificate cannot be used",
    Failure.REFUSED: "it refuses the name",
    Failure.STORE: "the disk is full",
    Failure.PREMATURE: "a new certificate is due at once",
}
UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def in_words(span: timedelta) -> str:
    """1 h 40 min, 30 s."""
    seconds, words = int(span.total_seconds()), []
    for unit, size in UNITS:
        number, seconds = divmod(seconds, size)
        words += [f"{number} {unit}"] if number else []
    return " ".join(words) or "0 s"


def test_what_is_survived_is_all_there_each_with_its_test() -> None:
    lines = re.findall(r"^(\d+)\. .*::test_\w+", SURVIVED, re.MULTILINE)
    assert [int(number) for number in lines] == list(range(1, 27))


@pytest.mark.parametrize("named", sorted(set(re.findall(r"tests/[\w/]+\.py::\w+", PAGE))))
def test_each_test_that_is_named_exists(named: str) -> None:
    file, _, function = named.partition("::")
    tree = ast.parse(ROOT.joinpath(file).read_text("utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("failure", Failure)
def test_the_waits_are_those_of_the_policy(failure: Failure) -> None:
    [row] = re.findall(rf"^\| {re.escape(ROWS[failure])}[^|]*\| ([^|]*) \|", PAGE, re.MULTILINE)
    assert ", ".join(map(in_words, WAITS[failure])) in row
