"""The package's map: every room is on it, and imports only what stands above it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import acme_client

FOLDER = Path(acme_client.__file__).parent
MAP = re.findall(r"^    (\w+)  +\S", acme_client.__doc__ or "", re.MULTILINE)
ROOMS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def imported(room: str) -> set[str]:
    tree = ast.parse(FOLDER.joinpath(f"{room}.py").read_text("utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    named = {node.module for node in found if node.module}
    return named | {alias.name for node in found if not node.module for alias in node.names}


def test_the_map_shows_every_room_once() -> None:
    assert sorted(MAP) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_stands_above_it(room: str) -> None:
    assert imported(room) - set(MAP[: MAP.index(room)]) == set()


@pytest.mark.parametrize("name", acme_client.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(acme_client, name)


def test_a_name_that_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Manager'"):
        _ = acme_client.Manager
