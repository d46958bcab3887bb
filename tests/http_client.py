"""One HTTP/1.1 exchange with the request's bytes as the test wrote them, the answer read by h11."""

from __future__ import annotations

from typing import NamedTuple

import h11

from tests.tls_client import PlainClient


class Answer(NamedTuple):
    """A final response: its content, and its fields as received, names in lower case."""

    status: int
    fields: list[tuple[bytes, bytes]]
    content: bytes

    def field(self, name: str) -> bytes | None:
        """The first value of field `name`."""
        return next((value for key, value in self.fields if key == name.encode()), None)

    def essence(self) -> tuple[int, bytes | None, bytes]:
        """What a client sees whichever way it came: status, media type, content."""
        return self.status, self.field("content-type"), self.content


def get(target: bytes, host: str, *fields: bytes, method: bytes = b"GET") -> bytes:
    """The bytes of a request without content."""
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: " + host.encode(), *fields]
    return b"\r\n".join([*lines, b"", b""])


def exchange(client: PlainClient, request: bytes) -> Answer:
    """Send `request` and read its one final response; the connection stays open if it may."""
    client.send(request)
    return read_answer(client, request.split(b" ", 1)[0])


def read_answer(client: PlainClient, method: bytes = b"GET") -> Answer:
    """Read the final response to a request made with `method`, 1xx left out."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "any")]))
    reader.send(h11.EndOfMessage())
    head: h11.Response | None = None
    content = bytearray()
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            reader.receive_data(client.recv())
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            return Answer(head.status_code, list(head.headers), bytes(content))
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionError("the connection ended before an answer")
