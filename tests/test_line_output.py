"""Lines for what may be full, slow or gone: nobody waits, and nothing is lost without a word."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import StartError
from proxy.line_output import PIECE, LineOutput, pieces, try_out
from tests.programs import wait_for

PATIENCE = 30.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            try:
                os.close(end)
            except OSError as error:
                assert error.errno == errno.EBADF  # noqa: PT017 - a test has closed it itself


def test_lines_are_written_in_the_order_they_were_put(file: Path) -> None:
    output = LineOutput(file)
    for number in range(1000):
        output.put(b"%d\n" % number)
    assert output.close(PATIENCE) == 0
    assert file.read_bytes() == b"".join(b"%d\n" % number for number in range(1000))
    assert (output.written, output.lost, output.error) == (1000, 0, None)


def test_a_file_goes_on_where_it_ended_and_others_may_not_read_it(file: Path) -> None:
    for line in (b"one\n", b"two\n"):
        output = LineOutput(file)
        output.put(line)
        output.close(PATIENCE)
    assert file.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(file.stat().st_mode) & 0o137 == 0


def test_after_reopening_lines_go_to_the_file_of_that_name(file: Path) -> None:
    output = LineOutput(file)
    output.put(b"before\n")
    wait_for(lambda: output.written == 1)
    moved = file.rename(file.with_suffix(".1"))
    output.put(b"meanwhile\n")
    output.reopen()
    output.put(b"after\n")
    output.close(PATIENCE)
    assert moved.read_bytes() == b"before\nmeanwhile\n"
    assert file.read_bytes() == b"after\n"


def test_a_file_that_was_removed_is_made_anew_soon(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.line_output.LOOK_SECONDS", 0.0)
    output = LineOutput(file)
    output.put(b"before\n")
    wait_for(lambda: output.written == 1)
    file.unlink()
    output.put(b"after\n")
    output.close(PATIENCE)
    assert file.read_bytes() == b"after\n"


def test_where_a_file_cannot_be_reopened_the_old_one_is_written_on(file: Path) -> None:
    output = LineOutput(file)
    output.put(b"before\n")
    wait_for(lambda: output.written == 1)
    moved = file.rename(file.with_suffix(".1"))
    file.mkdir()
    output.reopen()
    output.put(b"after\n")
    output.close(PATIENCE)
    assert moved.read_bytes() == b"before\nafter\n"
    assert output.lost == 0


def test_who_puts_lines_never_waits_for_a_reader() -> None:
    with pipe() as (reader, writer):
        output = LineOutput(writer, most_waiting=1_000_000)
        for _ in range(3000):
            output.put(b"x" * 999 + b"\n")
        assert output.lost > 1900
        os.close(reader)
        assert output.close(PATIENCE) == 0
    assert output.lost + output.written == 3000


def test_what_waits_for_nobody_is_counted_at_the_end() -> None:
    with pipe() as (reader, writer):
        output = LineOutput(writer)
        output.put(b"x" * 99 + b"\n" + b"y" * 200_000 + b"\n" + b"z\n")
        wait_for(lambda: output.written == 1)
        unwritten = output.close(0.01)
        assert unwritten == 2
        os.close(reader)
        output.close(PATIENCE)


def test_where_a_pipe_was_made_not_to_block_lines_wait_for_its_reader() -> None:
    with pipe() as (reader, writer):
        os.set_blocking(writer, False)
        output = LineOutput(writer)
        lines = b"".join(b"%099d\n" % number for number in range(3000))
        output.put(lines)
        read = b""
        while len(read) < len(lines):
            read += os.read(reader, 65536)
        output.close(PATIENCE)
    assert read == lines
    assert output.lost == 0


def test_it_goes_on_when_it_works_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.line_output.LOOK_SECONDS", 0.0)
    folder = file.parent / "away"
    output = LineOutput(folder / "access.log")
    output.put(b"lost\n")
    wait_for(lambda: output.lost == 1)
    assert output.error == "No such file or directory"
    folder.mkdir()
    output.put(b"written\n")
    output.close(PATIENCE)
    assert (folder / "access.log").read_bytes() == b"written\n"
    assert (output.written, output.lost) == (1, 1)


def test_a_full_disk_is_an_error_in_words() -> None:
    output = LineOutput(Path("/dev/full"))
    output.put(b"one\ntwo\n")
    output.close(PATIENCE)
    assert (output.written, output.lost) == (0, 2)
    assert output.error == "No space left on device"


def test_a_reader_that_left_is_an_error_in_words() -> None:
    with pipe() as (reader, writer):
        os.close(reader)
        output = LineOutput(writer)
        output.put(b"one\n")
        output.close(PATIENCE)
    assert (output.lost, output.error) == (1, "Broken pipe")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Room for so many bytes in a file, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_was_cut_short_does_not_run_into_the_next(file: Path) -> None:
    with files_of_at_most(10):
        output = LineOutput(file)
        output.put(b"whole\ncut short\nnever begun\n")
        wait_for(lambda: output.lost == 2)
    output.put(b"next\n")
    output.close(PATIENCE)
    assert file.read_bytes() == b"whole\ncut \nnext\n"
    assert (output.written, output.lost) == (2, 2)


WRITER = """
import os, sys
from proxy.line_output import LineOutput
output = LineOutput(1)
for number in range(400):
    output.put(b"%s %0{}d\\n" % (sys.argv[1].encode(), number))
