"""The tree keeps its own laws: who may import whom, how large a room may be, what the docs name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LONGEST_MODULE = 400


def module_of(file: Path) -> str:
    """The dotted name of a module file."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_of(file): file
    for package in ("proxy", "acme_client")
    for file in sorted(ROOT.joinpath(package).rglob("*.py"))
}


ORDER = re.compile(
    r"^## [^\n]*import order\n.*?^```text\n(.*?)^```", re.DOTALL | re.MULTILINE | re.IGNORECASE
)


def import_order() -> list[str]:
    """The modules as the documentation orders them, the lowest first."""
    block = ORDER.search(ROOT.joinpath("docs", "architecture.md").read_text("utf-8"))
    assert block is not None, "docs/architecture.md has a ```text block under 'import order'"
    return [line.split()[0] for line in block[1].splitlines() if line.strip()]


def listed_as(module: str, order: list[str]) -> str | None:
    """The line that a module stands in: its own, or that of its package when that is listed whole.

    A package is listed whole when none of its modules has a line of its own.
    """
    if module in order:
        return module
    package = module.partition(".")[0]
    whole = not any(line.startswith(package + ".") for line in order)
    return package if whole and package in order else None


def imports_of(module: str) -> Iterator[str]:
    """The modules of this project that a module imports, wherever in its text."""
    file = FILES[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (ours for alias in node.names if (ours := _ours(alias.name)))
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            # `from . import worker` names a module, `from .worker import run` does not.
            yield from (
                ours for a in node.names if (ours := _ours(f"{base}.{a.name}") or _ours(base))
            )


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _ours(name: str) -> str | None:
    return name if name in FILES else None


def test_each_module_stands_once_in_the_import_order() -> None:
    order = import_order()
    assert len(order) == len(set(order))


def test_the_import_order_names_existing_modules_only() -> None:
    assert [name for name in import_order() if name not in FILES] == []


def test_no_module_is_missing_from_the_import_order() -> None:
    order = import_order()
    assert [name for name in FILES if listed_as(name, order) is None] == []


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_what_stands_above_it_in_the_order(module: str) -> None:
    order = import_order()
    here = listed_as(module, order)
    assert here is not None
    above = order[: order.index(here) + 1]
    assert {name for name in imports_of(module) if listed_as(name, order) not in above} == set()


@pytest.mark.parametrize("module", [name for name in FILES if name.split(".")[0] == "acme_client"])
def test_acme_client_imports_nothing_from_proxy(module: str) -> None:
    assert {name for name in imports_of(module) if name.split(".")[0] == "proxy"} == set()


@pytest.mark.parametrize("module", FILES)
def test_a_module_fits_into_one_head(module: str) -> None:
    lines = FILES[module].read_text("utf-8").count("\n")
    assert lines <= LONGEST_MODULE


@pytest.mark.parametrize("module", FILES)
def test_a_module_opens_with_what_it_is(module: str) -> None:
    assert ast.get_docstring(ast.parse(FILES[module].read_text("utf-8")))


def promises() -> list[str]:
    """What docs/behaviour.md promises, one item of its lists after the other."""
    text = ROOT.joinpath("docs", "behaviour.md").read_text("utf-8")
    return re.findall(r"^- .*(?:\n  .*)*", text, re.MULTILINE)


def named_in(promise: str) -> list[str]:
    """The tests that a promise names, as pytest does, each file from `tests` on."""
    named = re.findall(r"[\w/]+\.py::\w+(?:::\w+)?", promise)
    return [name.removeprefix("tests/") for name in named]


def test_each_promise_of_the_documentation_names_a_test() -> None:
    assert promises()
    assert [promise for promise in promises() if not named_in(promise)] == []


def test_each_test_that_the_documentation_names_exists() -> None:
    pages = [page.read_text("utf-8") for page in ROOT.joinpath("docs").glob("*.md")]
    named = [test for page in pages for test in named_in(page)]
    assert named
    assert [test for test in named if not _exists(test)] == []


def _exists(test: str) -> bool:
    file, *names = test.split("::")
    path = ROOT.joinpath("tests", file)
    nodes = ast.parse(path.read_text("utf-8")).body if path.exists() else []
    for name in names:
        found = [node for node in nodes if isinstance(node, NAMED) and node.name == name]
        if not found:
            return False
        nodes = found[0].body
    return bool(nodes)


NAMED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


LOOPS = re.compile(r"^(import|from) (asyncio|socket|ssl|OpenSSL)", re.MULTILINE)


def test_the_pure_rooms_meet_no_transport() -> None:
    """What stands in no loop can be tested without one."""
    pure = (
        "head",
        "chunked",
        "body",
        "fields",
        "hop",
        "proxy_protocol",
        "coding",
        "coder",
        "reply",
        "routing",
        "admission",
        "answers",
        "frames",
    )
    for name in pure:
        text = ROOT.joinpath("proxy", f"{name}.py").read_text("utf-8")
        assert not re.search(r"^(import|from) (asyncio|socket|ssl|OpenSSL)", text, re.MULTILINE), (
            name
        )
