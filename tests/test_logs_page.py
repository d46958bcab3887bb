"""docs/logs.md names each event there is, and no other; and each field of the access log."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

from acme_client import Event
from proxy.access_log import Entry
from proxy.log import LEVELS
from proxy.seat import Kind

ROOT = Path(__file__).parent.parent
PAGE = ROOT.joinpath("docs", "logs.md").read_text("utf-8")
NAME = re.compile(r"[a-z]+(-[a-z]+)*")


def events_in(tree: ast.Module) -> Iterator[str]:
    """The names of events that a module tells: what it calls a level of a log with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and _tells(node.func):
            yield from _values(node.args[0], tree)


def _tells(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "say"
    return (
        isinstance(function, ast.Attribute)
        and function.attr in LEVELS
        and ast.unparse(function.value).endswith("log")
    )


def _values(node: ast.expr, tree: ast.Module) -> Iterator[str]:
    """What an expression can be: constants, a choice of them, a variable, a kind of process."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _values(node.body, tree)
        yield from _values(node.orelse, tree)
    elif isinstance(node, ast.JoinedStr) and isinstance(node.values[-1], ast.Constant):
        yield from (f"{kind}{node.values[-1].value!s}" for kind in Kind)
    elif isinstance(node, ast.Name):
        for found in ast.walk(tree):
            if isinstance(found, ast.Assign) and ast.unparse(found.targets[0]) == node.id:
                yield from _values(found.value, tree)


def events() -> set[str]:
    files = [*ROOT.joinpath("proxy").glob("*.py"), *ROOT.joinpath("acme_client").glob("*.py")]
    trees = [ast.parse(file.read_text("utf-8")) for file in files]
    told = {name for tree in trees for name in events_in(tree) if NAME.fullmatch(name)}
    return told | set(map(str, Event)) | {"log-recovered"}


def documented() -> set[str]:
    table = PAGE.partition("| event | level |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}


def test_each_event_there_is_stands_on_the_page() -> None:
    assert {"ready", "reloaded", "worker-died", "fault", "issued"} <= events()
    assert events() - documented() == set()


def test_each_event_on_the_page_is_told() -> None:
    assert documented() - events() == set()


def test_each_field_of_the_access_log_stands_on_the_page() -> None:
    table = PAGE.partition("| field | |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(Entry._fields)


def test_the_event_that_the_page_shows_can_be_read() -> None:
    [shown] = re.findall(r"^\{.*\}$", PAGE, re.MULTILINE)
    assert json.loads(shown)["event"] == "ready"
