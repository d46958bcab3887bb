"""Autobahn's fuzzing client judges an echo server alike, directly and through the proxy.

The suite was never ported from Python 2.7: its environment is built once, in `.cache/autobahn`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.programs import Program, accepts, free_port, wait_for

HOST = "live.example.com"
SUITE = "autobahntestsuite==0.8.2"
CACHE = Path(__file__).parents[2] / ".cache" / "autobahn"
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*", "12.1.1", "13.1.1"]
# The suite names no host to TLS and resolves what it connects to: both are put right here.
CLIENT = """
import sys
from twisted.internet import reactor, ssl
from twisted.python.filepath import FilePath
root = ssl.Certificate.loadPEM(FilePath(sys.argv.pop()).getContent())
host = sys.argv.pop().decode("ascii")
connect = reactor.connectSSL
options = ssl.optionsForClientTLS(host, trustRoot=root)
reactor.connectSSL = lambda _, port, factory, *rest: connect("127.0.0.1", port, factory, options)
from autobahntestsuite.wstest import run
run()
"""


def _python2() -> str | None:
    own = sorted((Path.home() / ".pyenv" / "versions").glob("2.7*/bin/python2.7"))
    candidates = [*map(str, own), shutil.which("python2.7")]
    return next((each for each in candidates if each and _runs(each)), None)


def _runs(python: str) -> bool:
    # a pyenv shim is there for every version, also for those that are switched off
    return subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0


PYTHON2 = _python2()
pytestmark = [
    # no distribution has packages of it any more, so even CI may be without
    pytest.mark.skipif(PYTHON2 is None, reason="needs python2.7: pyenv install 2.7.18"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def suite() -> Path:
    """The interpreter of an environment in which the suite is installed."""
    python = CACHE / "env" / "bin" / "python"
    ready = CACHE / SUITE
    if not ready.exists():
        assert PYTHON2 is not None
        shutil.rmtree(CACHE, ignore_errors=True)
        tool = CACHE / "virtualenv"
        _run(PYTHON2, "-m", "pip", "install", "-q", "--target", tool, "virtualenv<20.22")
        _run(PYTHON2, "-m", "virtualenv", "-q", CACHE / "env", path=tool)
        _run(python, "-m", "pip", "install", "-q", SUITE)
        ready.touch()
    return python


def _run(*command: str | Path, path: Path | None = None) -> None:
    environ = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port, script = free_port(), Path(__file__).with_name("wsproto_echo.py")
    folder = tmp_path_factory.mktemp("wsproto")
    command = [sys.executable, str(script), str(port)]
    with Program("wsproto", command, folder, until=lambda: accepts(port)):
        yield port


class Fuzzing(Program):
    """A run of the fuzzing client against one URL."""

    def __init__(self, suite: Path, folder: Path, url: str, authority: Authority) -> None:
        folder.mkdir()
        specification = {
            "outdir": str(folder),
            "servers": [{"agent": "echo", "url": url}],
            "cases": CASES,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (folder / "spec.json").write_text(json.dumps(specification))
        mode = ["-m", "fuzzingclient", "-s", str(folder / "spec.json")]
        super().__init__("wstest", [suite, "-c", CLIENT, *mode, HOST, str(authority.pem)], folder)

    def verdicts(self) -> dict[str, tuple[str, str, int | None]]:
        """For each case: how the server behaved, how it closed, with which code."""
        wait_for(lambda: self.process.poll() is not None, 400, "the end of the fuzzing")
        assert self.process.returncode == 0, self.output()
        cases = json.loads((self.folder / "index.json").read_text())["echo"]
        keys = ("behavior", "behaviorClose", "remoteCloseCode")
        return {name: tuple(case[key] for key in keys) for name, case in cases.items()}


def test_the_verdict_on_each_case_is_the_same_behind_the_proxy(
    suite: Path, origin: int, front: Front, authority: Authority, tmp_path: Path
) -> None:
    proxy = front({HOST: f"http://127.0.0.1:{origin}"})
    straight = Fuzzing(suite, tmp_path / "direct", f"ws://127.0.0.1:{origin}", authority)
    through = f"wss://{HOST}:{proxy.https}"
    with straight, Fuzzing(suite, tmp_path / "proxied", through, authority) as behind:
        direct, proxied = straight.verdicts(), behind.verdicts()
    assert len(direct) > 240
    assert {verdict[0] for verdict in direct.values()} <= {"OK", "NON-STRICT", "INFORMATIONAL"}
    assert proxied == direct
