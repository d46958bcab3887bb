"""The names certificates are for, as files, identifiers and challenges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from acme_client.names import covers, file_stem, identifier, normal, possible_challenges, sni

BOTH = ("tls-alpn-01", "http-01")


@pytest.mark.parametrize(
    ("host", "stem"),
    [
        ("Example.COM.", "example.com"),
        ("*.example.com", "_.example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("acme", "acme."),
    ],
)
def test_a_hosts_files_are_named_after_it(host: str, stem: str) -> None:
    assert file_stem(host) == stem


@given(some.text())
def test_no_name_leaves_the_stores_folder(host: str) -> None:
    try:
        stem = file_stem(host)
    except ValueError:
        return
    assert "/" not in stem
    assert "\0" not in stem
    assert not stem.startswith(".")


def test_an_address_is_ordered_as_an_address() -> None:
    assert identifier("192.0.2.1") == {"type": "ip", "value": "192.0.2.1"}
    assert identifier("example.com") == {"type": "dns", "value": "example.com"}


def test_an_address_is_validated_under_its_reverse_name() -> None:
    assert sni("192.0.2.1") == "1.2.0.192.in-addr.arpa"
    assert sni("2001:db8::1").endswith(".8.b.d.0.1.0.0.2.ip6.arpa")
    assert sni("example.com") == "example.com"


def test_a_wildcard_needs_dns_01() -> None:
    assert possible_challenges("*.example.com", BOTH) == ()
    assert possible_challenges("*.example.com", (*BOTH, "dns-01")) == ("dns-01",)


def test_an_address_must_do_without_dns_01() -> None:
    assert possible_challenges("192.0.2.1", ("dns-01", *BOTH)) == BOTH


def test_a_host_is_proved_in_the_order_that_is_wanted() -> None:
    assert possible_challenges("example.com", ("http-01", "tls-alpn-01")) == (
        "http-01",
        "tls-alpn-01",
    )


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("example.com", True),
        ("EXAMPLE.com.", True),
        ("a.example.org", True),
        ("*.example.org", True),
        ("example.org", False),
        ("a.b.example.org", False),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
    ],
)
def test_a_wildcard_covers_one_label(host: str, covered: bool) -> None:
    assert covers(["example.com", "*.example.org", "192.0.2.1"], host) is covered


@given(some.ip_addresses())
def test_an_address_has_one_form(address: object) -> None:
    assert normal(str(address)) == normal(normal(str(address)))
