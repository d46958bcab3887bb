"""A password as a person types it, or as a program hands it over.

Law: it is never shown, and never an argument, where every process of the machine could read it.
"""

import sys
from getpass import getpass

from .errors import OperatorError


def typed_password() -> str:
    """One line of standard input, asked for twice where that is a terminal.

    Raises OperatorError where there is none.
    """
    # Where standard input is closed, Python has None in its place.
    password = "" if sys.stdin is None else _asked() if sys.stdin.isatty() else _piped()
    if not password:
        raise OperatorError("the password is empty; type one, or hand over a line of it")
    return password


def _asked() -> str:
    # getpass speaks on the terminal itself: standard output is for the hash alone.
    try:
        password = getpass("password: ")
        again = getpass("once more: ")
    except EOFError:
        return ""
    if password != again:
        raise OperatorError("the two passwords differ; try again")
    return password


def _piped() -> str:
    try:
        return sys.stdin.buffer.readline().decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise OperatorError("the password is not UTF-8, which is what browsers send") from None
