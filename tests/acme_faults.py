"""The bad days of a CA, each a fault for `AcmeShim.on`.

Faults that answer in the CA's place carry a fresh nonce, as RFC 8555 §6.5 wants of every answer
to a POST; those of a load balancer before it, or of a broken line, do not.
"""

from __future__ import annotations

import datetime
import json
from email.utils import format_datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.acme_shim import Answer, Fault, Visit, html
from tests.authority import Authority

ERROR = "urn:ietf:params:acme:error:"


def problem(status: int, kind: str, detail: str, *, retry_after: str | None = None) -> Fault:
    """A problem document (RFC 7807) of type `kind`, for instance `rateLimited`."""

    def fault(visit: Visit) -> None:
        fields = {"Content-Type": "application/problem+json", "Replay-Nonce": visit.shim.nonce()}
        if retry_after is not None:
            fields["Retry-After"] = retry_after
        document = {"type": ERROR + kind, "detail": detail, "status": status}
        visit.answer(Answer(status, fields, json.dumps(document).encode()))

    return fault


def http_date(at: float) -> str:
    """`at` (a POSIX time) as Retry-After's other form (RFC 9110 §10.2.3)."""
    return format_datetime(datetime.datetime.fromtimestamp(at, datetime.UTC), usegmt=True)


def overloaded(retry_after: str = "120") -> Fault:
    """503 from the load balancer: HTML, and no nonce."""
    fields = {"Retry-After": retry_after}
    return lambda visit: visit.answer(html(503, **fields))


def already_replaced(visit: Visit) -> None:
    """An order that names its predecessor is refused (RFC 9773 §5); any other passes."""
    if "replaces" in visit.call.payload:
        problem(409, "alreadyReplaced", "the certificate was replaced already")(visit)
    else:
        visit.answer(visit.forward())


def reset_after(visit: Visit) -> None:
    """The CA did it, the line broke before it could say so."""
    visit.forward()
    visit.reset()


def hang(visit: Visit) -> None:
    """Nothing is ever said."""
    visit.hang()


def drip(visit: Visit) -> None:
    """A byte now and then: no read ever times out."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3600\r\n\r\n"
    visit.drip(head + b" " * 3600, 0.1)


def without_nonce(visit: Visit) -> None:
    """The true answer, its nonce lost on the way."""
    answer = visit.forward()
    fields = {name: value for name, value in answer.fields.items() if name != "Replay-Nonce"}
    visit.answer(answer._replace(fields=fields))


def content(replacement: bytes) -> Fault:
    """The true head with other content."""
    return lambda visit: visit.answer(visit.forward()._replace(content=replacement))


def leaf_only(visit: Visit) -> None:
    """A download without the chain that signs it."""
    answer = visit.forward()
    leaf, *_ = x509.load_pem_x509_certificates(answer.content)
    visit.answer(answer._replace(content=leaf.public_bytes(serialization.Encoding.PEM)))


def another_key(authority: Authority, *names: str) -> Fault:
    """A download of a well-signed certificate whose key nobody here has."""
    return lambda visit: content(authority.pair(*names).cert.read_bytes())(visit)
