"""Hashes of passwords: which are read, which are refused, what matches."""

from __future__ import annotations

import hashlib

import bcrypt
import pytest

from proxy.passwords import Bcrypt, Scrypt, make, parse

# Of "correct horse", each by the program that is named; costs are low so that tests are quick.
WERKZEUG = (
    "scrypt:1024:8:1$saltsalt$"
    + hashlib.scrypt(b"correct horse", salt=b"saltsalt", n=1024, r=8, p=1, dklen=64).hex()
)
# The example of passlib's documentation: "password", by ln=16.
PASSLIB = "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"
HTPASSWD = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode("ascii")


@pytest.mark.parametrize(
    ("text", "password"),
    [
        (WERKZEUG, b"correct horse"),
        (PASSLIB, b"password"),
        (HTPASSWD, b"correct horse"),
        (HTPASSWD.replace("$2b$", "$2y$"), b"correct horse"),
    ],
    ids=["werkzeug", "passlib", "bcrypt", "htpasswd"],
)
def test_each_form_knows_its_password_and_no_other(text: str, password: bytes) -> None:
    read = parse(text)
    assert read.matches(password)
    assert not read.matches(password + b"x")
    assert not read.matches(b"")


def test_a_hash_that_is_made_here_is_read_here() -> None:
    made = make("Grüße")
    read = parse(made)
    assert made.startswith("$scrypt$ln=17,r=8,p=1$")
    assert isinstance(read, Scrypt)
    assert read.matches("Grüße".encode())
    assert not read.matches(b"Gruesse")


def test_two_hashes_of_one_password_have_nothing_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.passwords._LOG_N", 4)
    assert make("same").split("$")[3:] != make("same").split("$")[3:]


def test_of_a_long_password_bcrypt_takes_what_every_bcrypt_takes() -> None:
    long = b"x" * 100
    read = parse(bcrypt.hashpw(long[:72], bcrypt.gensalt(4)).decode("ascii"))
    assert isinstance(read, Bcrypt)
    assert read.matches(long)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hunter2", "not a scrypt or bcrypt hash"),
        ("$2b$12$short", "60 characters"),
        (HTPASSWD + "=", "60 characters"),
        (HTPASSWD[:28] + "z" + HTPASSWD[29:], "60 characters"),
        (HTPASSWD.replace("$04$", "$31$"), "cost is 31"),
        (HTPASSWD.replace("$04$", "$03$"), "cost is 3"),
        ("$scrypt$ln=17,r=8,p=1$c2FsdA", "looks like \\$scrypt"),
        (PASSLIB.replace("ln=16", "ln=0"), "1 or more"),
        (PASSLIB.replace("ln=16", "ln=30"), "costs too much"),
        (PASSLIB.replace("p=1", "p=128"), "costs too much"),
        (PASSLIB.replace("r=8", "r=999"), "costs too much"),
        (PASSLIB.replace("aM15713r3Xsvxbi31lqr1Q", "aM157"), "whole base64"),
        (WERKZEUG.replace("1024", "1000"), "power of two"),
        (WERKZEUG + "0", "looks like scrypt:"),
        ("scrypt:32768:8:1$salt$nothex", "looks like scrypt:"),
    ],
)
def test_what_is_not_a_whole_hash_of_bearable_cost_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse(text)
    assert text not in str(caught.value)


def test_a_hash_does_not_show_itself() -> None:
    assert "saltsalt" not in repr(parse(WERKZEUG))
    assert HTPASSWD not in repr(parse(HTPASSWD))
