"""The answers that the proxy gives itself. Pure.

Law: they name the request's id and nothing of what stands behind the proxy.
"""

from http import HTTPStatus

from .errors import ClientError, UpstreamError

_UPSTREAM_TEXT = {
    502: "the upstream did not answer as it should",
    503: "no upstream is ready",
    504: "the upstream took too long",
}
ALLOWED_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_PHRASES = {
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
}


def phrase(status: int) -> str:
    """The reason phrase of a status (RFC 9110 §15)."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def error_answer(
    error: ClientError | UpstreamError,
    *,
    request_id: bytes,
    date: bytes,
    close: bool,
    bodiless: bool = False,
    fields: bytes = b"",
) -> bytes:
    """A whole response for an error; `bodiless` for HEAD, `close` when it is the last one, `fields`
    more lines."""
    text = error.reason if isinstance(error, ClientError) else _UPSTREAM_TEXT[error.status]
    status = f"{error.status} {phrase(error.status)}"
    body = f"{status}: {text}\nrequest id: {request_id.decode('ascii')}\n".encode("ascii")
    lines = b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n" % len(body)
    if isinstance(error, ClientError):
        lines += _what_would_help(error)
    lines += fields
    return _answer(status, lines, date, close=close) + (b"" if bodiless else body)


def _what_would_help(error: ClientError) -> bytes:
    lines = b""
    if error.status == 405:
        lines += b"Allow: %b\r\n" % (error.allowed or ALLOWED_METHODS)
    if error.retry_after is not None:
        lines += b"Retry-After: %d\r\n" % error.retry_after
    if error.realm is not None:
        realm = error.realm.encode("ascii")
        lines += b'WWW-Authenticate: Basic realm="%b", charset="UTF-8"\r\n' % realm
    return lines


def strict_transport(seconds: int) -> bytes:
    """The field by which a host asks for https only, for so long (RFC 6797 §6.1)."""
    return b"Strict-Transport-Security: max-age=%d\r\n" % seconds


def options_answer(*, date: bytes, close: bool, fields: bytes = b"") -> bytes:
    """The answer of the proxy to OPTIONS with Max-Forwards: 0 (RFC 9110 §7.6.2)."""
    lines = b"Allow: %b\r\nContent-Length: 0\r\n%b" % (ALLOWED_METHODS, fields)
    return _answer("200 OK", lines, date, close=close)


def redirect_answer(location: bytes, *, date: bytes, close: bool, bodiless: bool) -> bytes:
    """A 308 to `location`: method and body stay what they are (RFC 9110 §15.4.9)."""
    body = b"308 Permanent Redirect: %b\n" % location
    lines = b"Location: %b\r\nContent-Type: text/plain; charset=utf-8\r\n" % location
    lines += b"Content-Length: %d\r\n" % len(body)
    answer = _answer("308 Permanent Redirect", lines, date, close=close)
    return answer + (b"" if bodiless else body)


def content_answer(
    content: bytes,
    *,
    date: bytes,
    close: bool,
    bodiless: bool,
    status: int = 200,
    kind: bytes = b"application/octet-stream",
    fields: bytes = b"",
) -> bytes:
    """A response with these bytes as they are; `kind` is their media type, `fields` more lines."""
    lines = b"Content-Type: %b\r\nContent-Length: %d\r\n%b" % (kind, len(content), fields)
    answer = _answer(f"{status} {phrase(status)}", lines, date, close=close)
    return answer + (b"" if bodiless else content)


def status_of(answer: bytes) -> int:
    """The status of one of these answers."""
    return int(answer[9:12])


def _answer(status: str, lines: bytes, date: bytes, *, close: bool) -> bytes:
    # To keep it goes without saying in HTTP/1.1, and not in HTTP/1.0 (RFC 9112 §9.3).
    return b"HTTP/1.1 %b\r\nDate: %b\r\n%bConnection: %b\r\n\r\n" % (
        status.encode("ascii"),
        date,
        lines,
        b"close" if close else b"keep-alive",
    )
