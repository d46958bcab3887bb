"""Whether the files that a configuration names are there and are what they should be.

Law: this room only looks. It walks what the operator wrote, not a valid `Config`, so that a broken
reference is told together with every other problem of the file.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from stat import S_ISDIR

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .document import Place
from .units import same_name

# Below this OpenSSL's default security level refuses the certificate.
_SHORTEST_RSA_KEY = 2048
# One of a few hundred bytes for each site; more sites than this are read anew each time.
_PAIRS_REMEMBERED = 16384

Finding = tuple[Place, str]


def broken_references(values: object, folder: Path) -> Iterator[Finding]:
    """What is wrong with the files named in `values`, each with its place in the document."""
    if isinstance(bundle := _at(_at(values, "acme"), "ca_bundle"), str):
        yield from _judge_authorities(folder / bundle, ("acme", "ca_bundle"))
    for host, site in _items(_at(values, "sites")):
        place: Place = ("sites", host)
        if files := _files(site, folder):
            yield from _judge_pair(*files, host, (*place, "tls"))
        yield from _judge_servers(site, folder, place)
        for prefix, route in _items(_at(site, "routes")):
            yield from _judge_servers(route, folder, (*place, "routes", prefix))


def missing_folders(values: object, folder: Path) -> Iterator[Finding]:
    """The folders that are not there of files that are to be written."""
    to = _at(_at(values, "access_log"), "to")
    if isinstance(to, str) and to not in ("stdout", "stderr"):
        where = (folder / to).parent
        if _is_missing(where):
            yield ("access_log", "to"), f"there is no folder '{where}' for this file; make it"


def _is_missing(folder: Path) -> bool:
    try:
        return not S_ISDIR(folder.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        # Whoever serves may see more than whoever checks.
        return False


def expired_certificates(values: object, folder: Path, now: datetime) -> Iterator[Finding]:
    """The operator's own certificates that are past their end; they are served all the same.

    Asks that `broken_references` has found nothing.
    """
    for host, site in _items(_at(values, "sites")):
        if files := _files(site, folder):
            end = _sound_until(*files, host, *map(identity, files))
            if end < now:
                message = f"this certificate expired on {end.date()}, and is served all the same"
                yield ("sites", host, "tls", "cert"), message


def _files(site: object, folder: Path) -> tuple[Path, Path] | None:
    cert, key = (_at(_at(site, "tls"), name) for name in ("cert", "key"))
    both = isinstance(cert, str) and isinstance(key, str)
    return (folder / str(cert), folder / str(key)) if both else None


def _judge_servers(route: object, folder: Path, place: Place) -> Iterator[Finding]:
    servers = route if isinstance(route, list) else _at(route, "to")
    for index, server in enumerate(servers if isinstance(servers, list) else [servers]):
        if isinstance(ca := _at(server, "ca"), str):
            # A route may be its list of servers itself, without a 'to'.
            inside = (index, "ca") if route is servers else ("to", index, "ca")
            yield from _judge_authorities(folder / ca, (*place, *inside))


def _judge_authorities(path: Path, place: Place) -> Iterator[Finding]:
    try:
        _certificates(path)
    except ValueError as error:
        yield place, str(error)


def _judge_pair(cert: Path, key: Path, host: str, place: Place) -> Iterator[Finding]:
    try:
        _sound_until(cert, key, host, identity(cert), identity(key))
    except _UnsoundError as error:
        for name, message in error.findings:
            yield (*place, name), message


class _UnsoundError(Exception):
    """Two files cannot serve a host; `findings`: which of them, and why."""

    def __init__(self, findings: list[tuple[str, str]]) -> None:
        super().__init__(findings)
        self.findings = findings


# A reload of a thousand sites whose files have not changed takes a tenth of a second less by this
# (`python -m bench --work reload`). What is not sound is not remembered.
@lru_cache(_PAIRS_REMEMBERED)
def _sound_until(cert: Path, key: Path, host: str, *_identities: object) -> datetime:
    """The end of the certificate in a file; raises _UnsoundError."""
    findings, leaf, public = [], None, None
    try:
        leaf = _certificates(cert)[0]
        public = leaf.public_key()
        _check_certificate(leaf, public, host, cert)
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        findings.append(("cert", str(error)))
    try:
        _check_key(_public_half(key), public, key, cert)
    except ValueError as error:
        findings.append(("key", str(error)))
    if findings or leaf is None:
        raise _UnsoundError(findings)
    return leaf.not_valid_after_utc


def identity(path: Path) -> object:
    """What changes when a file does; None where there is none."""
    # A name that no file can have, with a NUL for instance, is a ValueError.
    with suppress(OSError, ValueError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return None


def _check_certificate(
    leaf: x509.Certificate, public: PublicKeyTypes, host: str, path: Path
) -> None:
    names = _names(leaf)
    wildcard = f"*.{same_name(host).partition('.')[2]}"
    if not {same_name(host), wildcard} & names:
        holds = ", ".join(sorted(names)) or "no name at all"
        raise ValueError(
            f"'{path}' is not for {host} but for {holds}; name that site's certificate"
        )
    if isinstance(public, RSAPublicKey) and public.key_size < _SHORTEST_RSA_KEY:
        raise ValueError(f"'{path}' has a key of {public.key_size} bits; RSA needs 2048 or more")


def _check_key(
    own: PublicKeyTypes, certified: PublicKeyTypes | None, key: Path, cert: Path
) -> None:
    if certified is not None and own != certified:
        raise ValueError(f"'{key}' is not the key of '{cert}'; name the key it was issued for")


def _names(leaf: x509.Certificate) -> set[str]:
    # The common name does not count (RFC 9525 §2).
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {name.lower() for name in names.get_values_for_type(x509.DNSName)}


def _certificates(path: Path) -> list[x509.Certificate]:
    pem = _read(path)
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError(f"'{path}' holds no certificate in PEM") from None


def _public_half(path: Path) -> PublicKeyTypes:
    pem = _read(path)
    try:
        return load_pem_private_key(pem, None).public_key()
    except TypeError:
        raise ValueError(
            f"'{path}' has a passphrase; write it without one, by: openssl pkey"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"'{path}' holds no private key in PEM") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{str(path)!r} cannot be read: no file has such a name") from None


def _items(values: object) -> Iterator[tuple[str, object]]:
    if isinstance(values, dict):
        yield from values.items()


def _at(values: object, key: str) -> object:
    return values.get(key) if isinstance(values, dict) else None
