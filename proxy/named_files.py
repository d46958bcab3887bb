"""The files that a configuration names, and the folder of its store.

Law: this room looks at what stands written, not at a valid `Config`: a backup has to be put back
also where a variable of the environment is not set yet that has nothing to do with files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .config.document import Document, NotYamlError, Place
from .config.model import Config


class NamingError(Exception):
    """A path cannot be known: no YAML, or a variable that is not set; with line and column."""


def read(content: bytes, file: Path) -> Document:
    """What stands in a configuration of these bytes, `file` by name. Raises NamingError."""
    try:
        return Document.read(content, str(file), os.environ)
    except NotYamlError as error:
        raise NamingError(str(error)) from error


def named_files(document: Document, folder: Path) -> dict[Place, Path]:
    """Every file that the configuration names, by its place there. Raises NamingError."""
    found = {}
    for place, written in _paths_in(document.values):
        if isinstance(written, str):
            _check_variables(document, place)
            found[place] = _located(written, folder)
    return found


def _paths_in(values: object) -> Iterator[tuple[Place, object]]:
    yield ("acme", "ca_bundle"), _at(_at(values, "acme"), "ca_bundle")
    for host, site in _items(_at(values, "sites")):
        for name in ("cert", "key"):
            yield ("sites", host, "tls", name), _at(_at(site, "tls"), name)
        yield from _authorities_in(site, ("sites", host))
        for prefix, route in _items(_at(site, "routes")):
            yield from _authorities_in(route, ("sites", host, "routes", prefix))


def _authorities_in(route: object, place: Place) -> Iterator[tuple[Place, object]]:
    servers = route if isinstance(route, list) else _at(route, "to")
    inside = place if servers is route else (*place, "to")
    if isinstance(servers, dict):
        yield (*inside, "ca"), _at(servers, "ca")
    for number, server in enumerate(servers if isinstance(servers, list) else ()):
        yield (*inside, number, "ca"), _at(server, "ca")


def _check_variables(document: Document, place: Place) -> None:
    """Raise NamingError when the environment lacks what the value at `place` is made of."""
    here = document.problem(place, "")
    for problem in document.problems:
        if (problem.line, problem.column) == (here.line, here.column):
            raise NamingError(str(problem))


def store_folder(document: Document, folder: Path) -> Path:
    """The folder of the store, of a configuration in `folder`. Raises NamingError."""
    written = _at(document.values, "store")
    if isinstance(written, str):
        _check_variables(document, ("store",))
        return _located(written, folder)
    return Path(str(Config.model_fields["store"].default))


def _located(written: str, folder: Path) -> Path:
    # While the folder is still to be made, the system would not find its `..`.
    return Path(os.path.normpath(folder.resolve() / written))


def _items(values: object) -> Iterator[tuple[str, object]]:
    if isinstance(values, dict):
        yield from values.items()


def _at(values: object, key: str) -> object:
    return values.get(key) if isinstance(values, dict) else None