assert output.close(30) == 0 and output.lost == 0
"""


@pytest.mark.parametrize("kind", ["pipe", "socket", "file"])
def test_lines_of_several_processes_never_run_into_each_other(kind: str, file: Path) -> None:
    whole = PIECE - 3  # with the letter, the blank and the end a line is as long as a pipe takes
    command = [sys.executable, "-c", WRITER.format(whole)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    reader, writer = _ends(kind, file)
    with reader, writer:
        writers = [
            subprocess.Popen([*command, name], stdout=writer, env=environ) for name in "abcd"
        ]
        writer.close()
        if kind == "file":
            assert [each.wait(60) for each in writers] == [0] * 4
        lines = reader.read().splitlines()
        assert [each.wait(60) for each in writers] == [0] * 4
    for name in "abcd":
        own = [line for line in lines if line.startswith(name.encode())]
        assert own == [b"%b %0*d" % (name.encode(), whole, number) for number in range(400)]
    assert len(lines) == 1600


def _ends(kind: str, file: Path) -> tuple[IO[bytes], IO[bytes]]:
    if kind == "pipe":
        reader, writer = os.pipe()
        return os.fdopen(reader, "rb"), os.fdopen(writer, "wb")
    if kind == "socket":
        ours, theirs = socket.socketpair()
        with ours, theirs:
            return os.fdopen(os.dup(ours.fileno()), "rb"), os.fdopen(os.dup(theirs.fileno()), "wb")
    file.touch()
    return file.open("rb"), file.open("ab")


@given(st.lists(st.integers(0, 30).map(lambda size: b"x" * size + b"\n")))
def test_pieces_are_whole_lines_and_as_long_as_may_be(lines: list[bytes]) -> None:
    whole = b"".join(lines)
    cut = list(pieces(whole, 20))
    assert b"".join(cut) == whole
    assert all(piece.endswith(b"\n") for piece in cut)
    assert all(len(piece) <= 20 or piece.count(b"\n") == 1 for piece in cut)


def test_a_folder_that_is_missing_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        StartError, match=r"access log .*/logs/a\.log .* there is no folder .*/logs$"
    ):
        try_out(tmp_path / "logs" / "a.log")


def test_a_pipe_that_nobody_reads_is_one_clear_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StartError, match="cannot be written: nobody reads this pipe"):
        try_out(tmp_path / "fifo")
