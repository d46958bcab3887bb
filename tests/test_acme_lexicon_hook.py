"""`hopward-dns`: what it sets, what it waits for, and what it says where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from acme_client import Settings, Store, renew_now
from tests.authority import Authority
from tests.pebble import NameServer, Pebble, needs_pebble
from tests.powerdns import TOKEN, Zone, powerdns

ZONE = "example.org"
WILDCARD = f"*.{ZONE}"
NAME = f"_acme-challenge.www.{ZONE}"
CHECKOUT = Path(__file__).parents[1]


@pytest.fixture
def zone() -> Iterator[Zone]:
    with powerdns(ZONE) as served:
        yield served


def options(zone: Zone) -> list[str]:
    return ["--resolver", "127.0.0.1", "--port", str(zone.port)]


def credentials(zone: Zone) -> dict[str, str]:
    """What an operator puts into the environment for Lexicon's PowerDNS."""
    return {
        "LEXICON_POWERDNS_PDNS_SERVER": f"http://127.0.0.1:{zone.api}",
        "LEXICON_POWERDNS_AUTH_TOKEN": TOKEN,
    }


def hook(
    zone: Zone, *words: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`hopward-dns WORDS` from its start to its end."""
    return subprocess.run(
        [sys.executable, "-m", "acme_client.lexicon_hook", *options(zone), *words],
        env={**os.environ, **credentials(zone), **(environ or {})},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_record_is_set_and_nothing_is_said(zone: Zone) -> None:
    said = hook(zone, "powerdns", "present", NAME, "one")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    assert zone.texts == {NAME: ['"one"']}


def test_a_value_may_begin_with_a_dash(zone: Zone) -> None:
    assert hook(zone, "powerdns", "present", NAME, "-one").returncode == 0
    assert zone.texts == {NAME: ['"-one"']}
    assert hook(zone, "powerdns", "cleanup", NAME, "-one").returncode == 0
    assert zone.texts == {NAME: []}


def test_a_second_record_of_one_name_stands_beside_the_first(zone: Zone) -> None:
    for value in ("one", "two"):
        hook(zone, "powerdns", "present", NAME, value)
    assert sorted(zone.texts[NAME]) == ['"one"', '"two"']


def test_cleanup_takes_its_own_record_and_no_other(zone: Zone) -> None:
    zone.put(NAME, ['"one"', '"two"'])
    assert hook(zone, "powerdns", "cleanup", NAME, "one").returncode == 0
    assert zone.texts[NAME] == ['"two"']


def test_the_record_is_set_where_an_alias_leads(zone: Zone) -> None:
    elsewhere = f"www.validation.{ZONE}"
    zone.aliases[NAME] = elsewhere
    assert hook(zone, "powerdns", "present", NAME, "one").returncode == 0
    assert zone.texts == {elsewhere: ['"one"']}


def test_it_ends_only_when_the_record_can_be_seen(zone: Zone) -> None:
    zone.hidden = 1
    assert hook(zone, "powerdns", "present", NAME, "one").returncode == 0
    assert zone.hidden == 0


def test_a_record_that_never_shows_is_told_of_with_the_server(zone: Zone) -> None:
    zone.hidden = 1000
    said = hook(zone, "--wait", "0.1", "powerdns", "present", NAME, "one")
    words = f"hopward-dns: powerdns: ns.{ZONE} does not show the record for {NAME} yet\n"
    assert (said.returncode, said.stderr) == (1, words)


def test_who_does_not_want_to_wait_does_not(zone: Zone) -> None:
    zone.hidden = 1000
    assert hook(zone, "--wait", "0", "powerdns", "present", NAME, "one").returncode == 0


def test_a_refusal_is_one_line(zone: Zone) -> None:
    wrong = {"LEXICON_POWERDNS_AUTH_TOKEN": "another-secret"}
    said = hook(zone, "powerdns", "present", NAME, "one", environ=wrong)
    assert said.returncode == 1
    assert said.stderr.startswith("hopward-dns: powerdns: 401 Client Error")
    assert said.stderr.count("\n") == 1


def test_no_credentials_are_told(zone: Zone) -> None:
    # a URL that cannot be asked is quoted by the HTTP client, with all that stands in it
    leaking = {"LEXICON_POWERDNS_PDNS_SERVER": f"http://127.0.0.1:1/{TOKEN}?key={TOKEN}"}
    said = hook(zone, "powerdns", "present", NAME, "one", environ=leaking)
    assert said.returncode == 1
    assert "/" in said.stderr
    assert TOKEN not in said.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("nobody", "present", NAME, "one"), "nobody: This provider (nobody) is not supported"),
        (("cloudflare", "present", NAME, "one"), "cloudflare: "),
    ],
    ids=["no such provider", "no credentials"],
)
def test_what_is_missing_is_told_on_one_line(
    zone: Zone, words: tuple[str, ...], expected: str
) -> None:
    said = hook(zone, *words)
    assert said.returncode == 1
    assert said.stderr.startswith(f"hopward-dns: {expected}")
    assert said.stderr.count("\n") == 1


def test_without_lexicon_the_line_that_installs_it_is_told(zone: Zone, tmp_path: Path) -> None:
    (tmp_path / "lexicon.py").write_text("raise ImportError('No module named lexicon')")
    said = hook(zone, "powerdns", "present", NAME, "one", environ={"PYTHONPATH": str(tmp_path)})
    words = "hopward-dns: No module named lexicon; pip install 'hopward[dns]'\n"
    assert (said.returncode, said.stderr) == (1, words)


@needs_pebble
def test_a_wildcard_is_issued_through_a_provider(
    zone: Zone, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority, told = Authority(tmp_path_factory.mktemp("authority")), []
    with NameServer(tmp_path / "names") as names:

        def copy(name: str, texts: list[str]) -> None:
            told.append((name, len(texts)))
            for text in texts:
                names.text(name, text)

        zone.copies.append(copy)
        with Pebble(tmp_path / "ca", authority, names=names) as ca:
            issued = renew_now(settings(ca, zone), store := Store(tmp_path / "store"), [WILDCARD])
    assert issued == [(WILDCARD, None)]
    assert told == [(f"_acme-challenge.{ZONE}", 1), (f"_acme-challenge.{ZONE}", 0)]
    store.release_lock()


def settings(ca: Pebble, zone: Zone) -> Settings:
    """As an operator writes them; credentials stand in the environment."""
    given = [f"{key}={value}" for key, value in credentials(zone).items()]
    program = [sys.executable, "-m", "acme_client.lexicon_hook", *options(zone), "powerdns"]
    return Settings(
        directory=ca.directory,
        ca_bundle=ca.bundle,
        challenges=("dns-01",),
        dns_hook=("env", *given, *program),
    )
