"""What follows from bytes that were judged before, found by these bytes again. Pure.

Law: nothing is judged here. What is remembered is what the gate (`head`), `hop` and `reply` made of
the same bytes for the same route; whoever finds nothing takes the long way. The tests hold that
both ways give the same bytes.

Why: a client sends the same fields with every announce, and an origin answers with the same head
for a second. What was made of them costs 2 µs to find, 30 to make of remembered parts and 60 to
make anew (`python -m bench.exchange`).
"""

import re
from dataclasses import dataclass

from .config import Limits
from .errors import UpstreamError
from .fields import FieldRules, persistent, upgrade_asked
from .head import REMEMBERED, SHORT_BYTES, Fields, Framing, RequestHead, read_response
from .hop import lines_around_sender
from .reply import Reply
from .routing import Route

# The grammar of `head`, for the one method and the one form of target that are remembered.
_LINE = re.compile(rb"GET (/[!\"$-~]*+) HTTP/1\.1\r\n")
# Requests in all memos together: some 3 KB each.
MOST = 8192
# So many answers in a row that are not known, and none is looked for until the next second.
_WORTHLESS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a block of field lines becomes on the way to the origin, but for who sends it.

    The request is `front`, what is said of the sender up to the end of its last line, `tail`; the
    first line up to the target stands before it. `persist`: another request may follow.
    """

    front: bytes
    tail: bytes
    host: bytes
    host_name: str
    fields: Fields
    framing: Framing
    persist: bool

    def request(self, target: bytes) -> RequestHead:
        """The request as the gate reads it."""
        return RequestHead(
            b"GET", target, b"1.1", self.host, self.host_name, self.fields, self.framing
        )


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a response's head becomes on the way to the client; `length` is its body's in bytes."""

    head: bytes
    status: int
    length: int


class Memo:
    """What is known of one route's requests and responses.

    Responses are forgotten each second, for the proxy may have added the date. What an origin sends
    is remembered from its second time on: some heads never come twice.
    """

    __slots__ = ("_date", "_misses", "_once", "_requests", "_responses", "_rules")

    def __init__(self, rules: FieldRules) -> None:
        self._rules = rules
        self._requests: dict[bytes, Known] = {}
        # Whether the client's connection persists makes another answer of the same head.
        self._responses: dict[bool, dict[bytes, Answer]] = {True: {}, False: {}}
        self._once: set[bytes] = set()
        self._misses = 0
        self._date = b""

    def request(self, data: bytes, date: bytes) -> tuple[bytes, Known] | None:
        """(target, what its fields become), if `data` is one whole request that is known.

        None as well where none of the origin's answers of this second is.
        """
        line = _LINE.match(data)
        if line is None or (self._misses >= _WORTHLESS and date is self._date):
            return None
        known = self._requests.get(data[line.end() :])
        return None if known is None else (line[1], known)

    def learn_request(self, head: bytes, request: RequestHead) -> bool:
        """Remember a request that passed the gate for this route; whether that could be done."""
        fields, block = request.fields, head[head.find(b"\n") + 1 :]
        plain = (
            head.startswith(b"GET /")
            and request.version == b"1.1"
            and request.framing == Framing(0, False)
            and len(block) <= SHORT_BYTES
            and not fields.values(b"expect")
            and not upgrade_asked(request.version, fields)
        )
        if not plain or block in self._requests:
            return False
        before, behind = lines_around_sender(
            fields, self._rules, b"1.1", request.host, upgrade=(), trusted=False
        )
        self._requests[block] = Known(
            b" HTTP/1.1\r\nHost: %b\r\n%b" % (request.host, before),
            b"\r\n%b\r\n" % behind,
            request.host,
            request.host_name,
            fields,
            request.framing,
            persistent(request.version, fields),
        )
        return True

    def answer(self, data: bytes, date: bytes, *, persist: bool) -> tuple[int, Answer] | None:
        """(where the body begins, what the head becomes), if `data` is one whole known response."""
        if date is not self._date:
            self._forget(date)
        body = data.find(b"\r\n\r\n") + 4
        found = self._responses[persist].get(data[:body])
        if found is None or len(data) != body + found.length:
            self._misses += 1
            return None
        self._misses = 0
        return body, found

    def learn_answer(self, data: bytes, request: RequestHead, limits: Limits, date: bytes) -> None:
        """Remember the head of a response that came in one piece."""
        head = data[: data.find(b"\r\n\r\n") + 4]
        longest = min(SHORT_BYTES, limits.response_head)
        if not 4 < len(head) <= longest or sum(map(len, self._responses.values())) >= REMEMBERED:
            return
        if head not in self._once:
            self._once.add(head)
            return
        try:
            response = read_response(head, bodiless=False)
        except UpstreamError:
            return
        length = response.framing.length
        if length is None or response.status < 200:
            return
        if persistent(response.version, response.fields):
            reply = Reply(request, response, self._rules, limits, date=date, may_persist=True)
            answer = Answer(reply.head, response.status, length)
            self._responses[reply.persist][head] = answer

    def forget_requests(self) -> None:
        """Begin anew."""
        self._requests.clear()

    def _forget(self, date: bytes) -> None:
        self._date = date
        self._misses = 0
        self._responses = {True: {}, False: {}}
        self._once.clear()


class Memos:
    """The memos of one worker, by route.

    They hold MOST requests together; then all begin anew, so that nobody can fill them for good.
    """

    def __init__(self) -> None:
        self._memos: dict[Route, Memo | None] = {}
        self._learned = 0

    def of(self, route: Route) -> Memo | None:
        """The memo of a route; None where what becomes of a request depends on more than bytes."""
        try:
            return self._memos[route]
        except KeyError:
            memo = self._memos[route] = Memo(route.rules) if _alike(route) else None
            return memo

    def learn(self, route: Route, head: bytes, request: RequestHead) -> bool:
        """Remember a request that passed the gate for this route; whether that could be done."""
        memo = self.of(route)
        if memo is None or not memo.learn_request(head, request):
            return False
        self._learned += 1
        if self._learned >= MOST:
            self._learned = 0
            for each in filter(None, self._memos.values()):
                each.forget_requests()
        return True


def _alike(route: Route) -> bool:
    """Whether requests of the same bytes are treated alike, whoever sends them and when."""
    config = route.config
    return (
        len(config.to) == 1
        and config.to[0].proxy_protocol is None
        and config.host_header == "preserve"
        and not (config.allow or config.health or config.compress)
        and route.quota is None
        and route.guard is None
        and not route.rules.request_dropped & {b"x-forwarded-for", b"x-request-id"}
    )
