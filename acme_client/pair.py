"""A certificate chain and its private key.

Law: a `Pair` exists only for bytes that belong together; whoever holds one can serve with it.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from .errors import BadCertificate, SettingsError
from .names import covers, general_name, normal, subject_names
from .renewal import Validity

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

KEY_TYPES = ("ecdsa-p256", "ecdsa-p384", "rsa-2048")


class Pair(NamedTuple):
    """What a TLS server needs, and its dates."""

    certificate: bytes
    """PEM, leaf first, then the chain."""
    key: bytes
    """PEM, not encrypted."""
    not_before: datetime
    """Aware, UTC."""
    not_after: datetime
    """Aware, UTC."""
    serial: str
    """The serial number of the leaf in hexadecimal digits."""


def validity(pair: Pair | None) -> Validity | None:
    """The dates of a pair."""
    return None if pair is None else Validity(pair.not_before, pair.not_after)


def read_pair(certificate: bytes, key: bytes, host: str) -> Pair:
    """The pair of these two files for `host`.

    Raises ValueError when one of them cannot be read, they do not belong together, or the
    certificate is for other names.
    """
    chain = read_chain(certificate)
    leaf = chain[0]
    if public_bytes(leaf.public_key()) != public_bytes(read_key(key).public_key()):
        raise ValueError("the certificate belongs to another key")
    if not covers(subject_names(leaf), host):
        raise ValueError(f"the certificate is not for {host}")
    dates = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return Pair(certificate, key, *dates, f"{leaf.serial_number:x}")


def read_chain(pem: bytes) -> list[x509.Certificate]:
    """All certificates of a PEM file, at least one; raises ValueError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise ValueError(f"no certificate in PEM: {error}") from error


def read_key(pem: bytes) -> PrivateKey:
    """An RSA or ECDSA private key in PEM; raises ValueError."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise ValueError(f"no private key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the private key is neither RSA nor ECDSA")
    return key


def public_bytes(key: object) -> bytes:
    """A public key in a form that can be compared."""
    public: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public


def make_key(key_type: str) -> bytes:
    """A new private key in PEM (PKCS #8). Raises SettingsError for an unknown type."""
    key: PrivateKey
    if key_type == "ecdsa-p256":
        key = ec.generate_private_key(ec.SECP256R1())
    elif key_type == "ecdsa-p384":
        key = ec.generate_private_key(ec.SECP384R1())
    elif key_type == "rsa-2048":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        raise SettingsError(f"key type {key_type!r}: one of {', '.join(KEY_TYPES)} is possible")
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def signing_request(key: bytes, names: tuple[str, ...]) -> bytes:
    """A certificate signing request for these names, in DER (RFC 8555 §7.4).

    The subject is empty: authorities take the names from subjectAltName alone, and a common name
    would be limited to 64 characters.
    """
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    alternatives = x509.SubjectAlternativeName([general_name(name) for name in names])
    signed = request.add_extension(alternatives, critical=True).sign(read_key(key), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def check_download(certificate: bytes, key: bytes, names: tuple[str, ...]) -> Pair:
    """The pair that an authority's answer makes with our key.

    Raises BadCertificate for anything that a client would stumble over: no PEM, another key, other
    names, impossible dates, a chain that is missing or whose links do not sign one another.
    """
    try:
        pair = read_pair(certificate, key, names[0])
        chain = read_chain(certificate)
    except ValueError as error:
        raise BadCertificate(f"the downloaded certificate cannot be used: {error}") from error
    found = subject_names(chain[0])
    if set(found) != {normal(name) for name in names}:
        raise BadCertificate(f"the downloaded certificate is for {', '.join(found)}")
    if pair.not_after <= pair.not_before:
        raise BadCertificate("the downloaded certificate ends before it begins")
    _check_links(chain)
    return pair


def _check_links(chain: list[x509.Certificate]) -> None:
    if len(chain) < 2:
        raise BadCertificate("the downloaded certificate comes without its chain")
    for certificate, issuer in pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise BadCertificate(
                f"the downloaded chain is broken: {certificate.subject.rfc4514_string()!r} "
                f"is not signed by {issuer.subject.rfc4514_string()!r}"
            ) from error
