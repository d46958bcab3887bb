"""The command line: exit codes, and one clear line where something is wrong."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy import VERSION, __main__, command_line
from proxy.__main__ import main
from proxy.calls import CALLS, EXAMPLES
from proxy.config.file import data_folder
from proxy.local_ca import LocalAuthority

Captured = pytest.CaptureFixture[str]

CHECKOUT = Path(__file__).parents[1]
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


def test_version_names_the_groups_that_are_offered_in_service() -> None:
    """OpenSSL reads its settings once in each process."""
    call = [sys.executable, "-m", "proxy", "version"]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert done.stdout.splitlines()[3] == (
        "key exchange: X25519MLKEM768, SecP256r1MLKEM768, x25519, secp256r1, secp384r1"
    )


# ---- without the service's environment


@pytest.mark.parametrize("call", [["certs"], ["backup", "out.tar.gz"], ["_hosts"], ["renew", "x"]])
def test_a_secret_that_a_command_has_no_use_for_need_not_be_set(
    file: Path, tmp_path: Path, call: list[str], capsys: Captured
) -> None:
    smtp = "smtp: {host: mail.example, from: a@b, to: a@b, password: '${NOWHERE_SET}'}"
    file.write_text(f"{GOOD}store: {tmp_path / 'store'}\nalerts: {{{smtp}}}\n")
    command, *arguments = call
    code = main([command, "-c", str(file), *arguments])
    assert (code, "NOWHERE_SET" in capsys.readouterr().err) == (int(command == "renew"), False)


# ---- trust


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The roots that were to be trusted, by a user with an empty home."""
    roots: list[Path] = []

    def trust(root: Path, **_: object) -> int:
        roots.append(root)
        return 0

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("proxy.trust.trust", trust)
    return roots


def test_trust_finds_the_authority_of_a_service_where_there_is_none_for_development(
    file: Path, tmp_path: Path, trusted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.named_files.store_folder", lambda *_: tmp_path / "service")
    file.write_text(GOOD)
    here, service = data_folder(dict(os.environ)), tmp_path / "service"
    for store in (None, service, here):
        if store is not None:
            LocalAuthority.open(store / "local-ca", now=datetime.now(UTC))
        assert main(["trust", "-c", str(file)]) == 0
    assert trusted == [each / "local-ca" / "root.pem" for each in (here, service, here)]


# ---- calls that make no sense


@pytest.mark.parametrize(
    "arguments",
    [
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
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert re.match(r"hopward( \w+)?: error: .* `hopward( \w+)? --help` tells more$", line)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["relod"], "did you mean 'reload'?"),
        (["--version"], "did you mean 'version'?"),
        (["run", "--worker", "2"], "did you mean '--workers'?"),
        (["restore", "a.tar.gz", "--forse"], "did you mean '--force'?"),
    ],
)
def test_what_is_nearly_right_is_answered_with_what_was_meant(
    arguments: list[str], meant: str, capsys: Captured
) -> None:
    assert refused(arguments) == 2
    assert meant in capsys.readouterr().err


def test_an_option_is_written_in_full(capsys: Captured) -> None:
    """What is short today could stand for two tomorrow, in somebody's script."""
    assert refused(["restore", "--forc", "a.tar.gz"]) == 2


def test_hosts_may_stand_on_both_sides_of_options() -> None:
    options = command_line.read(["renew", "a.example", "-c", "x.yml", "b.example"])
    assert options.hosts == ["a.example", "b.example"]


# ---- help


SHOWN = [call.name for call in CALLS if call.group]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_is_0_and_shows_every_command(arguments: list[str], capsys: Captured) -> None:
    assert refused(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [name for name in SHOWN if f"\n  {name} " not in out] == []


def test_hopward_alone_shows_the_help_but_is_2(capsys: Captured) -> None:
    assert refused(["--help"]) == 0
    shown = capsys.readouterr().out
    assert refused([]) == 2
    assert capsys.readouterr() == ("", shown)


@pytest.mark.parametrize("name", SHOWN)
def test_help_on_a_command_shows_all_it_takes_within_80_columns(
    name: str, capsys: Captured
) -> None:
    assert refused([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert refused(["help", name]) == 0
    assert capsys.readouterr().out == out
    [call] = [call for call in CALLS if call.name == name]
    assert out.startswith(f"usage: hopward {name}")
    assert [each.name for each in call.takes if f"\n  {each.name}" not in out] == []
    assert [line for line in out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    "example",
    [line for call in CALLS for line, _ in call.examples] + [line for line, _ in EXAMPLES],
)
def test_each_example_of_the_help_is_a_call_that_is_understood(example: str) -> None:
    calls = re.findall(r"hopward [^|&>)]*", example)
    assert calls
    for call in calls:
        _, *arguments = shlex.split(call.rstrip('"'))
        assert command_line.read(arguments).call == arguments[0]


def test_every_command_does_something() -> None:
    assert [call.name for call in CALLS if call.name not in __main__.COMMANDS] == []


def loaded_by(code: str) -> set[str]:
    """The modules that are loaded when a program ends."""
    told = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    done = subprocess.run(
        [sys.executable, "-c", told + code],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
    )
    return set(done.stderr.split())


def test_help_loads_nothing_that_serves() -> None:
    """It is asked for by people who wait."""
    loaded = loaded_by("import proxy.__main__ as m; m.main(['--help'])")
    assert "argparse" in loaded
    assert loaded & {"pydantic", "yaml", "cryptography", "OpenSSL", "asyncio", "uvloop"} == set()


@pytest.mark.parametrize("room", ["supervisor", "certificate_commands"])
def test_nobody_waits_for_what_speaks_to_authorities(room: str) -> None:
    """Neither the first client after a start nor who asks for certificates."""
    loaded = loaded_by(f"import proxy.{room}")
    assert "acme_client.store" in loaded
    assert loaded & {"acme_client.issuer", "josepy", "acme", "requests", "h11", "wsproto"} == set()


def test_a_reader_that_leaves_early_is_no_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hopward schema | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert main(["schema"]) == 0
