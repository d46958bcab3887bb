"""The names a certificate is for: host names, wildcards, IP addresses.

Law: pure. A name is compared in one form only, the one `normal` gives.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from cryptography import x509

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What may become a file name: a host name's characters (RFC 952, and the underscore of `_` files),
# an address's colons, never a slash and never a leading dot.
_FILE_STEM = re.compile(r"[0-9a-z_:-][0-9a-z_.:-]{0,252}")
_WILDCARD_CHALLENGES = frozenset({"dns-01"})
# RFC 8738 §7: dns-01 cannot show control over an address.
_ADDRESS_CHALLENGES = frozenset({"http-01", "tls-alpn-01"})


def normal(name: str) -> str:
    """Lower case, without the root's dot; an IP address in its canonical form (RFC 5952)."""
    name = name.strip().strip("[]").rstrip(".").lower()
    address = as_address(name)
    return name if address is None else str(address)


def as_address(name: str) -> Address | None:
    """The IP address that `name` is, or None for a host name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def file_stem(host: str) -> str:
    """The name of a host's files without their ending: `*` becomes `_`.

    Of a host `acme` it ends in the dot that no name here has: `acme.json` holds the accounts.

    Raises ValueError for what no host can be named, so that no name leaves the store's folder.
    """
    stem = normal(host).replace("*", "_")
    if not _FILE_STEM.fullmatch(stem):
        raise ValueError(f"{host!r} is no name a certificate can have")
    return "acme." if stem == "acme" else stem


def identifier(name: str) -> dict[str, str]:
    """A name as newOrder wants it (RFC 8555 §9.7.7, RFC 8738 §3)."""
    return {"type": "dns" if as_address(name) is None else "ip", "value": name}


def general_name(name: str) -> x509.GeneralName:
    """A name as a certificate carries it."""
    address = as_address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)


def sni(name: str) -> str:
    """The server name a tls-alpn-01 validation asks for: of an address its reverse name.

    Source: RFC 8738 §6.
    """
    address = as_address(name)
    return name if address is None else address.reverse_pointer


def subject_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """All names of a certificate's subjectAltName, sorted; none when it has no such extension."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return tuple(sorted(normal(str(name)) for name in (*hosts, *addresses)))


def covers(names: Iterable[str], host: str) -> bool:
    """Whether a certificate with these names serves `host` (RFC 9525 §6.3: one label only)."""
    present, host = set(names), normal(host)
    if host in present:
        return True
    _, _, parent = host.partition(".")
    return as_address(host) is None and bool(parent) and f"*.{parent}" in present


def possible_challenges(name: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of the wanted challenges that can show control over `name`, in their order.

    A wildcard needs dns-01 (RFC 8555 §8.3, RFC 8737 §3), an address must do without it.
    """
    if name.startswith("*."):
        return tuple(each for each in wanted if each in _WILDCARD_CHALLENGES)
    if as_address(name) is not None:
        return tuple(each for each in wanted if each in _ADDRESS_CHALLENGES)
    return tuple(wanted)
