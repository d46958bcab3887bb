"""Both ways through the pure rooms: what is remembered, and what is judged anew.

Law: where `memo` knows an answer it is, byte for byte, what the gate, `hop` and `reply` make of the
same octets; only who asks, when, and the id may differ, and here they do not.
"""

from __future__ import annotations

from proxy.errors import ClientError
from proxy.head import read_request
from proxy.memo import Memo
from tests.wire.corpus import ASKED
from tests.wire.rooms import BOUNDS, DATE, RULES, SENDER, Requests, Response

LEAVING = ASKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
_SAID = b"X-Forwarded-For: %b\r\nX-Request-ID: %b" % (
    SENDER.address.encode("ascii"),
    SENDER.request_id,
)


def remembered_request(octets: bytes, learned: bytes) -> bytes | None:
    """What goes on of `octets` if they are known from `learned`, which may be no request."""
    memo = Memo(RULES)
    head = learned[: learned.find(b"\r\n\r\n") + 4]
    try:
        memo.learn_request(head, read_request(head))
    except ClientError:
        return None
    # The limit is the fast lane's to keep: what is remembered are fields, not a head.
    found = memo.request(octets, DATE) if len(octets) <= BOUNDS.request_head else None
    if found is None:
        return None
    target, known = found
    return b"GET %b%b%b%b" % (target, known.front, _SAID, known.tail)


def judged_request(octets: bytes) -> bytes:
    """What goes on of `octets` that are one request, judged anew."""
    requests = Requests()
    requests.receive(octets)
    assert (requests.whole, requests.refusal) == (1, None)
    return bytes(requests.sent)


def remembered_answer(octets: bytes, request: bytes) -> bytes | None:
    """What the client hears of `octets` if they are known after having come twice before."""
    memo, asked = Memo(RULES), read_request(request)
    for _ in range(2):
        memo.answer(octets, DATE, persist=True)
        memo.learn_answer(octets, asked, BOUNDS, DATE)
    found = memo.answer(octets, DATE, persist=b"close" not in request)
    if found is None:
        return None
    body, answer = found
    return answer.head + octets[body:] if answer.length else answer.head


def judged_answer(octets: bytes, request: bytes) -> bytes:
    """What the client hears of `octets` that are one answer after which the origin stays."""
    response = Response(request)
    response.receive(octets)
    assert response.reply is not None
    assert response.reply.done
    assert response.reply.upstream_persists
    assert response.reply.persist is (b"close" not in request)
    return response.sent
