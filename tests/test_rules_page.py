"""docs/rules.md names every limit and time-out, and what it names exists and cites the clause."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from proxy.config.model import Limits, Timeouts

TESTS = Path(__file__).parent
PAGE = TESTS.parent.joinpath("docs", "rules.md").read_text("utf-8")
CASES = {file.stem: file for file in TESTS.joinpath("wire").glob("*/*.expect")}
CLAUSE = re.compile(r"RFC \d+ §[\d.]*\d")


def rows(*titles: str) -> list[list[str]]:
    """The cells of each row below the headings with these titles."""
    sections = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    texts = [
        text for title, text in zip(sections[1::2], sections[2::2], strict=True) if title in titles
    ]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def keys(title: str) -> list[str]:
    return [key.strip("`") for key, *_ in rows(title) if key.startswith("`")]


RULES = [row for row in rows("Framing", "Syntax", "Intermediaries") if CLAUSE.search(row[1])]


def witnesses(cell: str) -> tuple[list[str], list[str]]:
    """The cases of the corpus that a cell names, patterns resolved, and the tests."""
    named = re.findall(r"`([^`]+)`", cell)
    patterns = [name for name in named if re.fullmatch(r"(request|response)-[a-z0-9-]+\*?", name)]
    assert [each for each in patterns if not any(fnmatch(case, each) for case in CASES)] == []
    cases = [case for case in CASES if any(fnmatch(case, each) for each in patterns)]
    return cases, [name for name in named if "::" in name]


def docstring(test: str) -> str:
    """What a test of a module says of itself."""
    file, _, name = test.partition("::")
    nodes = ast.parse(TESTS.joinpath(file).read_text("utf-8")).body
    [found] = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == name]
    return ast.get_docstring(found) or ""


def test_each_time_out_stands_on_the_page_with_what_sees_it() -> None:
    assert keys("Time-outs") == list(Timeouts.model_fields)
    assert all("e2e/" in row[2] for row in rows("Time-outs")[1:])


def test_each_limit_stands_on_the_page_with_what_sees_it() -> None:
    assert keys("Limits") == list(Limits.model_fields)
    assert all(any(witnesses(row[2])) for row in rows("Limits")[1:])


@pytest.mark.parametrize("row", RULES, ids=lambda row: re.sub(r"\W+", "-", row[0])[:60])
def test_each_rule_is_seen_by_what_cites_its_clause(row: list[str]) -> None:
    clauses = set(CLAUSE.findall(row[1]))
    cases, tests = witnesses(row[2])
    assert cases or tests
    texts = {case: CASES[case].read_text("utf-8") for case in cases}
    texts |= {test: docstring(test) for test in tests}
    silent = [name for name, text in texts.items() if not clauses & set(CLAUSE.findall(text))]
    assert silent == []


def test_the_page_has_a_row_for_each_rule() -> None:
    assert len(RULES) >= 40
