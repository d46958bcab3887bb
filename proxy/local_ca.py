"""The local certificate authority: what `tls: internal` and `--local` are signed with.

Law: there is one root for one folder. Whoever opens the folder first makes it, under a lock,
and everybody else gets that one; it is replaced only when its end is near, never because it
could not be read.

The root is a person's trust anchor, so its key deserves more care than the leaves: the folder
is 0700 and the files 0600 from the moment they exist, whatever the umask. Leaves live for a
week and in memory only.

A file `root.key` without `root.pem` is a first use that was cut short, and is started again:
the key is put in place first and the certificate last, so a `root.pem` always has its key.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .errors import OperatorError

ROOT_LIFETIME = timedelta(days=3652)
ROOT_RENEWED_BEFORE_END = timedelta(days=30)
# A week: long enough to survive a suspended laptop over a few days, and far below the 825 days
# beyond which Apple's clients refuse even certificates of a root the user added himself.
LEAF_LIFETIME = timedelta(days=7)
# Clocks of virtual machines and telephones differ; Let's Encrypt backdates by an hour.
BACKDATED = timedelta(minutes=5)
# X.520 ub-common-name is 64 characters, of which the words and the year take 29.
HOSTNAME_SHOWN = 35


class LocalAuthorityError(OperatorError):
    """The authority's files cannot be used: the message names the file and what to do."""


class Pair(NamedTuple):
    """A certificate and its key, ready for a TLS context."""

    certificate: bytes
    """PEM, leaf first."""
    key: bytes
    """PEM, PKCS #8, not encrypted."""
    not_before: datetime
    """Aware, UTC."""
    not_after: datetime
    """Aware, UTC."""


class LocalAuthority:
    """A root certificate with its key, which signs leaves for any name. Made by `open`."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        self.root_certificate: bytes = certificate.public_bytes(serialization.Encoding.PEM)

    @classmethod
    def open(cls, folder: Path, *, now: datetime) -> LocalAuthority:
        """The authority of `folder`; made there when there is none, or none for much longer.

        Processes that open one folder at the same time all get the same root. Raises
        LocalAuthorityError when what lies there cannot be read, used or written.
        """
        try:
            with _locked(folder):
                found = _load(folder)
                if found is None or found[0].not_valid_after_utc - now < ROOT_RENEWED_BEFORE_END:
                    found = _make_root(now)
                    _save(folder, *found)
        except OSError as error:
            raise LocalAuthorityError(f"{error.filename or folder}: {error.strerror}") from error
        return cls(*found)

    def issue(self, names: Sequence[str], *, now: datetime) -> Pair:
        """A certificate for a server of these DNS names (`*.` allowed) and IP addresses.

        Raises LocalAuthorityError for a name that no certificate can hold, and when the root
        has ended.
        """
        not_after = min(now + LEAF_LIFETIME, self._certificate.not_valid_after_utc)
        if not_after <= now:
            raise LocalAuthorityError("the local authority's root certificate has expired")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _begin_leaf(key.public_key(), names)
            .issuer_name(self._certificate.subject)
            .add_extension(_authority_key_of(self._certificate), critical=False)
            .not_valid_before(now - BACKDATED)
            .not_valid_after(not_after)
            .sign(self._key, hashes.SHA256())
        )
        return Pair(
            certificate.public_bytes(serialization.Encoding.PEM),
            _key_pem(key),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )


def renewal_due(pair: Pair, *, now: datetime) -> bool:
    """Whether the certificate's `renewal_time` has come, or the clock was set back before it."""
    return now < pair.not_before or now >= renewal_time(pair.not_before, pair.not_after)


def renewal_time(not_before: datetime, not_after: datetime) -> datetime:
    """When two thirds of a certificate's lifetime are gone."""
    return not_before + (not_after - not_before) * 2 / 3


# ---- certificates


def _make_root(now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    host = socket.gethostname()[:HOSTNAME_SHOWN]
    name = _name(NameOID.COMMON_NAME, f"hopward local authority {host} {now.year}")
    builder = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def _begin_leaf(public: ec.EllipticCurvePublicKey, names: Sequence[str]) -> x509.CertificateBuilder:
    if not names:
        raise LocalAuthorityError("a certificate needs at least one name")
    return (
        x509.CertificateBuilder(public_key=public)
        .subject_name(_name(NameOID.ORGANIZATION_NAME, "hopward local certificate"))
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectAlternativeName([_alt_name(n) for n in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _alt_name(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    # RFC 5280 §4.2.1.6: a dNSName is in the preferred name syntax, which has no final dot.
    dns = name.removesuffix(".").lower()
    if not dns or not dns.isascii():
        raise LocalAuthorityError(f"{name!r} is not a name a certificate can hold")
    return x509.DNSName(dns)


def _authority_key_of(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    subject_key = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key.value)


def _name(kind: x509.ObjectIdentifier, text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(kind, text)])


_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _key_usage(*used: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in used for usage in _KEY_USAGES})


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


# ---- files


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder alone among all processes; makes it when it is missing."""
    _make_private(folder)
    # The lock is on the folder itself: a lock file would be one more thing to back up.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_private(folder: Path) -> None:
    """The folder and its missing parents exist, and are nobody else's to enter."""
    if not folder.parent.exists():
        _make_private(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.stat().st_mode & 0o777 != 0o700:
        folder.chmod(0o700)


def _load(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    certificate_file, key_file = folder / "root.pem", folder / "root.key"
    if not certificate_file.exists():
        return None
    certificate = _read_certificate(certificate_file)
    key = _read_key(key_file)
    if key.public_key() != certificate.public_key():
        raise _unusable(key_file, "is not the key of root.pem beside it")
    return certificate, key


def _read_certificate(file: Path) -> x509.Certificate:
    _make_file_private(file)
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        # Self-signed, and by itself: a damaged byte anywhere shows here.
        certificate.verify_directly_issued_by(certificate)
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return certificate
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        raise _unusable(file, "is not a whole root certificate") from error
    raise _unusable(file, "is not an authority's certificate")


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    if not file.exists():
        raise _unusable(file, "is missing while root.pem beside it is there")
    _make_file_private(file)
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise _unusable(file, "is not a private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unusable(file, "is not an ECDSA key")
    return key


def _make_file_private(file: Path) -> None:
    # A restored copy or a careless chmod is put right before it is used.
    if file.stat().st_mode & 0o777 != 0o600:
        file.chmod(0o600)


def _unusable(file: Path, what: str) -> LocalAuthorityError:
    return LocalAuthorityError(
        f"{file}: {what}; put it back from a backup, or remove {file.parent} to have a new "
        "authority made, which then has to be trusted again (hopward trust)"
    )


def _save(folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    # The old certificate goes first: cut short here, the next use makes a whole new pair.
    (folder / "root.pem").unlink(missing_ok=True)
    _write(folder / "root.key", _key_pem(key))
    _write(folder / "root.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _write(file: Path, content: bytes) -> None:
    """All of `content` under that name, or what was there before. The folder is locked."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)  # left by a process that died here; the lock makes it ours
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as writer:
        os.fchmod(descriptor, 0o600)  # a umask of 0777 would leave nothing
        writer.write(content)
        writer.flush()
        os.fsync(descriptor)
    draft.replace(file)
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    """The rename is on the disk, not only the file's bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
