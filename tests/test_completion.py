"""The completion of shells, by the shells themselves: what the TAB key makes of half a call."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import pytest

from proxy.__main__ import main
from proxy.calls import CALLS
from proxy.completion import script
from tests.programs import PATIENCE, requires

CHECKOUT = Path(__file__).parents[1]
CONFIGURATION = """\
store: store
sites:
  www.example.com: http://127.0.0.1:1
  api.example.com: http://127.0.0.1:1
  own.example.com: {to: http://127.0.0.1:1, tls: internal}
"""
# Stands for hopward: tells how it was called, but does what completion asks of it.
PROGRAM = f"""\
#!/bin/sh
case $1 in
    _hosts) PYTHONPATH='{CHECKOUT}' exec '{sys.executable}' -m proxy "$@" ;;
esac
printf 'called:'; printf ' <%s>' "$@"; echo '.'
"""


class Shell(Protocol):
    """What is called when that is typed, with a TAB behind it."""

    def __call__(self, typed: str) -> list[str]: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a user is in: a configuration, some folders, and hopward on the PATH."""
    place = tmp_path / "here"
    for name in ("bin", "letsencrypt", "run"):
        (place / name).mkdir(parents=True)
    (place / "bin" / "hopward").write_text(PROGRAM)
    (place / "bin" / "hopward").chmod(0o755)
    (place / "hopward.yml").write_text(CONFIGURATION)
    (place / "my file.yml").write_text(CONFIGURATION)
    for shell in ("bash", "zsh", "fish"):
        (place / f"completion.{shell}").write_text(script(shell))
    return place


class Terminal:
    """A shell that believes a person types."""

    def __init__(self, command: str, folder: Path) -> None:
        self._ours, theirs = os.openpty()
        name = os.ttyname(theirs)
        environ = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
        }
        # Whoever leads a session and opens a terminal has it for its own.
        line = f"exec {command} <{name} >{name} 2>&1"
        self._process = subprocess.Popen(
            ["sh", "-c", line], cwd=folder, env=environ, start_new_session=True
        )
        self._said = ""
        self._theirs = theirs

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def hear(self, pattern: str) -> re.Match[str]:
        """What matches `pattern` in what is said from now on."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self._said)):
            assert time.monotonic() < end, self._said
            if select.select([self._ours], [], [], 1)[0]:
                self._said += os.read(self._ours, 65536).decode(errors="replace")
        self._said = self._said[found.end() :]
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)


START = {
    "bash": ("bash --norc --noprofile -i", "PS1='at your'\\ service: ; . ./completion.bash"),
    "zsh": (
        "zsh -f -i",
        "PS1='at your'\\ service: ; autoload -U compinit; compinit -u -D; . ./completion.zsh",
    ),
}
TYPING = [
    pytest.param("bash", marks=requires("bash", "apt-get install bash")),
    pytest.param("zsh", marks=requires("zsh", "apt-get install zsh")),
]


@pytest.fixture(
    params=[*TYPING, pytest.param("fish", marks=requires("fish", "apt-get install fish"))]
)
def shell(request: pytest.FixtureRequest, folder: Path) -> Shell:
    def call(typed: str) -> list[str]:
        if request.param == "fish":
            return _by_fish(typed, folder)
        command, start = START[request.param]
        terminal = Terminal(command, folder)
        try:
            terminal.type(f"{start}\n")
            terminal.hear("at your service:")
            terminal.type(f"{typed}\t")
            terminal.type("\n")
            return re.findall("<(.*?)>", terminal.hear(r"called:(.*?)\.\r?\n")[1])
        finally:
            terminal.close()

    return call


def _by_fish(typed: str, folder: Path) -> list[str]:
    """fish tells what it would put in the place of the last word."""
    environ = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": str(folder)}
    done = subprocess.run(
        ["fish", "--no-config", "-c", f'source completion.fish; complete -C "{typed}"'],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    [offered] = done.stdout.splitlines()
    return [*typed.split()[1:-1], offered.partition("\t")[0]]


def test_a_command_is_completed(shell: Shell) -> None:
    """Also where a folder has its name."""
    assert shell("hopward ru") == ["run"]


def test_an_option_is_completed(shell: Shell) -> None:
    assert shell("hopward run --wor") == ["run", "--workers"]


def test_the_value_of_an_option_is_completed(shell: Shell) -> None:
    assert shell("hopward run --log-level de") == ["run", "--log-level", "debug"]


def test_the_configuration_is_completed_as_a_file(shell: Shell) -> None:
    assert shell("hopward check -c hop") == ["check", "-c", "hopward.yml"]


def test_the_program_to_take_over_from_is_completed(shell: Shell) -> None:
    assert shell("hopward import cert") == ["import", "certbot"]


def test_the_folder_to_take_over_is_completed(shell: Shell) -> None:
    *before, folder = shell("hopward import certbot lets")
    assert [*before, folder.rstrip("/")] == ["import", "certbot", "letsencrypt"]


def test_a_host_is_completed_from_the_usual_configuration(shell: Shell) -> None:
    assert shell("hopward renew ap") == ["renew", "api.example.com"]


def test_a_host_is_completed_from_the_configuration_in_the_call(shell: Shell, folder: Path) -> None:
    (folder / "hopward.yml").rename(folder / "other.yml")
    call = shell("hopward renew -c other.yml api.example.com ww")
    assert call == ["renew", "-c", "other.yml", "api.example.com", "www.example.com"]


@pytest.mark.parametrize("which", TYPING)
def test_a_blank_in_a_files_name_does_not_part_it(which: str, folder: Path) -> None:
    terminal = Terminal(START[which][0], folder)
    try:
        terminal.type(f"{START[which][1]}\n")
        terminal.hear("at your service:")
        terminal.type("hopward check -c my\t\n")
        assert terminal.hear(r"called:(.*?)\.\r?\n")[1] == " <check> <-c> <my file.yml>"
    finally:
        terminal.close()


@pytest.mark.parametrize("which", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_in_the_script(which: str) -> None:
    text = script(which)
    for call in CALLS:
        assert (call.name in text) or not call.group
        for argument in call.takes:
            assert argument.name.lstrip("-") in text or not argument.is_option


def test_hosts_of_a_broken_configuration_are_none_and_no_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "hopward.yml"
    broken.write_text("sites: [")
    assert main(["_hosts", "-c", str(broken)]) == 2
    assert capsys.readouterr() == ("", "")
