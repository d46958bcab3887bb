"""How each certificate stands, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from acme_client import State, Store
from acme_client.renewal import Validity, due
from proxy.certificates import Certificates
from proxy.config import Config
from proxy.routing import Table
from proxy.status.outlook import Outlook, outlook, outlooks
from tests.authority import LIFETIME, Authority

HOST = "a.example.com"
WELL = State()


@pytest.fixture(scope="module")
def leaf(tmp_path_factory: pytest.TempPathFactory) -> x509.Certificate:
    """A certificate of seven days."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    return x509.load_pem_x509_certificate(authority.pair(HOST).cert.read_bytes())


def at(leaf: x509.Certificate, left: timedelta) -> datetime:
    """When so much time is left."""
    return leaf.not_valid_after_utc - left


def test_a_certificate_with_time_left_is_well(leaf: x509.Certificate) -> None:
    found = outlook(HOST, "acme", leaf, WELL, at(leaf, timedelta(days=6)))
    assert (found.level, found.issuer) == ("well", "CN=hopward test authority")
    assert found.not_after == leaf.not_valid_after_utc


def test_it_is_due_when_its_issuer_would_renew_it(leaf: x509.Certificate) -> None:
    dates = Validity(leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    found = outlook(HOST, "acme", leaf, WELL, at(leaf, timedelta(days=6)))
    assert found.next_renewal == due(dates, HOST)


def test_what_the_issuer_has_planned_comes_before_the_rule(leaf: x509.Certificate) -> None:
    planned = datetime(2030, 1, 1, tzinfo=UTC)
    state = State(next_renewal=planned)
    assert outlook(HOST, "acme", leaf, state, at(leaf, LIFETIME)).next_renewal == planned


def test_the_local_authority_renews_with_a_third_left(leaf: x509.Certificate) -> None:
    found = outlook(HOST, "internal", leaf, WELL, at(leaf, LIFETIME))
    assert found.next_renewal is not None
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert leaf.not_valid_after_utc - found.next_renewal == lifetime / 3


def test_nobody_renews_what_is_given_as_files(leaf: x509.Certificate) -> None:
    assert outlook(HOST, "files", leaf, WELL, at(leaf, LIFETIME)).next_renewal is None


@pytest.mark.parametrize(
    ("hours", "level"),
    [(7 * 24, "well"), (57, "well"), (55, "watch"), (29, "watch"), (27, "danger")],
)
def test_files_want_looking_at_while_there_is_time_to_replace_them(
    leaf: x509.Certificate, hours: int, level: str
) -> None:
    found = outlook(HOST, "files", leaf, WELL, at(leaf, timedelta(hours=hours)))
    assert found.level == level


@pytest.mark.parametrize("left", [timedelta(0), timedelta(days=-1), timedelta(days=8)])
def test_a_certificate_outside_its_dates_is_in_danger(
    leaf: x509.Certificate, left: timedelta
) -> None:
    assert outlook(HOST, "acme", leaf, WELL, at(leaf, left)).level == "danger"


def test_no_certificate_is_a_danger_with_the_issuers_word_on_it() -> None:
    state = State(last_error="nobody answers", next_renewal=datetime(2030, 1, 1, tzinfo=UTC))
    assert outlook(HOST, "acme", None, state, datetime(2029, 1, 1, tzinfo=UTC)) == Outlook(
        HOST, "acme", "danger", None, None, None, state.next_renewal, "nobody answers", False
    )


def test_an_error_is_watched_and_an_alert_is_a_danger(leaf: x509.Certificate) -> None:
    now = at(leaf, timedelta(days=6))
    failed, alerted = State(last_error="x"), State(last_error="x", in_danger=True)
    levels = [outlook(HOST, "acme", leaf, state, now).level for state in (failed, alerted)]
    assert levels == ["watch", "danger"]


def test_what_the_issuer_remembers_now_is_told(tmp_path: Path) -> None:
    config = Config.model_validate({"sites": {HOST: "http://127.0.0.1:1"}, "store": str(tmp_path)})
    table, store = Table(config.sites), Store(tmp_path)
    certificates = Certificates(config, table, {})
    said = []
    assert store.take_lock()
    for error in (None, "first", "second"):
        if error:
            store.save_state(HOST, State(last_error=error))
        said += [each.last_error for each in outlooks(certificates, table, datetime.now(UTC))]
    store.release_lock()
    assert said == [None, "first", "second"]
