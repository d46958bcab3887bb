"""Each call of the command line with what people get wrong: one clear line, and the exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import requires

CHECKOUT = Path(__file__).parents[2]
SITES = "sites: {www.example.com: http://127.0.0.1:1}\n"
LISTEN = "listen: {https: '127.0.0.1:0', http: false, admin: false}\n"
READ = ("run", "reload", "check", "certs", "renew", "rehearse", "trust", "backup", "import")
REST = {"backup": ["out.tar.gz"], "import": ["certbot", "."]}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Configurations, each with something that is not as it should be."""
    (tmp_path / "good.yml").write_text(f"{SITES}{LISTEN}store: store\n")
    (tmp_path / "broken.yml").write_text("sites: [")
    (tmp_path / "secret.yml").write_text(SITES)
    (tmp_path / "closed.yml").write_text(f"{SITES}{LISTEN}store: closed/store\n")
    (tmp_path / "no_folder.yml").write_text(f"{SITES}{LISTEN}store: good.yml\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "closed").mkdir()
    (tmp_path / "secret.yml").chmod(0)
    (tmp_path / "closed").chmod(0)
    yield tmp_path
    (tmp_path / "closed").chmod(0o700)


def call(
    folder: Path, *arguments: str, privileged: bool = True, streams: str = ""
) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines on stderr; `streams` as a shell redirects them."""
    # root reads every file, but not without its capabilities
    wrap = [] if privileged or os.geteuid() else ["setpriv", "--bounding-set=-all"]
    command = [*wrap, sys.executable, "-m", "proxy", *arguments]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr.splitlines()


# ---- the configuration


@pytest.mark.parametrize(
    ("command", "file", "why"),
    [
        *((command, "nowhere.yml", "No such file or directory") for command in READ),
        ("run", "folder", "Is a directory"),
        ("reload", "broken.yml", "not YAML"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_2_and_its_place(
    folder: Path, command: str, file: str, why: str
) -> None:
    code, out, [line] = call(folder, command, "-c", file, *REST.get(command, []))
    assert (code, out) == (2, "")
    assert re.match(rf"{re.escape(file)}:\d+:\d+: .*{why}", line)


@requires("setpriv", "apt-get install util-linux")
def test_a_configuration_that_may_not_be_read_is_2_and_named(folder: Path) -> None:
    code, out, [line] = call(folder, "check", "-c", "secret.yml", privileged=False)
    assert (code, out) == (2, "")
    assert line == "secret.yml:1:1: the file cannot be read: Permission denied"


@pytest.mark.parametrize("command", ["run", "reload", "check", "certs"])
def test_without_any_configuration_both_usual_places_are_named(folder: Path, command: str) -> None:
    code, out, [line] = call(folder / "folder", command, *REST.get(command, []))
    assert (code, out) == (2, "")
    assert line.startswith("hopward.yml:1:1: there is no such file, nor /etc/hopward/hopward.yml;")


# ---- the store


@requires("setpriv", "apt-get install util-linux")
@pytest.mark.parametrize("command", ["certs", "reload", "renew", "backup", "trust"])
def test_a_store_that_may_not_be_entered_is_1_and_named(folder: Path, command: str) -> None:
    arguments = [command, "-c", "closed.yml", *REST.get(command, [])]
    code, out, [line] = call(folder, *arguments, privileged=False)
    assert (code, out) == (1, "")
    assert re.match(r"hopward: .*closed/store.*[Pp]ermission denied", line)


@pytest.mark.parametrize("command", ["certs", "reload", "renew", "backup", "trust"])
def test_a_store_that_is_no_folder_is_1_and_named(folder: Path, command: str) -> None:
    code, out, [line] = call(folder, command, "-c", "no_folder.yml", *REST.get(command, []))
    assert (code, out) == (1, "")
    assert re.match(
        r"hopward: .*good\.yml.*[Nn]ot a directory|hopward: .*good\.yml: File exists", line
    )


# ---- what a command is about


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["renew", "-c", "good.yml", "w.example.com"], "w.example.com is no site with `tls: acme`"),
        (["rehearse", "-c", "good.yml", "w.example.com"], "those are: www.example.com"),
        (["backup", "-c", "good.yml", "nowhere/out.tar.gz"], "nowhere/out.tar.gz cannot be writt"),
        (["backup", "-c", "good.yml", "folder"], "folder cannot be written: Is a directory"),
        (["backup", "-c", "good.yml", "good.yml"], "good.yml is the configuration; name another"),
        (["restore", "-c", "new.yml", "nowhere.tar.gz"], "nowhere.tar.gz: No such file or direct"),
        (["restore", "-c", "new.yml", "good.yml"], "good.yml is no whole .tar.gz"),
        (["restore", "-c", "new.yml", "folder"], "folder: Is a directory"),
        (["import", "-c", "good.yml", "certbot", "nowhere"], "nowhere is no folder of certbot's"),
        (["import", "-c", "good.yml", "caddy", "folder"], "folder is no data folder of Caddy's"),
        (["import", "-c", "good.yml", "pingoo", "good.yml"], "good.yml"),
        (["trust", "-c", "good.yml"], "`hopward run --local` makes it"),
        (["reload", "-c", "good.yml"], "no running hopward was found"),
    ],
)
def test_what_cannot_be_done_is_1_and_one_line_that_says_why(
    folder: Path, arguments: list[str], said: str
) -> None:
    code, out, [line] = call(folder, *arguments)
    assert (code, out) == (1, "")
    assert line.startswith("hopward: ")
    assert said in line


def test_an_authority_that_does_not_answer_is_1_in_its_own_words(folder: Path) -> None:
    code, out, [line] = call(
        folder, "rehearse", "-c", "good.yml", "--directory", "https://127.0.0.1:1/directory"
    )
    assert (code, out) == (1, "")
    assert line.startswith("www.example.com: issuance: GET https://127.0.0.1:1/directory: ")


def test_a_store_that_a_rehearsal_makes_is_its_owners_alone(folder: Path) -> None:
    call(folder, "rehearse", "-c", "good.yml", "--directory", "https://127.0.0.1:1/directory")
    assert (folder / "store").stat().st_mode & 0o777 == 0o700


@requires("setpriv", "apt-get install util-linux")
def test_a_place_that_may_not_be_written_is_1_and_named_as_it_was_given(folder: Path) -> None:
    (folder / "good.yml").write_text(f"{SITES}store: {folder / 'store'}\n")
    assert call(folder, "backup", "-c", "good.yml", "out.tar.gz")[0] == 0
    (folder / "folder").chmod(0o555)
    arguments = ["restore", "-c", "folder/new.yml", "out.tar.gz"]
    code, out, [line] = call(folder, *arguments, privileged=False)
    assert (code, out, line) == (1, "", "hopward: folder/new.yml: Permission denied")


# ---- the streams


PRINTS = [["version"], ["schema"], ["--help"], ["certs", "-c", "good.yml"], ["completion", "bash"]]


@pytest.mark.parametrize("arguments", PRINTS)
def test_nobody_who_reads_is_no_error(folder: Path, arguments: list[str]) -> None:
    assert call(folder, *arguments, streams=">&-") == (0, "", [])
    assert call(folder, *arguments, streams="| true") == (0, "", [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full: Linux has it")
@pytest.mark.parametrize("arguments", PRINTS)
def test_output_that_finds_no_room_is_1_and_one_line(folder: Path, arguments: list[str]) -> None:
    code, _, [line] = call(folder, *arguments, streams=">/dev/full")
    assert (code, line) == (1, "hopward: No space left on device")


def test_with_all_streams_closed_the_exit_code_still_tells(folder: Path) -> None:
    assert call(folder, "check", "-c", "good.yml", streams="<&- >&- 2>&-")[0] == 0
    assert call(folder, "check", "-c", "broken.yml", streams="<&- >&- 2>&-")[0] == 2
    assert call(folder, "renew", "-c", "good.yml", "x", streams="<&- >&- 2>&-")[0] == 1
