"""The plain listener on port 80: a redirect to https for known hosts, and ACME's http-01 tokens.

Law: no request is ever forwarded from here.
"""

import asyncio
import math
from collections.abc import Callable
from typing import cast

from .answers import content_answer, error_answer, redirect_answer
from .errors import ClientError
from .fields import persistent
from .head import HeadBuffer, RequestHead, read_request
from .listener import LINGER_SECONDS, Listener

_CHALLENGES = b"/.well-known/acme-challenge/"


def location_of(request: RequestHead, https_port: int) -> bytes:
    """The same URL on https, with the port where it isn't 443. The target's bytes stay."""
    port = b"" if https_port == 443 else b":%d" % https_port
    target = b"/" if request.target == b"*" else request.target
    return b"https://%b%b%b" % (request.host_name.encode("ascii"), port, target)


class Redirect(asyncio.Protocol):
    """A client's connection on the plain port."""

    transport: asyncio.Transport

    def __init__(
        self, listener: Listener, https_port: int, http_token: Callable[[str], bytes | None]
    ) -> None:
        self._listener = listener
        self._http_token = http_token
        self._https_port = https_port
        self._loop = asyncio.get_running_loop()
        self._heads = HeadBuffer(listener.limits.request_head, skip_blank=True)
        self._ended = False
        self.deadline = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        refused = self._listener.full
        self._listener.joined(self)
        self._wait(self._listener.timeouts.request_head)
        if refused:
            self._refuse(ClientError(503, "too many connections are open"))

    def data_received(self, data: bytes) -> None:
        try:
            while not self._ended and (head := self._heads.take(data)) is not None:
                data = b""
                self._answer(read_request(head))
        except ClientError as error:
            self._refuse(error)
        except ValueError as error:
            status = {"line": 414, "head": 431}.get(str(error), 400)
            self._refuse(ClientError(status, "the request head is malformed or too long"))

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.parted(self)

    def expired(self) -> None:
        """The deadline has passed: for a request's head, for the next one, or for the end."""
        if self._ended:
            self.transport.abort()
        elif self._heads.data:
            self._refuse(ClientError(408, "the request head did not come in time"))
        else:
            self._ended = True
            self.transport.close()

    def drain(self) -> None:
        """Answers are given at once, so nothing is under way."""
        self._end()

    def abort(self) -> None:
        """End at once."""
        self.transport.abort()

    def _answer(self, request: RequestHead) -> None:
        bodiless = request.framing.length == 0
        persist = bodiless and persistent(request.version, request.fields)
        self.transport.write(self._answer_to(request, close=not persist))
        self._wait(self._listener.timeouts.keepalive)
        if not persist:
            self._end()

    def _answer_to(self, request: RequestHead, *, close: bool) -> bytes:
        head_only, date = request.method == b"HEAD", self._listener.date
        try:
            content = self._content_for(request)
        except ClientError as error:
            return self._error_answer(error, close=close, bodiless=head_only)
        if content is not None:
            return content_answer(content, date=date, close=close, bodiless=head_only)
        location = location_of(request, self._https_port)
        return redirect_answer(location, date=date, close=close, bodiless=head_only)

    def _content_for(self, request: RequestHead) -> bytes | None:
        """What an authority asks for; None for a request to be redirected. Raises ClientError."""
        if request.method in (b"CONNECT", b"TRACE"):
            raise ClientError(405, "this method is not served")
        if request.target.startswith(_CHALLENGES):
            token = request.target.removeprefix(_CHALLENGES).decode("ascii")
            content = self._http_token(token)
            if content is None:
                raise ClientError(404, "no such challenge is under way")
            return content
        if self._listener.table.site(request.host_name) is None:
            raise ClientError(404, "there is no such site here")
        return None

    def _error_answer(self, error: ClientError, *, close: bool, bodiless: bool) -> bytes:
        return error_answer(
            error,
            request_id=self._listener.next_request_id(),
            date=self._listener.date,
            close=close,
            bodiless=bodiless,
        )

    def _refuse(self, error: ClientError) -> None:
        self.transport.write(self._error_answer(error, close=True, bodiless=False))
        self._end()

    def _end(self) -> None:
        """Say no more; hear the client out for a moment, so that no reset eats the answer."""
        if not self._ended:
            self._ended = True
            self.transport.write_eof()
            self._wait(LINGER_SECONDS)

    def _wait(self, seconds: float | None) -> None:
        self.deadline = math.inf if seconds is None else self._loop.time() + seconds
