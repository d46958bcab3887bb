"""What is shown to an authority as proof of control over a name.

Law: pure but for the key of a challenge certificate; where the answer is put is `answers`' and
`dns`' business.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from josepy.b64 import b64encode
from josepy.jwk import JWK

from .names import general_name

# id-pe-acmeIdentifier (RFC 8737 §6.1)
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_OCTET_STRING_OF_32 = b"\x04\x20"
_LIFETIME = timedelta(days=7)


def key_authorization(token: str, account_key: JWK) -> str:
    """The token bound to an account's key (RFC 8555 §8.1)."""
    return f"{token}.{b64encode(account_key.thumbprint()).decode()}"


def txt_record(authorization: str) -> str:
    """The value of the TXT record `_acme-challenge.<name>` for dns-01 (RFC 8555 §8.4)."""
    return b64encode(hashlib.sha256(authorization.encode()).digest()).decode()


def alpn_certificate(name: str, authorization: str, now: datetime) -> bytes:
    """Certificate and key in one PEM for tls-alpn-01 (RFC 8737 §3, RFC 8738 §4).

    One name, and the digest of the key authorization in a critical extension. It is for
    connections with the ALPN protocol `acme-tls/1` only: its signature is nobody's.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    digest = _OCTET_STRING_OF_32 + hashlib.sha256(authorization.encode()).digest()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFETIME)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([general_name(name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
