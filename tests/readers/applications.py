"""`python -m tests.readers.applications h11|aiohttp PORT`, and applications for two servers.

Each notes every whole request and answers `ok`.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import h11
from aiohttp import web

from tests.readers.record import Seen, note


def noted_in() -> str:
    return os.environ["RECORD"]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """For uvicorn."""
    assert scope["type"] == "http"
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    method = scope["method"].encode()
    note(noted_in(), Seen.of(method, target, b"|".join(hosts), body))
    fields = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"ok"})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """For gunicorn."""
    body = environ["wsgi.input"].read()
    host = environ.get("HTTP_HOST", "")
    note(noted_in(), Seen(environ["REQUEST_METHOD"], environ["RAW_URI"], host, body))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


async def _aiohttp(request: web.BaseRequest) -> web.StreamResponse:
    body = await request.read()
    host = "|".join(request.headers.getall("Host"))
    note(noted_in(), Seen(request.method, request.raw_path, host, body))
    return web.Response(body=b"ok")


def serve_aiohttp(port: int) -> None:
    application = web.Application(client_max_size=2**20)
    application.router.add_route("*", "/{path:.*}", _aiohttp)
    web.run_app(application, host="127.0.0.1", port=port, print=lambda *_: None)


def serve_h11(port: int) -> None:
    """h11 itself, with a thread for each connection."""
    with socket.create_server(("127.0.0.1", port), backlog=128) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_one, args=(connection,), daemon=True).start()


def _one(connection: socket.socket) -> None:
    reader = h11.Connection(h11.SERVER)
    with connection:
        try:
            while _exchange(connection, reader):
                reader.start_next_cycle()
        except OSError:
            pass
        except h11.RemoteProtocolError:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def _exchange(connection: socket.socket, reader: h11.Connection) -> bool:
    request, body = None, bytearray()
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            if reader.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                connection.sendall(reader.send(go_on) or b"")
            reader.receive_data(connection.recv(65536))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            return False
    assert request is not None
    host = b"|".join(value for name, value in request.headers if name == b"host")
    note(noted_in(), Seen.of(request.method, request.target, host, bytes(body)))
    answer = h11.Response(status_code=200, headers=[("Content-Length", "2")])
    events = [answer, h11.Data(data=b"ok"), h11.EndOfMessage()]
    if request.method == b"HEAD":
        del events[1]
    connection.sendall(b"".join(reader.send(event) or b"" for event in events))
    return reader.our_state is h11.DONE and reader.their_state is h11.DONE


if __name__ == "__main__":
    {"h11": serve_h11, "aiohttp": serve_aiohttp}[sys.argv[1]](int(sys.argv[2]))
