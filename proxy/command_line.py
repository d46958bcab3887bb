"""A call as it was typed -> what was meant, or one line that says what would have been right.

Law: this room reads and explains; it imports nothing that serves, so that help costs nothing.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from textwrap import wrap
from typing import NoReturn

from .calls import CALLS, EXAMPLES, EXITS, FILES, GROUPS, PURPOSE, Argument, Call

_WIDTH = 80
_HELP = ("-h", "--help", "help")
Rows = Sequence[tuple[str, str]]


def read(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of one call; `call` is its name. Raises SystemExit: 0 after help, else 2."""
    if not arguments:
        sys.stderr.write(overview())
        raise SystemExit(2)
    name, *rest = arguments
    if name in _HELP and not rest:
        sys.stdout.write(overview())
        sys.stdout.flush()
        raise SystemExit(0)
    if name in _HELP:
        name, rest = rest[0], ["--help"]
    call = next((call for call in CALLS if call.name == name), None)
    if call is None:
        known = [call.name for call in CALLS if call.group]
        _refuse("hopward", f"there is no command {name!r}{_meant(name, known)}", "hopward --help")
    return _Parser(call).read(rest)


def _meant(typed: str, known: Sequence[str]) -> str:
    close = get_close_matches(typed.lstrip("-"), [each.lstrip("-") for each in known], n=1)
    return "".join(f"; did you mean {each!r}?" for each in known if each.lstrip("-") in close)


def _refuse(program: str, message: str, more: str) -> NoReturn:
    joint = "" if message.endswith("?") else ";"
    sys.stderr.write(f"{program}: error: {message}{joint} `{more}` tells more\n")
    raise SystemExit(2)


class _Parser(argparse.ArgumentParser):
    """argparse as it reads one call, with our own words."""

    def __init__(self, call: Call) -> None:
        # Python before 3.14 colours nothing; with our own help there is nothing to colour.
        super().__init__(prog=f"hopward {call.name}", allow_abbrev=False)
        self._call = call
        self.set_defaults(call=call.name)
        for argument in call.takes:
            self._add(argument)

    def _add(self, argument: Argument) -> None:
        if argument.is_option and not argument.value:
            self.add_argument(argument.name, action="store_true")
            return
        more: dict[str, object] = {"metavar": argument.value or argument.name}
        if argument.is_option:
            more["dest"] = argument.stored or argument.name.lstrip("-").replace("-", "_")
        if argument.many:
            more["nargs"] = "*"
        name = argument.name if argument.is_option else argument.stored
        self.add_argument(
            name,
            type=argument.reads,
            choices=argument.choices or None,
            default=argument.default,
            **more,  # type: ignore[arg-type] # its stubs want each name by itself
        )

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The options; raises SystemExit."""
        # Intermixed: HOST may stand before and behind options.
        options, unknown = self.parse_known_intermixed_args(arguments)
        if unknown:
            known = [each.name for each in self._call.takes if each.is_option]
            self.error(f"{unknown[0]!r} is not known here{_meant(unknown[0], known)}")
        return options

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End, once the help is written: a reader that has left is noticed here."""
        sys.stdout.flush()
        super().exit(status, message)

    def error(self, message: str) -> NoReturn:
        """Refuse the call in one line."""
        _refuse(self.prog, message, f"{self.prog} --help")

    def format_help(self) -> str:
        return explained(self._call)


# ---- help


def overview() -> str:
    """What there is: `hopward --help`."""
    lines = ["usage: hopward COMMAND [OPTION]...", "", PURPOSE]
    for group in GROUPS:
        calls = [(call.name, call.summary) for call in CALLS if call.group == group]
        lines += ["", f"{group}:", *_rows(calls, 12)]
    lines += [*_examples(EXAMPLES), "", "Files:", *_rows(FILES), "", "Exit codes:", *_rows(EXITS)]
    lines += ["", "`hopward COMMAND --help` tells more, with examples."]
    return "\n".join(lines) + "\n"


def explained(call: Call) -> str:
    """What one call does and takes: `hopward COMMAND --help`."""
    lines = [f"usage: {usage(call)}", "", *wrap(sentence(call.summary), _WIDTH)]
    if call.text:
        lines += ["", *wrap(call.text, _WIDTH, break_on_hyphens=False)]
    lines += ["", "Arguments:", *_rows([(label(each), each.text) for each in takes(call)])]
    lines += [*_examples(call.examples), "", "Exit codes:", *_rows(call.exits or EXITS)]
    return "\n".join(lines) + "\n"


def usage(call: Call) -> str:
    """The call in one line, as manuals write it."""
    return " ".join(["hopward", call.name, *map(_in_usage, call.takes)])


def _in_usage(argument: Argument) -> str:
    if argument.is_option:
        return f"[{label(argument)}]"
    return f"[{argument.name}...]" if argument.many else argument.name


def takes(call: Call) -> tuple[Argument, ...]:
    """Its arguments, and what each call takes."""
    return (*call.takes, Argument("--help", "print this"))


def label(argument: Argument) -> str:
    """An option with what stands for its value; an operand as it is."""
    return f"{argument.name} {argument.value}".rstrip()


def sentence(text: str) -> str:
    """A summary as a sentence."""
    return f"{text[0].upper()}{text[1:]}."


def _examples(examples: Rows) -> Iterator[str]:
    if examples:
        yield from ("", "Examples:")
    for call, meaning in examples:
        yield f"  {call}"
        yield from wrap(meaning, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _rows(rows: Rows, least: int = 0) -> Iterator[str]:
    column = max(least, *(len(left) + 4 for left, _ in rows))
    for left, right in rows:
        start = f"  {left}".ljust(column)
        yield from wrap(
            right,
            _WIDTH,
            initial_indent=start,
            subsequent_indent=" " * column,
            break_on_hyphens=False,
            break_long_words=False,
        )
