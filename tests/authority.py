"""A certificate authority for tests: made in memory, its certificates written as PEM files."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=7)


class Pair(NamedTuple):
    """A certificate and its private key, as files."""

    cert: Path
    key: Path

    def tls(self) -> dict[str, str]:
        """The pair as a site's `tls` value in the configuration."""
        return {"cert": str(self.cert), "key": str(self.key)}


class Authority:
    """A root of trust; `pem` is the file that clients trust."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = _named("hopward test authority")
        self._root = (
            self._begin(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = folder / "authority.pem"
        self.pem.write_bytes(_pem(self._root))

    def pair(
        self, *names: str, dates: tuple[datetime.datetime, datetime.datetime] | None = None
    ) -> Pair:
        """A new certificate for `names` (DNS names, wildcards, IP addresses) and its key.

        `dates`: when it begins and ends; otherwise just now, and after LIFETIME.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            self._begin(_named(names[0]), key.public_key(), dates)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([*map(_general, names)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        folder = self.folder / str(leaf.serial_number)
        folder.mkdir()
        stem = names[0].replace("*", "_")
        pair = Pair(folder / f"{stem}.pem", folder / f"{stem}.key")
        pair.cert.write_bytes(_pem(leaf))
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return pair

    def _begin(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        dates: tuple[datetime.datetime, datetime.datetime] | None = None,
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        begins, ends = dates or (now - datetime.timedelta(minutes=5), now + LIFETIME)
        identifier = x509.SubjectKeyIdentifier.from_public_key
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(identifier(key), critical=False)
            .add_extension(issuer, critical=False)
        )


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
