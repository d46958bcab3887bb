"""The answers that the proxy gives itself: whole responses that tell nothing of what is behind."""

from __future__ import annotations

from http import HTTPStatus

import h11
import pytest

from proxy.answers import ALLOWED_METHODS, error_answer, options_answer, phrase, redirect_answer
from proxy.errors import ClientError, UpstreamError

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
STATUSES = [400, 401, 403, 404, 405, 408, 413, 414, 421, 429, 431, 501, 505]


def read(octets: bytes, *, method: bytes = b"GET") -> tuple[h11.Response, bytes]:
    """The one response in the bytes, to their end."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(octets)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    content = bytearray()
    while isinstance(event := client.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return response, bytes(content)


def answer(
    error: ClientError | UpstreamError, *, close: bool = True, bodiless: bool = False
) -> bytes:
    return error_answer(error, request_id=b"7f-01", date=DATE, close=close, bodiless=bodiless)


@pytest.mark.parametrize("status", STATUSES)
def test_a_clients_error_is_a_whole_response_with_its_reason(status: int) -> None:
    response, content = read(answer(ClientError(status, "because of that")))
    assert response.status_code == status
    assert b"because of that" in content


def test_who_may_come_again_later_is_told_when() -> None:
    response, _ = read(answer(ClientError(429, "too often", retry_after=7)))
    assert dict(response.headers)[b"retry-after"] == b"7"


def test_who_needs_a_password_is_told_for_what() -> None:
    response, _ = read(answer(ClientError(401, "a password is needed", realm="a.example.com")))
    wanted = b'Basic realm="a.example.com", charset="UTF-8"'
    assert dict(response.headers)[b"www-authenticate"] == wanted


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_upstreams_error_tells_nothing_of_the_upstream(status: int) -> None:
    response, content = read(answer(UpstreamError(status, "secret_reason")))
    assert response.status_code == status
    assert b"secret" not in content + b"".join(value for _, value in response.headers)


@pytest.mark.parametrize("error", [ClientError(400, "x"), UpstreamError(502, "x")])
def test_the_body_is_plain_text_and_names_the_requests_id(
    error: ClientError | UpstreamError,
) -> None:
    response, content = read(answer(error))
    assert dict(response.headers)[b"content-type"] == b"text/plain; charset=utf-8"
    assert b"7f-01" in content


@pytest.mark.parametrize(("close", "said"), [(True, b"close"), (False, b"keep-alive")])
def test_each_answer_says_whether_it_is_the_last(close: bool, said: bytes) -> None:
    """RFC 9112 §9.3: a client of HTTP/1.0 waits for the connection's end unless it is told."""
    response, _ = read(answer(ClientError(404, "x"), close=close))
    assert dict(response.headers).get(b"connection") == said


def test_an_answer_is_dated() -> None:
    """RFC 9110 §6.6.1."""
    assert dict(read(answer(ClientError(404, "x")))[0].headers)[b"date"] == DATE


def test_the_answer_to_head_has_the_length_of_a_body_it_does_not_have() -> None:
    """RFC 9110 §9.3.2."""
    error = ClientError(404, "x")
    response, content = read(answer(error, bodiless=True), method=b"HEAD")
    assert content == b""
    assert dict(response.headers)[b"content-length"] == b"%d" % len(read(answer(error))[1])


def test_405_says_which_methods_are_allowed() -> None:
    """RFC 9110 §15.5.6."""
    response, _ = read(answer(ClientError(405, "x")))
    assert dict(response.headers)[b"allow"] == ALLOWED_METHODS
    assert b"allow" not in dict(read(answer(ClientError(404, "x")))[0].headers)


@pytest.mark.parametrize("status", HTTPStatus)
def test_each_status_has_a_phrase(status: HTTPStatus) -> None:
    assert phrase(status)


@pytest.mark.parametrize(
    ("status", "words"),
    [(408, "Request Timeout"), (413, "Content Too Large"), (421, "Misdirected Request")],
)
def test_phrases_are_those_of_rfc_9110_on_any_python(status: int, words: str) -> None:
    """RFC 9110 §15.5; Python before 3.13 has the older names."""
    assert phrase(status) == words


def test_options_is_answered_with_the_methods_and_no_body() -> None:
    """RFC 9110 §9.3.7."""
    response, content = read(options_answer(date=DATE, close=False), method=b"OPTIONS")
    assert (response.status_code, content) == (200, b"")
    assert dict(response.headers)[b"allow"] == ALLOWED_METHODS


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_redirect_is_308_so_that_the_method_stays(method: bytes) -> None:
    """RFC 9110 §15.4.9."""
    octets = redirect_answer(
        b"https://a/b?c=%zz", date=DATE, close=False, bodiless=method == b"HEAD"
    )
    response, _ = read(octets, method=method)
    assert response.status_code == 308
    assert dict(response.headers)[b"location"] == b"https://a/b?c=%zz"
