"""The manual page, docs/hopward.1: `python -m proxy.manual > docs/hopward.1`.

Law: it says what the help says, for both are made from one table. It is written in the man(7)
macros that groff and mandoc read alike, plain ASCII, without a date, so that the same table
always makes the same page.
"""

import re
import sys
from collections.abc import Iterator, Sequence

from .calls import CALLS, EXAMPLES, EXITS, FILES, PURPOSE, SIGNALS, Argument, Call
from .command_line import label, sentence

_ENVIRONMENT = (
    ("HOME, XDG_DATA_HOME", "where the store of --local is: hopward in the data folder"),
    ("NOTIFY_SOCKET, LISTEN_FDS", "set by systemd: who is told of readiness; sockets to serve on"),
)
_MORE = (
    "hopward schema | less: every key of the configuration.",
    "The pages configuration, certificates and behaviour in the folder docs of the source.",
)


def page() -> str:
    """The whole page."""
    lines = ['.TH HOPWARD 1 "" hopward "User Commands"', *_name(), *_synopsis()]
    lines += [".SH DESCRIPTION", *_prose(PURPOSE)]
    lines += _prose("Where no -c FILE is given, the configuration is looked for under FILES.")
    lines += [".SH COMMANDS", *(line for call in _shown() for line in _call(call))]
    lines += [".SH EXAMPLES", *_examples(EXAMPLES), ".SH FILES", *_terms(FILES)]
    lines += [".SH SIGNALS", *_prose("To the process that hopward run starts:"), *_terms(SIGNALS)]
    lines += [".SH ENVIRONMENT", *_terms(_ENVIRONMENT)]
    lines += [".SH EXIT STATUS", *_terms(EXITS)]
    lines += [".SH SEE ALSO", *(line for each in _MORE for line in [".P", _text(each)])]
    return "\n".join(_without_idle_breaks(lines)) + "\n"


def _without_idle_breaks(lines: Sequence[str]) -> Iterator[str]:
    # A heading breaks the line by itself, before and behind.
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        heading = before if line == ".P" else after if line == ".br" else ""
        if not heading.startswith((".SH", ".SS")):
            yield line


def _shown() -> Iterator[Call]:
    return (call for call in CALLS if call.group)


def _name() -> Iterator[str]:
    purpose = PURPOSE.partition(":")[0]
    yield from (".SH NAME", rf"hopward \- {purpose[0].lower()}{purpose[1:]}")


def _synopsis() -> Iterator[str]:
    yield ".SH SYNOPSIS"
    for call in _shown():
        arguments = " ".join(map(_in_synopsis, call.takes))
        yield rf".B hopward {call.name}"
        if arguments:
            yield arguments
        yield ".br"


def _in_synopsis(argument: Argument) -> str:
    if not argument.is_option:
        name = rf"\fI{_text(argument.name)}\fR"
        return rf"[{name}\|.\|.\|.]" if argument.many else name
    value = rf" \fI{_text(argument.value)}\fR" if argument.value else ""
    return rf"[\fB{_text(argument.name)}\fR{value}]"


def _call(call: Call) -> Iterator[str]:
    yield f".SS {call.name}"
    yield from _prose(sentence(call.summary))
    if call.text:
        yield from _prose(call.text)
    yield from _terms([(label(each), each.text) for each in call.takes])
    yield from _examples(call.examples)
    if call.exits:
        yield from _prose("Exit codes:")
        yield from _terms(call.exits)


def _prose(text: str) -> tuple[str, str]:
    return ".P", _text(text)


def _terms(terms: Sequence[tuple[str, str]]) -> Iterator[str]:
    for term, meaning in terms:
        yield from (".TP", rf".B {_text(term)}", _text(meaning))


def _examples(examples: Sequence[tuple[str, str]]) -> Iterator[str]:
    for call, meaning in examples:
        yield from (".P", _text(f"{sentence(meaning)[:-1]}:"))
        yield from (".P", ".RS 4", ".nf", _text(call), ".fi", ".RE")


def _text(text: str) -> str:
    """As roff reads it: nothing of it is a request, and a dash is the one that can be copied."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga")
    text = text.replace("'", r"\(aq").replace("~", r"\(ti").replace("^", r"\(ha")
    text = re.sub(r"\\\(ga(.*?)\\\(ga", r"\\fB\1\\fR", text)
    return rf"\&{text}" if text.startswith(".") else text


if __name__ == "__main__":
    sys.stdout.write(page())
