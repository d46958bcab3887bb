"""Who a request says it is from, and whom a guard admits."""

from __future__ import annotations

from base64 import b64encode

import pytest

from proxy.credentials import Credentials, Guard, credentials_of
from proxy.head import Fields, read_request


def fields(*lines: bytes) -> Fields:
    return read_request(b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *lines, b"", b""])).fields


def basic(said: bytes, scheme: bytes = b"Basic") -> bytes:
    return b"Authorization: %b %b" % (scheme, b64encode(said))


class Plain:
    """A hash that is none, and writes down what it was asked."""

    def __init__(self, password: bytes) -> None:
        self.password, self.asked = password, list[bytes]()

    def matches(self, password: bytes) -> bool:
        self.asked.append(password)
        return password == self.password


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (b"ann:secret", (b"ann", b"secret")),
        (b"ann:se:cr:et", (b"ann", b"se:cr:et")),
        (b"ann:", (b"ann", b"")),
        (b":secret", (b"", b"secret")),
        ("Jörg:Grüße".encode(), ("Jörg".encode(), "Grüße".encode())),
        ("Jörg:Grüße".encode("latin-1"), ("Jörg".encode("latin-1"), "Grüße".encode("latin-1"))),
    ],
)
def test_a_user_ends_with_the_first_colon(said: bytes, read: tuple[bytes, bytes]) -> None:
    assert credentials_of(fields(basic(said))) == Credentials(*read)


@pytest.mark.parametrize("scheme", [b"basic", b"BASIC", b"BaSiC"])
def test_the_schemes_case_does_not_matter(scheme: bytes) -> None:
    assert credentials_of(fields(basic(b"ann:secret", scheme))) == (b"ann", b"secret")


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"Authorization: Bearer " + b64encode(b"ann:secret"),),
        (b"Authorization: " + b64encode(b"ann:secret"),),
        (b"Authorization: Basic",),
        (b"Authorization: Basic YW5uOnNlY3JldA",),
        (b"Authorization: Basic YW5u_OnNlY3JldA==",),
        (b"Authorization: Basic YW5u OnNlY3JldA==",),
        (basic(b"ann"),),
        (basic(b"ann:sec\0ret"),),
        (basic(b"ann:secret\n"),),
        (basic(b"ann:secret"), basic(b"bob:secret")),
    ],
)
def test_what_cannot_be_read_says_nothing(lines: tuple[bytes, ...]) -> None:
    assert credentials_of(fields(*lines)) is None


def test_each_user_is_admitted_by_its_own_password_alone() -> None:
    guard = Guard("a", {b"ann": Plain(b"1"), b"bob": Plain(b"2")})
    assert guard.admits(Credentials(b"ann", b"1"))
    assert guard.admits(Credentials(b"bob", b"2"))
    assert not guard.admits(Credentials(b"ann", b"2"))
    assert not guard.admits(Credentials(b"Ann", b"1"))


def test_an_unknown_user_costs_a_hash_like_a_known_one_and_always_the_same() -> None:
    hashes = {b"ann": Plain(b"1"), b"bob": Plain(b"2")}
    guard = Guard("a", hashes)
    for _ in range(10):
        assert not guard.admits(Credentials(b"eve", b"1"))
        assert not guard.admits(Credentials(b"eve", b"2"))
    assert sorted(len(hash_.asked) for hash_ in hashes.values()) == [0, 20]


def test_a_guard_does_not_show_what_it_compares_with() -> None:
    guard = Guard.of("a", {"ann": "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"})
    assert "R9h" not in repr(guard)
    assert "ann" not in repr(guard)
