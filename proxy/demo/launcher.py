"""`make run`: the proxy on the example file, with a demo backend wherever no real one answers.

Three processes: this one, which finds out who answers and shows the URLs; one with the demo
backends; and `hopward run --local` itself, exactly as a user starts it. Law: both end when this
one does, however that happens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ..config import Config, Origin, local_names
from ..config.file import ConfigError, load
from .backends import kind_suiting
from .http import Place, is_loopback

PATIENCE = 1.0  # seconds for the one try to connect to an origin
LONGEST_LINE = 1 << 20
_READY = re.compile(rb'\bevent=ready\b|"event":\s*"ready"')


class Upstream(NamedTuple):
    """One origin of a site, and whether somebody answers there."""

    site: str
    place: Place
    answers: bool
    replaceable: bool
    """A demo could stand in: the place is on this machine and spoken to in plain HTTP."""


async def run(file: Path) -> int:
    """Serves the file in local mode until told to stop; returns the exit code."""
    try:
        config = load(file, local=True).config
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    upstreams = await survey(config)
    async with demo_backends(vacant(upstreams)) as backends:
        stories = {site: story(site, upstreams, backends.problems) for site in config.sites}
        return await run_proxy(file, backends, announcement(config, stories))


# ---- who answers


async def survey(config: Config) -> list[Upstream]:
    """Tries every origin of the configuration once, all at the same time."""
    found = [
        (name, origin)
        for name, site in config.sites.items()
        for route in (site, *site.routes.values())
        for origin in route.to
    ]
    return list(await asyncio.gather(*(_try(name, origin) for name, origin in found)))


async def _try(site: str, origin: Origin) -> Upstream:
    place = Place(origin.host, origin.port, str(origin.unix) if origin.unix else None)
    here = bool(place.unix) or is_loopback(place.host)
    return Upstream(site, place, await _answers(place), here and origin.scheme == "http")


async def _answers(place: Place) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            if place.unix:
                _, writer = await asyncio.open_unix_connection(place.unix)
            else:
                _, writer = await asyncio.open_connection(place.host, place.port)
    except TimeoutError:
        # Nobody refused: on this machine that is a program that is slow to accept.
        return is_loopback(place.host)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


def vacant(upstreams: Iterable[Upstream]) -> list[tuple[str, Place]]:
    """The places a demo takes, each once, with the site that names it first."""
    places: dict[Place, str] = {}
    for upstream in upstreams:
        if upstream.replaceable and not upstream.answers:
            places.setdefault(upstream.place, upstream.site)
    return [(site, place) for place, site in places.items()]


# ---- what is said


def story(site: str, upstreams: Iterable[Upstream], problems: Mapping[str, str]) -> str:
    """What a visitor of the site will meet, in a few words."""
    own = [upstream for upstream in upstreams if upstream.site == site]
    places = ", ".join(dict.fromkeys(str(upstream.place) for upstream in own))
    if all(upstream.answers for upstream in own):
        return f"yours, at {places}"
    if site in problems:
        return f"no demo at {places}: {problems[site]}"
    if any(upstream.replaceable and not upstream.answers for upstream in own):
        return f"demo {kind_suiting(site)}, as nobody answered at {places}"
    return f"nobody answers at {places}"


def announcement(config: Config, stories: Mapping[str, str]) -> str:
    """The URLs to open, what stands behind each, and how the browser comes to believe them."""
    port = config.listen.https[0].port
    suffix = "" if port == 443 else f":{port}"
    urls = {site: f"https://{alias}{suffix}/" for alias, site in local_names(config.sites).items()}
    width = max(map(len, urls.values()), default=0)
    return "\n".join(
        [
            "",
            "hopward is ready. Open:",
            "",
            *(f"  {url:{width}}   {stories[site]}" for site, url in urls.items()),
            "",
            "Browsers warn until this machine trusts the local authority. Once, elsewhere:",
            "",
            f"  {trust_command()}          (undone with --uninstall)",
            "",
            "Ctrl-C ends everything.",
            "",
        ]
    )


def trust_command() -> str:
    """`hopward trust` as it is called from this environment and folder."""
    command = Path(sys.executable).parent / "hopward"
    if not command.exists():
        return f"{sys.executable} -m proxy trust"
    with suppress(ValueError):
        command = command.relative_to(Path.cwd())
    return f"{command} trust"


# ---- the backends' process


class Backends:
    """The process with the demo backends. It ends when its standard input does."""

    def __init__(self, process: Process, problems: Mapping[str, str]) -> None:
        self._process = process
        self.problems = problems
        """Sites whose place could not be had, each with the reason."""

    def bequeath(self, proxy: int | None) -> None:
        """Which process it stops, should this one die without a word; None: none any more."""
        assert self._process.stdin
        self._process.stdin.write(b"%d\n" % (proxy or 0))

    async def end(self) -> None:
        """Lets it finish, and returns when it has."""
        assert self._process.stdin
        self._process.stdin.close()
        await self._process.wait()


@asynccontextmanager
async def demo_backends(sites: Sequence[tuple[str, Place]]) -> AsyncIterator[Backends]:
    """Demo backends serve at these places inside."""
    process = await _start("proxy.demo.backends", stdin=PIPE, stdout=PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(sites).encode() + b"\n")
    backends = Backends(process, json.loads(await process.stdout.readline() or b"{}"))
    try:
        yield backends
    finally:
        await backends.end()


async def _start(
    module: str, *arguments: str, stdin: int, stdout: int | None = None, stderr: int | None = None
) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        limit=LONGEST_LINE,
        # Out of the terminal's reach: a Ctrl-C comes here alone, and is passed on once.
        process_group=0,
    )


# ---- the proxy's process


async def run_proxy(file: Path, backends: Backends, when_ready: str) -> int:
    """`hopward run --local` in the foreground; returns its exit code, 0 when it was told to end."""
    arguments = ("run", "-c", str(file), "--local")
    process = await _start("proxy", *arguments, stdin=DEVNULL, stderr=PIPE)
    backends.bequeath(process.pid)
    told = _pass_signals_on(process)
    await _relay(process, when_ready)
    code = await process.wait()
    backends.bequeath(None)
    if told and -code in told:
        return 0
    return code if code >= 0 else 128 - code


def _pass_signals_on(process: Process) -> list[int]:
    """Gives the process each signal that should end this one; returns those given, as they come."""
    told: list[int] = []

    def tell(number: int) -> None:
        told.append(number)
        with suppress(ProcessLookupError):
            process.send_signal(number)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, tell, signal.SIGINT)
    loop.add_signal_handler(signal.SIGTERM, tell, signal.SIGTERM)
    # A closed terminal means the end here, where for the proxy itself it would mean a reload.
    loop.add_signal_handler(signal.SIGHUP, tell, signal.SIGTERM)
    return told


async def _relay(process: Process, when_ready: str) -> None:
    """The proxy's own words go on to standard error; the announcement follows its ready line."""
    assert process.stderr
    announced = False
    async for line in process.stderr:
        with suppress(OSError):  # a closed terminal hears nothing; the proxy still has to end well
            os.write(sys.stderr.fileno(), line)
            if not announced and is_ready(line):
                announced = True
                print(when_ready, flush=True)


def is_ready(line: bytes) -> bool:
    """Whether a line of the proxy's says that every listener accepts."""
    return _READY.search(line) is not None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of `python -m proxy.demo`."""
    parser = argparse.ArgumentParser(
        prog="python -m proxy.demo",
        description="Run the proxy locally, with demo backends where no real one answers.",
    )
    parser.add_argument("-c", dest="file", type=Path, default=Path("config.example.yml"))
    return asyncio.run(run(parser.parse_args(arguments).file))
