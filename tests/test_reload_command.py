"""`hopward reload`: exit codes and words, whatever the running proxy answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy import reload_command
from proxy.__main__ import main
from proxy.errors import OperatorError
from proxy.reload_command import PATIENCE, reload
from proxy.running import Found, find
from tests.programs import requires, wait_for
from tests.test_running import CHECKOUT, standing_in

Captured = pytest.CaptureFixture[str]
SITE = "sites: {a.example: {to: http://127.0.0.1:1, tls: internal}}\n"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def file(tmp_path: Path, store: Path) -> Path:
    path = tmp_path / "hopward.yml"
    path.write_text(f"{SITE}store: {store}\n")
    return path


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of local use, in a home of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "hopward"


def without_privileges() -> list[str]:
    return ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []


def test_a_proxy_that_took_its_file_is_0(store: Path, file: Path, capsys: Captured) -> None:
    with standing_in(store, file, "success") as proxy:
        assert main(["reload", "-c", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out == f"process {proxy.pid} serves by {file} as it is now\n"
    assert err == ""


def test_a_proxy_that_refused_its_file_is_2_with_its_words(
    store: Path, file: Path, capsys: Captured
) -> None:
    with standing_in(store, file, "failure:x:1:1: no\nx:2:1: no"):
        assert main(["reload", "-c", str(file)]) == 2
    assert capsys.readouterr() == ("", "x:1:1: no\nx:2:1: no\n")


def test_each_reload_waits_for_its_own_answer(store: Path, file: Path) -> None:
    with standing_in(store, file, "failure:no", "success", "failure:no"):
        codes = [main(["reload", "-c", str(file)]) for _ in range(3)]
    assert codes == [2, 0, 2]


def test_a_bad_file_is_2_with_every_problem_and_the_proxy_is_not_asked(
    store: Path, file: Path, capsys: Captured
) -> None:
    with standing_in(store, file, "end") as proxy:
        file.write_text(f"{file.read_text()}workerz: 1\nlimitz: 2\n")
        assert main(["reload", "-c", str(file)]) == 2
        assert proxy.poll() is None
    assert [line.split(": ")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"{file}:3:1",
        f"{file}:4:1",
    ]


def test_a_certificate_that_is_missing_keeps_the_proxy_from_being_asked(
    store: Path, file: Path, capsys: Captured
) -> None:
    """Local use would do without it, but this proxy is not in local use."""
    with standing_in(store, file, "end") as proxy:
        tls = "tls: {cert: gone.pem, key: gone.key}"
        file.write_text(f"store: {store}\nsites: {{a.example: {{to: http://a, {tls}}}}}\n")
        assert main(["reload", "-c", str(file)]) == 2
        assert proxy.poll() is None
    assert "gone.pem" in capsys.readouterr().err


def test_a_proxy_in_local_use_is_found_on_its_store(data: Path, file: Path) -> None:
    file.write_text("sites: {a.example: {to: http://a, tls: {cert: no.pem, key: no.key}}}\n")
    with standing_in(data, file, "success", local=True):
        assert main(["reload", "-c", str(file)]) == 0


def test_where_none_runs_it_is_1_and_one_line_that_names_the_store(
    store: Path, file: Path, capsys: Captured
) -> None:
    assert main(["reload", "-c", str(file)]) == 1
    assert capsys.readouterr().err == (
        f"hopward: no running hopward was found on {store}; "
        "where `store` is what has changed, restart hopward\n"
    )


def test_both_stores_are_named_where_local_use_has_another(
    data: Path, file: Path, capsys: Captured
) -> None:
    file.write_text(SITE)
    assert main(["reload", "-c", str(file)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("hopward: no running hopward was found on /var/lib/hopward")
    assert f", nor on {data};" in line


def test_a_proxy_that_was_killed_is_not_signalled(
    store: Path, file: Path, capsys: Captured
) -> None:
    with standing_in(store, file) as proxy:
        proxy.kill()
        proxy.wait()
        assert main(["reload", "-c", str(file)]) == 1
    assert "no running hopward" in capsys.readouterr().err


def test_a_proxy_that_serves_by_another_file_is_1_and_named(
    store: Path, file: Path, tmp_path: Path, capsys: Captured
) -> None:
    other = tmp_path / "other.yml"
    with standing_in(store, other, "end") as proxy:
        assert main(["reload", "-c", str(file)]) == 1
        assert proxy.poll() is None
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(f"name that one: hopward reload -c {other}")


def test_a_link_to_its_file_is_its_file(store: Path, file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yml"
    link.symlink_to(file)
    with standing_in(store, link, "success"):
        assert main(["reload", "-c", str(file)]) == 0


def test_a_proxy_that_ends_meanwhile_is_1_and_one_line(
    store: Path, file: Path, capsys: Captured
) -> None:
    with standing_in(store, file, "end") as proxy:
        assert main(["reload", "-c", str(file)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"hopward: process {proxy.pid} has ended before it answered"


def test_a_proxy_that_does_not_answer_is_waited_for_for_a_minute(store: Path, file: Path) -> None:
    waited: list[float] = []
    with (
        standing_in(store, file, "silence"),
        pytest.raises(OperatorError, match="has not answered within 60 s"),
    ):
        reload(file, wait=waited.append)
    assert sum(waited) == pytest.approx(PATIENCE)


def test_the_end_of_a_reload_that_began_before_is_no_answer(store: Path, file: Path) -> None:
    """That one may have read the file before it was changed."""

    def until_it_has_ended(_seconds: float) -> None:
        wait_for(lambda: (found := find(store)) and found.record.result == "success")

    with (
        standing_in(store, file, "former"),
        pytest.raises(OperatorError, match="has not answered"),
    ):
        reload(file, wait=until_it_has_ended)


def test_a_proxy_in_a_container_is_1_and_told(
    store: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """The kernel tells process 0 of one whose id means nothing here; 0 would be our own group."""

    def out_of_sight(place: Path) -> Found | None:
        found = find(place)
        return found and Found(0, found.record)

    monkeypatch.setattr(reload_command, "find", out_of_sight)
    with standing_in(store, file, "end") as proxy:
        assert main(["reload", "-c", str(file)]) == 1
        assert proxy.poll() is None
    assert "runs in a container of its own" in capsys.readouterr().err


def test_no_permission_to_signal_is_1_and_says_who_may(
    store: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def refuse(pid: int, number: int) -> None:
        assert (pid, number) == (proxy.pid, signal.SIGHUP)
        raise PermissionError

    with standing_in(store, file) as proxy, monkeypatch.context() as patch:
        patch.setattr("os.kill", refuse)
        assert main(["reload", "-c", str(file)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        f"hopward: no permission to signal process {proxy.pid}; "
        "do it as the user that hopward runs as, or as root"
    )


@requires("setpriv", "apt-get install util-linux")
def test_no_permission_to_look_into_the_store_is_1_and_says_who_may(
    store: Path, file: Path
) -> None:
    with standing_in(store, file, "end") as proxy:
        (store / "running.lock").chmod(0)
        done = subprocess.run(
            [*without_privileges(), sys.executable, "-m", "proxy", "reload", "-c", file],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert proxy.poll() is None
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "permission denied: do it as the user that hopward runs as, or as root" in line


def test_warnings_are_told_as_by_check(store: Path, file: Path, capsys: Captured) -> None:
    warned = "sites: {'*.example.com': http://127.0.0.1:1}\n"
    file.write_text(f"{warned}store: {store}\n")
    with standing_in(store, file, "success"):
        assert main(["reload", "-c", str(file)]) == 0
    assert "warning: " in capsys.readouterr().err
