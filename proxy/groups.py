"""Which key-exchange groups this OpenSSL offers, in its own order of preference.

Neither pyOpenSSL nor its binding can list them, so they are read where they are said: in the
supported_groups extension of a ClientHello (RFC 8446 §4.2.7).
"""

import contextlib

from OpenSSL import SSL

_SUPPORTED_GROUPS = 10
# IANA's TLS Supported Groups registry.
_NAMES = {
    0x0017: "secp256r1",
    0x0018: "secp384r1",
    0x0019: "secp521r1",
    0x001D: "x25519",
    0x001E: "x448",
    0x0029: "curveSM2",
    0x0100: "ffdhe2048",
    0x0101: "ffdhe3072",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
    0x11EE: "curveSM2MLKEM768",
}


def key_exchange_groups() -> list[str]:
    """The groups by name, best first; one without a known name as its number."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    client = SSL.Connection(context, None)
    client.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        client.do_handshake()
    return [_NAMES.get(number, f"0x{number:04x}") for number in offered(client.bio_read(16384))]


def offered(record: bytes) -> list[int]:
    """The numbers of the groups in a record that holds a whole ClientHello (RFC 8446 §4.1.2)."""
    at = 5 + 4 + 2 + 32
    at += 1 + record[at]
    at += 2 + int.from_bytes(record[at : at + 2])
    at += 1 + record[at] + 2
    while at < len(record):
        kind, size = int.from_bytes(record[at : at + 2]), int.from_bytes(record[at + 2 : at + 4])
        if kind == _SUPPORTED_GROUPS:
            numbers = record[at + 6 : at + 4 + size]
            return [int.from_bytes(numbers[i : i + 2]) for i in range(0, len(numbers), 2)]
        at += 4 + size
    return []
