"""A configuration file -> `Config`, or every problem it has, each with its line and column.

Law: `run` and `check` say the same, for both come through `load`. What pydantic finds is told in
the operator's words: nothing of it but its places and kinds leaves this room.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ..errors import OperatorError
from .document import Document, NotYamlError, Place, Problem
from .model import Config, for_local_use
from .section import UnknownKey
from .units import same_name
from .values import kind_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["ConfigError", "Loaded", "Problem", "load"]

_WITHOUT_DNS = (
    "an authority certifies a wildcard by dns-01 alone: name a program in acme.dns_hook, "
    "or use tls: {cert, key}"
)
# How pydantic marks a place that is a key of a mapping and not its value.
_AT_KEY = "[key]"


class ConfigError(OperatorError):
    """The file cannot be used: all its problems, in the order of the file."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def told(self) -> str:
        """A line for each problem, as editors and other programs read it."""
        return str(self)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration, and what its operator should know."""

    config: Config
    warnings: tuple[Problem, ...]


def load(
    path: Path,
    environ: Mapping[str, str] = os.environ,
    *,
    local: bool = False,
    only: Sequence[str] = (),
) -> Loaded:
    """The configuration in a file; `local`: as it serves on this machine for development.

    `only`: the keys that matter. The others have their defaults, and what stands there may be
    wrong, or of variables that are not set. Raises `ConfigError` with every problem of the file and
    of the files it names.
    """
    without = [key for key in Config.written_keys() if key not in only] if only else []
    document = _read(path, environ, without)
    config, problems = _validate(document, path.parent)
    broken = _broken_references(document, path.parent, local)
    told = _in_order(document.problems, problems, _same_keys(document), broken)
    if config is None or told:
        raise ConfigError(told)
    warnings = [*_expired(document, path.parent, local)]
    if local:
        config = for_local_use(config, data_folder(environ))
    warnings += _wildcards_without_dns(document, config)
    return Loaded(config, tuple(_in_order(warnings)))


def _read(path: Path, environ: Mapping[str, str], without: Sequence[str]) -> Document:
    try:
        return Document.read(path.read_bytes(), str(path), environ, without)
    except OSError as error:
        message = f"the file cannot be read: {error.strerror}"
        raise ConfigError([Problem(str(path), 1, 1, message)]) from None
    except NotYamlError as error:
        raise ConfigError([error.problem]) from None


def _validate(document: Document, folder: Path) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate(document.values, context={"folder": folder}), []
    except ValidationError as error:
        return None, [_told(detail, document) for detail in error.errors() if _is_own(detail)]


def _is_own(detail: "ErrorDetails") -> bool:
    # A default that hangs on a broken key is no problem of its own.
    return detail["type"] != "default_factory_not_called"


def _told(detail: "ErrorDetails", document: Document) -> Problem:
    place, given = detail["loc"], detail["input"]
    if isinstance(given, UnknownKey):
        where = _in(document.written(place[:-1]))
        message = f"unknown key {place[-1]!r}{where}, {given.advice}"
        return document.problem(place, message, at_key=True)
    at_key = place[-1:] == (_AT_KEY,)
    return document.problem(place, _message(detail, document), at_key=at_key)


def _message(detail: "ErrorDetails", document: Document) -> str:
    given, place = detail["input"], detail["loc"]
    match detail["type"]:
        case "value_error":
            return str(detail["ctx"]["error"])
        case "missing" if place == ("sites",):
            return "no 'sites' stand here; write at least one, as in 'www.example.com: URL'"
        case "missing":
            return f"{place[-1]!r} is missing{_in(document.written(place[:-1]))}; write it too"
        case "literal_error":
            return f"{_shown(given)} stands here; write {detail['ctx']['expected']}"
        case "mapping_type" | "dict_type":
            return f"{kind_of(given)} stands here; write 'key: value' lines"
    return f"{kind_of(given)} stands here, which is not known"


def _shown(given: object) -> str:
    return repr(given) if isinstance(given, str) else kind_of(given)


def _in(place: Place) -> str:
    match [part for part in place if isinstance(part, str)]:
        case []:
            return ""
        case ["sites", site]:
            return f" in site {site!r}"
        case ["sites", site, "routes", prefix]:
            return f" in route {prefix!r} of site {site!r}"
        case ["sites", site, *_, last]:
            return f" in {last!r} of site {site!r}"
        case names:
            return f" in {'.'.join(names)!r}"


def _same_keys(document: Document) -> Iterator[Problem]:
    seen: dict[tuple[Place, str], object] = {}
    for place in document.key_places():
        match place:
            case ["sites", str(name)]:
                plain = same_name(name)
            case [*_, "request_headers" | "response_headers", str(name)]:
                plain = name.lower()
            case _:
                continue
        if (first := seen.setdefault((place[:-1], plain), name)) != name:
            yield document.problem(
                place, f"{name!r} is the same as {first!r}; keep one", at_key=True
            )


def _broken_references(document: Document, folder: Path, local: bool) -> Iterator[Problem]:
    # Behind the door: cryptography costs more to import than all else here.
    from .references import broken_references, missing_folders

    found = () if local else broken_references(document.values, folder)
    for place, message in (*found, *missing_folders(document.values, folder)):
        yield document.problem(place, message)


def _expired(document: Document, folder: Path, local: bool) -> Iterator[Problem]:
    from .references import expired_certificates

    found = () if local else expired_certificates(document.values, folder, datetime.now(UTC))
    for place, message in found:
        yield document.problem(place, f"warning: {message}")


def _wildcards_without_dns(document: Document, config: Config) -> Iterator[Problem]:
    for name in _sites(document):
        site = same_name(name)
        if site[:2] == "*." and config.sites[site].tls == "acme" and not config.acme.dns_hook:
            yield document.problem(("sites", name), f"warning: {_WITHOUT_DNS}", at_key=True)


def _sites(document: Document) -> tuple[str, ...]:
    sites = document.values.get("sites") if isinstance(document.values, dict) else None
    return tuple(sites) if isinstance(sites, dict) else ()


def _in_order(*looks: Iterable[Problem]) -> list[Problem]:
    # One mistake is told once, by the look that saw it first. One look may find several at a
    # place: keys that are missing stand nowhere, and are told where their section begins.
    told: dict[Problem, tuple[int, int]] = {}
    for problems in looks:
        before = set(told.values())
        found = {problem: (problem.line, problem.column) for problem in problems}
        told |= {problem: place for problem, place in found.items() if place not in before}
    return sorted(told, key=lambda problem: told[problem])


def data_folder(environ: Mapping[str, str]) -> Path:
    """Where a user's programs keep their own files: the store of local mode."""
    home = Path(environ.get("HOME") or Path.home())
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "hopward"
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "hopward"
