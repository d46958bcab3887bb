"""The units in deploy/: systemd reads them without a word, and they fit the program's defaults."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from proxy.__main__ import main
from proxy.config.file import load
from tests.programs import requires

DEPLOY = Path(__file__).parents[1] / "deploy"
SERVICE = DEPLOY / "hopward.service"
SOCKETS = {"https": DEPLOY / "hopward.socket", "http": DEPLOY / "hopward-http.socket"}
PROGRAM = "/opt/hopward/bin/hopward"
TOO_EXPOSED = 2.0  # of 10, by systemd's own count
DEFAULTS = load(DEPLOY.parent / "config.example.yml").config
UNITS = {"s": 1, "min": 60}

needs_systemd = requires("systemd-analyze", "apt-get install systemd")


def settings(unit: Path) -> dict[str, list[str]]:
    """What a unit sets, by key; a key that is written again has several values."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit.read_text("utf-8"), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def seconds(text: str) -> float:
    """`45s` and `2min`, as systemd writes them."""
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The units beside a program that is there, wherever it is."""
    program = tmp_path / "hopward"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = [tmp_path / unit.name for unit in (SERVICE, *SOCKETS.values())]
    for unit in units:
        text = DEPLOY.joinpath(unit.name).read_text("utf-8")
        unit.write_text(text.replace(PROGRAM, str(program)), "utf-8")
    return units


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@needs_systemd
def test_systemd_finds_nothing_to_say_against_the_units(installed: list[Path]) -> None:
    done = systemd_analyze("verify", "--man=no", *installed)
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


@needs_systemd
def test_the_service_is_exposed_less_than_2_of_10(installed: list[Path]) -> None:
    done = systemd_analyze("security", "--offline=true", "--no-pager", installed[0])
    figure = re.search(r"Overall exposure level .*: ([\d.]+)", done.stdout)
    assert figure is not None, done.stdout + done.stderr
    assert float(figure[1]) < TOO_EXPOSED


def test_the_service_has_one_capability_only() -> None:
    service = settings(SERVICE)
    assert service["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert service["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]


def test_systemd_waits_longer_than_the_drain() -> None:
    drain = DEFAULTS.timeouts.drain
    assert drain is not None
    assert seconds(settings(SERVICE)["TimeoutStopSec"][0]) >= drain + 10


def test_a_client_and_an_upstream_have_a_descriptor_each() -> None:
    connections = DEFAULTS.limits.connections
    assert connections is not None
    assert int(settings(SERVICE)["LimitNOFILE"][0]) > 2 * connections


@pytest.mark.parametrize("name", SOCKETS)
def test_a_socket_is_the_default_listener_under_its_name(name: str) -> None:
    socket = settings(SOCKETS[name])
    assert socket["FileDescriptorName"] == [name]
    assert socket["Service"] == [SERVICE.name]
    [listener] = getattr(DEFAULTS.listen, name)
    assert socket["ListenStream"] == [str(listener.port)]


def test_the_service_takes_every_socket() -> None:
    assert settings(SERVICE)["Sockets"][0].split() == [unit.name for unit in SOCKETS.values()]


def test_the_store_is_the_state_directory() -> None:
    [state] = settings(SERVICE)["StateDirectory"]
    assert DEFAULTS.store == Path("/var/lib", state)


@pytest.mark.parametrize("key", ["ExecStart"])
def test_what_systemd_calls_is_a_command_of_the_program(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [line] = settings(SERVICE)[key]
    program, command, *arguments = line.split()
    assert (program, arguments) == (PROGRAM, ["-c", "/etc/hopward/hopward.yml"])
    with pytest.raises(SystemExit) as ended:
        main([command, *arguments, "--help"])
    assert (ended.value.code, "usage" in capsys.readouterr().out.lower()) == (0, True)
