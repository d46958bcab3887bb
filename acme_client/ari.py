"""Renewal information: when the authority would like a certificate to be renewed (RFC 9773).

Law: it can only move a renewal; whatever is wrong with it, the certificate's own dates decide.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from josepy.b64 import b64encode

from .errors import Retry
from .network import Network
from .times import from_text, retry_after


class Suggestion(NamedTuple):
    """What the authority answered."""

    start: datetime
    end: datetime
    ask_again: datetime | None
    """By its Retry-After."""


def certificate_id(certificate: x509.Certificate) -> str | None:
    """The identifier of RFC 9773 §4.1; None for a certificate without an authority key id."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    authority = extension.value.key_identifier
    if authority is None:
        return None
    # The content octets of the DER INTEGER: a leading zero where the first bit is set.
    serial = certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{b64encode(authority).decode()}.{b64encode(octets).decode()}"


def ask(network: Network, certificate: x509.Certificate) -> Suggestion | None:
    """The suggested window; None where the authority offers none.

    Raises IssueError when the answer is none, or malformed, or ends before it starts, which
    RFC 9773 §4.2 wants treated alike.
    """
    base, identifier = network.resource("renewalInfo"), certificate_id(certificate)
    if base is None or identifier is None:
        return None
    answer = network.get(f"{base.rstrip('/')}/{identifier}")
    window = answer.json().get("suggestedWindow")
    fields = window if isinstance(window, dict) else {}
    start, end = from_text(fields.get("start")), from_text(fields.get("end"))
    if start is None or end is None or end <= start:
        raise Retry(f"the renewal information cannot be used: {answer.excerpt()}")
    named = retry_after(answer.fields.get("retry-after"), "", network.clock())
    return Suggestion(start, end, named)
