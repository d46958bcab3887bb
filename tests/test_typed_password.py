"""`hopward hash`: a password from a terminal or a pipe, and what is made of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from proxy.passwords import parse

CHECKOUT = Path(__file__).parents[1]
HASH = [sys.executable, "-m", "proxy", "hash"]


def piped(content: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(HASH, input=content, capture_output=True, timeout=60, cwd=CHECKOUT)


def typed(*lines: bytes) -> tuple[int, bytes, bytes]:
    """Exit code, standard output, and what stood on the terminal."""
    ours, theirs = os.openpty()
    terminal = os.ttyname(theirs)
    # Whoever leads a session and opens a terminal has it for its own.
    command = ["sh", "-c", f'exec "$@" <{terminal}', "sh", *HASH]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True, cwd=CHECKOUT
    )
    shown = b""
    for line in lines:
        while not shown.endswith(b": "):
            shown += os.read(ours, 1024)
        os.write(ours, line + b"\n")
        shown += os.read(ours, 1024)
    out, _ = process.communicate(timeout=60)
    os.close(theirs)
    while True:
        try:
            more = os.read(ours, 1024)
        except OSError:
            break
        shown += more
    os.close(ours)
    return process.returncode, out, shown


def test_a_line_from_a_pipe_is_the_password() -> None:
    done = piped("Grüße 1\nnext line".encode())
    assert (done.returncode, done.stderr) == (0, b"")
    made = parse(done.stdout.decode().rstrip("\n"))
    assert made.matches("Grüße 1".encode())
    assert not made.matches("Grüße 1\nnext line".encode())


def test_a_password_typed_twice_is_hashed_and_never_shown() -> None:
    code, out, shown = typed(b"a secret", b"a secret")
    assert code == 0
    assert b"secret" not in shown
    assert parse(out.decode().rstrip("\n")).matches(b"a secret")


def test_two_passwords_that_differ_are_1_and_one_line() -> None:
    code, out, shown = typed(b"a secret", b"a sceret")
    assert (code, out) == (1, b"")
    assert shown.splitlines()[-1] == b"hopward: the two passwords differ; try again"


def test_no_password_is_1_and_one_line() -> None:
    for nothing in (b"", b"\n", b"\nsecond line"):
        done = piped(nothing)
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.startswith(b"hopward: the password is empty")


def test_a_password_that_is_no_text_is_1_and_one_line() -> None:
    done = piped(b"\xff\xfe\n")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"not UTF-8" in done.stderr


def test_closed_input_is_no_password() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *HASH], capture_output=True, timeout=60, cwd=CHECKOUT
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"hopward: the password is empty")
