"""Certificates from before the test: as old, as short or as expired as it needs them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Earlier(NamedTuple):
    """PEM of a chain (leaf, issuer) and of the leaf's key."""

    certificate: bytes
    key: bytes


def earlier(host: str, *, begun: timedelta, ends: timedelta) -> Earlier:
    """A chain for `host` that began `begun` ago and ends `ends` from now (negative: expired)."""
    now = datetime.now(UTC).replace(microsecond=0)
    root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    above, leaf = _name("an earlier authority"), _name(host)
    issuer = _begin(above, above, root, now - 400 * DAY, now + 400 * DAY)
    issuer = issuer.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    mine = _begin(leaf, above, key, now - begun, now + ends)
    mine = mine.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    mine = mine.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False
    )
    chain = [each.sign(root, hashes.SHA256()) for each in (mine, issuer)]
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
    return Earlier(pem, _key_pem(key))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begins: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
