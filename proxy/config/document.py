"""A YAML text as plain values, and where in the text each of them stands.

Law: scalars are text, but for null. YAML 1.1, which PyYAML follows, would make a number of
`1:30`, false of `off` and a date of `2001-01-01`; here nothing is guessed, for the key that a
value belongs to knows what it wants. `${NAME}` and `${NAME:-default}` take the environment's
text, in values but not in keys.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.resolver import BaseResolver

# Not where PyYAML was built without libyaml.
if yaml.__with_libyaml__:
    from yaml._yaml import CParser

Place = tuple[str | int, ...]
"""The keys and list indexes that lead from the top to a value."""

_NULLS = ("", "~", "null", "Null", "NULL")
_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_REFERENCE = re.compile(r"(\$?)\$\{([^}]*)(\}?)")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_ADVICE = {
    r"character '\t'": "a tab stands here; indent with spaces",
    "mapping values": "a ': ' stands where no key can be; look for uneven indentation, a ':' "
    "missing on the line above, or text that needs quotes",
    "expected ','": "a ',' or the closing bracket is missing before this",
    "undefined alias": "an alias stands here that no '&name' above defines",
    "expected <block end>": "this line does not fit the ones above it; indent keys of one mapping "
    "alike",
    "could not find expected ':'": "a key without its ':' stands here or on the line above",
    "single document": "a second document begins here; the file must be one document without '---'",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file, and what would be right; lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class NotYamlError(Exception):
    """The text has no structure that could be judged any further."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Loader(yaml.SafeLoader):
    """PyYAML without its guesses: every scalar is text."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - so PyYAML declares it


if yaml.__with_libyaml__:

    class _FastLoader(Composer, CParser, BaseResolver):
        """The same by libyaml: a thousand sites take 32 ms instead of 305 (`hopward check`).

        The nodes are made in Python, for libyaml's own way to make them overflows the stack where
        a text is nested without end.
        """

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            BaseResolver.__init__(self)


def _compose(text: str) -> yaml.Node | None:
    """The nodes of a text; what libyaml refuses, PyYAML judges, and tells in its own words."""
    if yaml.__with_libyaml__:
        with suppress(yaml.YAMLError):
            return _FastLoader(text).get_single_node()
    return _Loader(text).get_single_node()


@dataclass(slots=True)
class Document:
    """The values of one text, the problems seen so far, and the way back to lines and columns."""

    file: str
    root: yaml.Node
    environ: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    values: object = None
    _known: dict[int, object] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)

    @classmethod
    def read(
        cls, raw: bytes, file: str, environ: Mapping[str, str], without: Sequence[str] = ()
    ) -> "Document":
        """The document of a file's bytes, as if these keys did not stand at its top.

        Raises `NotYamlError`.
        """
        try:
            root = _compose(_decode(raw, file))
            if root is None:
                raise NotYamlError(
                    Problem(file, 1, 1, "the file is empty; it begins with 'sites:'")
                )
            if isinstance(root, yaml.MappingNode):
                root.value = [pair for pair in root.value if pair[0].value not in without]
            document = cls(file, root, environ)
            document.values = document._value(root)
        except yaml.reader.ReaderError as error:
            before = raw.decode("utf-8-sig")[: error.position]
            message = f"a control character (U+{error.character:04X}) stands here; remove it"
            raise NotYamlError(_problem_after(before, file, message)) from None
        except yaml.MarkedYAMLError as error:
            raise NotYamlError(_syntax_problem(error, file)) from None
        except RecursionError:
            message = "the file is nested too deeply; no key needs more than six levels"
            raise NotYamlError(Problem(file, 1, 1, message)) from None
        return document

    def problem(self, place: Place, message: str, *, at_key: bool = False) -> Problem:
        """A problem with the value at a place, or as near to it as the text comes."""
        key, node = self._find(place)
        # Of several lines of values the key is what an operator looks for.
        if key is not None and (at_key or not isinstance(node, yaml.ScalarNode) or _is_bare(node)):
            node = key
        return self._problem_at(node, message)

    def written(self, place: Place) -> Place:
        """The part of a place that the text really has."""
        found: list[str | int] = []
        node = self.root
        for part in place:
            if (child := _child(node, part)) is not None:
                found.append(part)
                node = child[1]
        return tuple(found)

    def key_places(self) -> Iterator[Place]:
        """The place of every key, in the order of the text."""
        yield from _keys(self.values, ())

    def value(self, place: Place) -> object:
        """What stands at a place that `key_places` gave."""
        found: Any = self.values
        for part in place:
            found = found[part]
        return found

    def _find(self, place: Place) -> tuple[yaml.Node | None, yaml.Node]:
        key, node = None, self.root
        for part in place:
            if (child := _child(node, part)) is not None:
                key, node = child
        return key, node

    def _value(self, node: yaml.Node) -> object:
        if id(node) in self._open:
            message = "this anchor's alias stands inside it; write the value out"
            raise NotYamlError(self._problem_at(node, message))
        # An alias is its anchor's node again: kept, so that nested aliases cost nothing.
        if id(node) not in self._known:
            self._open.add(id(node))
            self._known[id(node)] = self._new_value(node)
            self._open.discard(id(node))
        return self._known[id(node)]

    def _new_value(self, node: yaml.Node) -> object:
        if node.tag not in _TAGS:
            self._refuse(node, f"a tag, {node.tag}, stands here; write the value without it")
        if isinstance(node, yaml.ScalarNode):
            return self._text(node)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item) for item in node.value]
        return self._mapping(node)

    def _mapping(self, node: yaml.Node) -> dict[str, object]:
        values: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, "a list or mapping stands in place of a key; write a name")
            elif key.value in values:
                first = lines[key.value]
                self._refuse(
                    key, f"{key.value!r} is written twice, first in line {first}; keep one"
                )
            else:
                lines[key.value] = key.start_mark.line + 1
                values[key.value] = self._value(value)
        return values

    def _text(self, node: yaml.ScalarNode) -> str | None:
        text = _REFERENCE.sub(lambda found: self._expand(node, found), node.value)
        return None if not node.style and text in _NULLS else text

    def _expand(self, node: yaml.Node, found: re.Match[str]) -> str:
        escaped, inside, end = found.groups()
        if escaped:
            return found[0][1:]
        variable = _VARIABLE.fullmatch(inside) if end else None
        if variable is None:
            self._refuse(
                node, f"{found[0]!r} names no variable; write ${{NAME}} or ${{NAME:-default}}"
            )
            return ""
        name, default = variable.groups()
        if default is None and name not in self.environ:
            self._refuse(
                node, f"the environment has no {name}; set it, or write ${{{name}:-default}}"
            )
        # As in the shell, ':-' stands in for an empty variable too.
        return self.environ.get(name) or default or ""

    def _refuse(self, node: yaml.Node, message: str) -> None:
        self.problems.append(self._problem_at(node, message))

    def _problem_at(self, node: yaml.Node, message: str) -> Problem:
        mark = node.start_mark
        return Problem(self.file, mark.line + 1, mark.column + 1, message)


def _keys(values: object, place: Place) -> Iterator[Place]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield (*place, key)
            yield from _keys(value, (*place, key))


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(
            ((key, value) for key, value in node.value if getattr(key, "value", None) == part), None
        )
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return None, node.value[part]
    return None


def _is_bare(node: yaml.Node) -> bool:
    return bool(node.start_mark.index == node.end_mark.index)


def _decode(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", "replace")
        message = f"the byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise NotYamlError(_problem_after(before, file, message)) from None


def _problem_after(before: str, file: str, message: str) -> Problem:
    return Problem(file, before.count("\n") + 1, len(before) - before.rfind("\n"), message)


def _syntax_problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    said = error.problem or error.context or "something unreadable stands here"
    said = " ".join(said.split())
    if "single document" in (error.context or ""):
        said = str(error.context)
    advice = next((text for sign, text in _ADVICE.items() if sign in said), said)
    message = f"not YAML: {advice}"
    return (
        Problem(file, mark.line + 1, mark.column + 1, message)
        if mark
        else Problem(file, 1, 1, message)
    )
