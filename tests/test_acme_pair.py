"""Certificates and keys: what belongs together, and what an authority may not sell as such."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from acme_client import SettingsError
from acme_client.errors import BadCertificate
from acme_client.names import general_name, subject_names
from acme_client.pair import (
    KEY_TYPES,
    PrivateKey,
    check_download,
    make_key,
    read_key,
    read_pair,
    signing_request,
)

HOST = "example.com"
_ISSUER_KEY = ec.generate_private_key(ec.SECP256R1())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(
    subject: str, key: PrivateKey, names: tuple[str, ...], begun: datetime, ends: datetime
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named("issuer"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begun)
        .not_valid_after(ends)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([general_name(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    signed = builder.sign(_ISSUER_KEY, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def leaf(
    key: bytes,
    *names: str,
    begun: timedelta = timedelta(0),
    lifetime: timedelta = timedelta(days=90),
) -> bytes:
    """A certificate that began so long ago, without its chain."""
    begin = datetime.now(UTC).replace(microsecond=0) - begun
    return _certificate("leaf", read_key(key), names, begin, begin + lifetime)


def issuer() -> bytes:
    """The issuer of `leaf`."""
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    return _certificate("issuer", _ISSUER_KEY, (), begin, begin + timedelta(days=9999))


def chain(
    key: bytes,
    *names: str,
    begun: timedelta = timedelta(0),
    lifetime: timedelta = timedelta(days=90),
) -> bytes:
    """A certificate and its issuer's."""
    return leaf(key, *names, begun=begun, lifetime=lifetime) + issuer()


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_a_key_of_each_type_signs_a_request_for_its_names(key_type: str) -> None:
    key = make_key(key_type)
    request = x509.load_der_x509_csr(signing_request(key, (HOST, "192.0.2.1")))
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert request.is_signature_valid
    assert [str(name.value) for name in names] == [HOST, "192.0.2.1"]
    assert list(request.subject) == []


def test_an_unknown_key_type_is_told_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="ecdsa-p256, ecdsa-p384, rsa-2048"):
        make_key("dsa")


def test_what_belongs_together_is_a_pair() -> None:
    key = make_key("ecdsa-p256")
    pair = read_pair(chain(key, HOST), key, HOST)
    assert pair.not_after - pair.not_before == timedelta(days=90)


def test_a_key_that_nobody_serves_with_is_none() -> None:
    odd = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(ValueError, match="neither RSA nor ECDSA"):
        read_key(odd)


def test_a_whole_download_is_taken() -> None:
    key = make_key("ecdsa-p256")
    assert check_download(chain(key, HOST), key, (HOST,)).key == key


KEY = make_key("ecdsa-p256")


@pytest.mark.parametrize(
    ("download", "words"),
    [
        (b"", "no certificate in PEM"),
        (b"<html>", "no certificate in PEM"),
        (leaf(KEY, HOST), "without its chain"),
        (chain(make_key("ecdsa-p256"), HOST), "another key"),
        (chain(KEY, "example.org"), "not for example.com"),
        (chain(KEY, HOST, "example.org"), "is for example.com, example.org"),
        (chain(KEY), "not for example.com"),
        (leaf(KEY, HOST) * 2, "chain is broken"),
        (issuer() + leaf(KEY, HOST), "another key"),
    ],
    ids=[
        "nothing",
        "html",
        "leaf only",
        "wrong key",
        "wrong name",
        "more names",
        "no name",
        "wrong chain",
        "wrong order",
    ],
)
def test_a_download_that_a_client_would_stumble_over_is_refused(
    download: bytes, words: str
) -> None:
    with pytest.raises(BadCertificate, match=words):
        check_download(download, KEY, (HOST,))


def test_the_names_of_a_certificate_are_read_in_one_form() -> None:
    found = x509.load_pem_x509_certificate(leaf(KEY, "B.example.com", "2001:db8::1"))
    assert subject_names(found) == ("2001:db8::1", "b.example.com")
