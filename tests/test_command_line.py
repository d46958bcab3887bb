"""The command line: exit codes, and one clear line where something is wrong."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy import VERSION, __main__
from proxy.__main__ import main
from proxy.local_ca import LocalAuthority

Captured = pytest.CaptureFixture[str]

GOOD = "sites: {a.example: {to: http://127.0.0.1:1, tls: internal}}\n"
BAD = "sites: {a.example: nonsense}\nworkerz: 2\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hopward.yml"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(
        __main__, "DEFAULT_FILES", (Path("hopward.yml"), tmp_path / "etc" / "hopward.yml")
    )


def refused(arguments: list[str]) -> int:
    """The exit code of a call that the command line itself refuses."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


# ---- check


def test_check_of_a_good_file_is_0_and_says_nothing(file: Path, capsys: Captured) -> None:
    file.write_text(GOOD)
    assert main(["check", "-c", str(file)]) == 0
    assert capsys.readouterr() == ("", "")


def test_check_of_a_bad_file_is_2_with_a_line_for_each_problem(
    file: Path, capsys: Captured
) -> None:
    file.write_text(BAD)
    assert main(["check", "-c", str(file)]) == 2
    out, problems = capsys.readouterr()
    assert out == ""
    assert [line.rpartition(f"{file}:")[2].split(": ")[0] for line in problems.splitlines()] == [
        "1:20",
        "2:1",
    ]


def test_check_of_a_file_that_is_not_there_is_2_and_one_line(file: Path, capsys: Captured) -> None:
    assert main(["check", "-c", str(file)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{file}:1:1: ")


@pytest.mark.parametrize("content", [b"\xff", b"\x00", b"a: [", b"", b"&a [*a]", b"- 1\n- 2"])
def test_check_of_whatever_bytes_is_2_without_a_traceback(
    file: Path, capsys: Captured, content: bytes
) -> None:
    file.write_bytes(content)
    assert main(["check", "-c", str(file)]) == 2
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith(f"{file}:")


def test_check_tells_of_an_expired_certificate_and_is_0(
    file: Path, tmp_path: Path, capsys: Captured
) -> None:
    """It is served as it is: better than no certificate."""
    past = datetime.now(UTC) - timedelta(days=30)
    pair = LocalAuthority.open(tmp_path / "local-ca", now=past).issue(["a.example"], now=past)
    (tmp_path / "a.pem").write_bytes(pair.certificate)
    (tmp_path / "a.key").write_bytes(pair.key)
    tls = "tls: {cert: a.pem, key: a.key}"
    file.write_text(f"sites: {{a.example: {{to: http://127.0.0.1:1, {tls}}}}}\n")
    assert main(["check", "-c", str(file)]) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{file}:1:")
    assert "warning: " in line


def test_check_starts_and_makes_nothing(file: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    file.write_text(f"{GOOD}store: {store}\n")
    assert main(["check", "-c", str(file)]) == 0
    assert not store.exists()


# ---- which file


@pytest.mark.parametrize("place", ["here/hopward.yml", "etc/hopward.yml"])
def test_without_c_the_usual_places_are_looked_at(
    tmp_path: Path, capsys: Captured, place: str
) -> None:
    default = tmp_path / place
    default.parent.mkdir(exist_ok=True)
    default.write_text(BAD)
    assert main(["check"]) == 2
    assert "hopward.yml:1:20: " in capsys.readouterr().err


def test_the_file_in_this_folder_comes_before_the_systems(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hopward.yml").write_text(BAD)
    Path("hopward.yml").write_text(GOOD)
    assert main(["check"]) == 0


def test_without_any_file_the_first_usual_place_is_named(capsys: Captured) -> None:
    assert main(["check"]) == 2
    assert capsys.readouterr().err.startswith("hopward.yml:1:1: ")


# ---- run, where it cannot start


def test_run_of_a_bad_file_is_2(file: Path, capsys: Captured) -> None:
    file.write_text(BAD)
    assert main(["run", "-c", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"{file}:1:20: ")


def test_run_on_a_port_in_use_is_1_and_one_clear_line(
    file: Path, tmp_path: Path, capsys: Captured
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        listen = f"listen: {{https: '{taken}', http: false, admin: false}}\n"
        file.write_text(f"{GOOD}{listen}store: {tmp_path}\nworkers: 1\n")
        assert main(["run", "-c", str(file), "--log-level", "error"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hopward: cannot listen on {taken}: another program listens there")


# ---- schema and version


def test_schema_prints_the_json_schema_for_editors(capsys: Captured) -> None:
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "sites" in printed["properties"]


def test_version_names_all_that_a_report_of_a_fault_needs(capsys: Captured) -> None:
    assert main(["version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"hopward {VERSION}"
    assert [line.split()[0] for line in lines[1:]] == ["Python", "OpenSSL", "key"]
    assert lines[3].startswith("key exchange: X25519MLKEM768, ")


# ---- calls that make no sense


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["check", "--fly"],
        ["run", "--workers", "0"],
        ["run", "--workers", "many"],
        ["run", "--log-level", "loud"],
        ["check", "-c"],
    ],
)
def test_a_call_that_makes_no_sense_is_2_and_ends_in_one_clear_line(
    arguments: list[str], capsys: Captured
) -> None:
    assert refused(arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("hopward")
    assert "error: " in said[-1]


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["check", "--help"]])
def test_help_is_0(arguments: list[str], capsys: Captured) -> None:
    assert refused(arguments) == 0
    assert capsys.readouterr().out.startswith("usage: hopward")


def test_a_reader_that_leaves_early_is_no_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hopward schema | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert main(["schema"]) == 0
