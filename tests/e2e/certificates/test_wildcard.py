"""One certificate for all names under a domain, proved through the operator's name server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from acme_client.dns import record_name
from tests.acme_shim import AcmeShim
from tests.authority import Authority
from tests.e2e.certificates.served import Served, configuration
from tests.e2e.certificates.visitors import Visitor
from tests.pebble import NameServer, Pebble, needs_pebble
from tests.programs import wait_for
from tests.tls_client import TLSAlertError, TLSClient

pytestmark = needs_pebble
DOMAIN = "wildcard.example.com"
WILDCARD = f"*.{DOMAIN}"
VISITED = (f"one.{DOMAIN}", f"two.{DOMAIN}")

# What an operator writes for a provider that nobody wrote anything for yet.
HOOK = """
import json, pathlib, sys, urllib.request
action, name, value = sys.argv[1:]
path = {"present": "/set-txt", "cleanup": "/clear-txt"}[action]
record = json.dumps({"host": name + ".", "value": value}).encode()
urllib.request.urlopen("http://127.0.0.1:%(management)d" + path, record).close()
with open(pathlib.Path(__file__).with_name("said"), "a") as said:
    print(action, name, file=said)
"""


@pytest.fixture(scope="module")
def own(
    authority: Authority, names: NameServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AcmeShim]:
    """A CA of the tests' own, since its validation ports are the proxy's listeners."""
    folder = tmp_path_factory.mktemp("pebble")
    with Pebble(folder, authority, names=names) as ca, AcmeShim(ca, authority) as shim:
        yield shim


@pytest.fixture(scope="module")
def served(
    own: AcmeShim, names: NameServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A proxy for the wildcard, with a program that sets TXT records."""
    folder = tmp_path_factory.mktemp("wildcard")
    hook = folder / "hook.py"
    hook.write_text(HOOK % {"management": names.management})
    program = [sys.executable, str(hook)]
    config = configuration(own, folder, [WILDCARD], dns_hook=program)
    with Served(folder, config) as proxy:
        visitor = Visitor(proxy.https, VISITED[0], own.pebble.root())
        wait_for(visitor.is_welcome, 15, what="the wildcard's certificate")
        yield proxy


def test_every_name_under_the_wildcard_is_shown_its_certificate(
    served: Served, own: AcmeShim
) -> None:
    for name in VISITED:
        with TLSClient(served.https, name, cafile=own.pebble.root()) as client:
            assert client.names() == [WILDCARD]
    assert own.count("newOrder") == own.pebble.issued() == 1


@pytest.mark.parametrize("name", [DOMAIN, f"a.b.{DOMAIN}", "elsewhere.example.com"])
def test_a_name_the_wildcard_does_not_cover_gets_the_alert(served: Served, name: str) -> None:
    with pytest.raises(TLSAlertError), TLSClient(served.https, name):
        pass


def test_the_files_of_a_wildcard_have_an_underscore_for_the_asterisk(served: Served) -> None:
    files = {path.name for path in served.store.iterdir() if DOMAIN in path.name}
    assert files == {f"_.{DOMAIN}{ending}" for ending in (".pem", ".key", ".json")}


def test_the_record_is_set_for_the_validation_and_taken_away_after_it(served: Served) -> None:
    said = (served.folder / "said").read_text().splitlines()
    assert said == [f"present {record_name(WILDCARD)}", f"cleanup {record_name(WILDCARD)}"]


def test_the_wildcard_remembers_which_challenge_proved_it(served: Served) -> None:
    state = json.loads((served.store / f"_.{DOMAIN}.json").read_bytes())
    assert state["challenge"] == "dns-01"
