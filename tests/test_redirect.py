"""Port 80: the same URL on https, and nothing else."""

from __future__ import annotations

import pytest

from proxy.head import read_request
from proxy.redirect import location_of


def location(target: bytes, host: bytes = b"a.example", port: int = 443) -> bytes:
    head = b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    return location_of(read_request(head), port)


def test_the_location_is_the_same_url_on_https() -> None:
    assert location(b"/b?c=d") == b"https://a.example/b?c=d"


def test_a_port_that_is_not_443_is_named() -> None:
    assert location(b"/", port=8443) == b"https://a.example:8443/"


@pytest.mark.parametrize("host", [b"a.example:80", b"A.Example", b"a.example.", b"a.example:"])
def test_the_port_and_spelling_of_the_plain_host_do_not_matter(host: bytes) -> None:
    assert location(b"/", host) == b"https://a.example/"


@pytest.mark.parametrize("target", [b"/a%zz", b"/[]{}|^`", b"//evil.example/", b"/%2e%2e/\\"])
def test_the_targets_bytes_stay(target: bytes) -> None:
    assert location(target) == b"https://a.example" + target


def test_absolute_form_is_redirected_to_its_own_host() -> None:
    """RFC 9112 §3.2.2."""
    assert location(b"http://b.example:80/c") == b"https://b.example/c"


def test_the_asterisk_of_options_has_no_path() -> None:
    request = read_request(b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n")
    assert location_of(request, 443) == b"https://a.example/"


def test_an_ipv6_address_keeps_its_brackets() -> None:
    assert location(b"/", b"[::1]:80", 8443) == b"https://[::1]:8443/"
