"""Jupyter Server behind the proxy: pages, REST, a terminal and a kernel over WebSocket."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import uuid
from collections.abc import Iterator
from functools import cached_property

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.jupyter import HOST, TOKEN, Jupyter
from tests.http_client import Answer, exchange, get
from tests.programs import Hopward
from tests.tls_client import PlainClient, TLSClient

FOREIGN = "other.example.com"
PATIENCE = 60


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with Jupyter(tmp_path_factory.mktemp("jupyter")) as program:
        yield program


@pytest.fixture(scope="module")
def proxy(jupyter: Jupyter, front: Front) -> Hopward:
    origin = f"http://127.0.0.1:{jupyter.port}"
    return front({HOST: origin, FOREIGN: origin})


class Ways:
    """The same, once directly and once through the proxy."""

    def __init__(
        self, jupyter: Jupyter, proxy: Hopward, authority: Authority, trusting: ssl.SSLContext
    ) -> None:
        self.jupyter, self.proxy = jupyter, proxy
        self.authority, self.trusting = authority, trusting
        self.name = f"{HOST}:{proxy.https}"

    def direct(self, request: bytes) -> Answer:
        with PlainClient(self.jupyter.port) as client:
            return exchange(client, request)

    def proxied(self, request: bytes, host: str = HOST) -> Answer:
        with TLSClient(self.proxy.https, host, cafile=self.authority.pem) as client:
            return exchange(client, request)

    def websocket(self, path: str, origin: str | None = None) -> ClientConnection:
        """A WebSocket through the proxy, by default with the Origin of its own pages."""
        return connect(
            f"wss://{self.name}{path}",
            sock=socket.create_connection(("127.0.0.1", self.proxy.https), PATIENCE),
            ssl=self.trusting,
            origin=Origin(origin or f"https://{self.name}"),
            additional_headers={"Cookie": self.cookie},
        )

    def websocket_directly(self, path: str, origin: str) -> ClientConnection:
        return connect(
            f"ws://{self.name}{path}",
            sock=socket.create_connection(("127.0.0.1", self.jupyter.port), PATIENCE),
            origin=Origin(origin),
            additional_headers={"Cookie": self.cookie},
        )

    def log_in(self) -> Answer:
        """The answer to the login form; a WebSocket with its cookie has its Origin checked."""
        form = self.proxied(get(b"/login", self.name))
        xsrf = dict(form.fields)[b"set-cookie"].split(b";")[0]
        content = b"password=%s&%s" % (TOKEN.encode(), xsrf)
        fields = (
            b"Cookie: " + xsrf,
            b"Origin: https://" + self.name.encode(),
            b"Content-Type: application/x-www-form-urlencoded",
            b"Content-Length: %d" % len(content),
        )
        return self.proxied(get(b"/login?next=/api", self.name, *fields, method=b"POST") + content)

    @cached_property
    def cookie(self) -> str:
        cookies = [value for name, value in self.log_in().fields if name == b"set-cookie"]
        return "; ".join(cookie.split(b";")[0].decode() for cookie in cookies)

    def call(self, method: str, path: str, value: object = None) -> Answer:
        """A REST call with the token, its value as JSON."""
        content = b"" if value is None else json.dumps(value).encode()
        fields = (
            b"Authorization: token " + TOKEN.encode(),
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(content),
        )
        head = get(path.encode(), self.name, *fields, method=method.encode())
        return self.proxied(head + content)


@pytest.fixture(scope="module")
def ways(jupyter: Jupyter, proxy: Hopward, authority: Authority, trusting: ssl.SSLContext) -> Ways:
    return Ways(jupyter, proxy, authority, trusting)


def test_the_login_page_and_its_style_sheets_arrive(ways: Ways) -> None:
    page = ways.proxied(get(b"/login", ways.name))
    assert page.status == 200
    assert b"<title>Jupyter Server</title>" in page.content
    sheets = re.findall(rb'href="(/static/[^"]+\.css\?[^"]*)"', page.content)
    assert sheets
    for sheet in sheets:
        request = get(sheet, ways.name)
        assert ways.proxied(request).essence() == ways.direct(request).essence()


def test_the_login_form_sets_a_cookie_and_leads_on(ways: Ways) -> None:
    answer = ways.log_in()
    assert (answer.status, answer.field("location")) == (302, b"/api")
    assert f"username-{ways.name}=".replace(":", "-").replace(".", "-") in ways.cookie


def sheet(ways: Ways) -> bytes:
    page = ways.proxied(get(b"/login", ways.name)).content
    found = re.search(rb'href="(/static/[^"]+\.css\?[^"]*)"', page)
    assert found is not None
    return found[1]


def test_an_unchanged_style_sheet_is_not_sent_again(ways: Ways) -> None:
    modified = ways.proxied(get(sheet(ways), ways.name)).field("last-modified")
    assert modified is not None
    again = ways.proxied(get(sheet(ways), ways.name, b"If-Modified-Since: " + modified))
    assert (again.status, again.content) == (304, b"")


def test_a_part_of_a_style_sheet_arrives_alone(ways: Ways) -> None:
    request = get(sheet(ways), ways.name, b"Range: bytes=100-199")
    part = ways.proxied(request)
    assert (part.status, len(part.content)) == (206, 100)
    assert part.essence() == ways.direct(request).essence()


def test_the_token_opens_the_rest_api(ways: Ways) -> None:
    assert ways.call("GET", "/api/status").status == 200


@pytest.mark.parametrize("fields", [(), (b"Authorization: token wrong",)])
def test_without_the_right_token_the_refusal_is_the_direct_one(
    ways: Ways, fields: tuple[bytes, ...]
) -> None:
    request = get(b"/api/status", ways.name, *fields)
    direct = ways.direct(request)
    assert direct.status == 403
    assert ways.proxied(request).essence() == direct.essence()


def test_a_file_is_written_read_and_deleted(ways: Ways) -> None:
    model = {"type": "file", "format": "text", "content": "καλημέρα\n" * 10_000}
    assert ways.call("PUT", "/api/contents/greeting.txt", model).status == 201
    read = json.loads(ways.call("GET", "/api/contents/greeting.txt").content)
    assert read["content"] == model["content"]
    assert ways.call("DELETE", "/api/contents/greeting.txt").status == 204


def test_a_host_jupyter_does_not_know_is_refused_as_directly(ways: Ways) -> None:
    request = get(b"/api", FOREIGN)
    direct = ways.direct(request)
    assert direct.status == 403
    assert ways.proxied(request, FOREIGN).essence() == direct.essence()


@pytest.fixture
def terminal(ways: Ways) -> Iterator[str]:
    name = json.loads(ways.call("POST", "/api/terminals").content)["name"]
    yield f"/terminals/websocket/{name}"
    assert ways.call("DELETE", f"/api/terminals/{name}").status == 204


def hear(socket: ClientConnection, text: str) -> str:
    """What a terminal prints until `text` stands there."""
    printed = ""
    while text not in printed:
        kind, *rest = json.loads(socket.recv(PATIENCE))
        printed += rest[0] if kind == "stdout" else ""
    return printed


def test_a_command_typed_into_a_terminal_prints_its_output(ways: Ways, terminal: str) -> None:
    with ways.websocket(terminal) as socket:
        socket.send(json.dumps(["stdin", "echo product=$((6*7))\r"]))
        assert "product=42" in hear(socket, "product=42")


def test_a_megabyte_of_terminal_output_arrives(ways: Ways, terminal: str) -> None:
    with ways.websocket(terminal) as socket:
        lines = "seq 1 150000; echo lines=$((1+1))\r"
        socket.send(json.dumps(["stdin", lines]))
        assert "\r\n149999\r\n150000\r\n" in hear(socket, "lines=2")


@pytest.mark.parametrize("origin", ["https://evil.example.com", f"https://{HOST}", "null"])
def test_a_websocket_from_a_foreign_page_is_refused_as_directly(
    ways: Ways, terminal: str, origin: str
) -> None:
    with pytest.raises(InvalidStatus) as directly:
        ways.websocket_directly(terminal, origin)
    with pytest.raises(InvalidStatus) as proxied:
        ways.websocket(terminal, origin)
    assert directly.value.response.status_code == 403
    assert proxied.value.response.status_code == 403
    assert proxied.value.response.body == directly.value.response.body


def test_a_kernel_computes_over_its_websocket(ways: Ways) -> None:
    kernel = json.loads(ways.call("POST", "/api/kernels", {"name": "python3"}).content)["id"]
    with contextlib.ExitStack() as ends:
        ends.callback(ways.call, "DELETE", f"/api/kernels/{kernel}")
        socket = ends.enter_context(ways.websocket(f"/api/kernels/{kernel}/channels"))
        socket.send(json.dumps(execute_request("print(sum(range(101)))")))
        assert printed(socket) == "5050\n"


def execute_request(code: str) -> dict[str, object]:
    """A message of Jupyter's protocol that has `code` run."""
    session = uuid.uuid4().hex
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3"}
    return {
        "header": {**header, "session": session, "username": "test", "date": ""},
        "parent_header": {},
        "metadata": {},
        "channel": "shell",
        "content": {"code": code, "silent": False, "store_history": False},
        "buffers": [],
    }


def printed(socket: ClientConnection) -> str:
    """The standard output of the code whose reply comes next."""
    output, over = "", set[str]()
    while over != {"execute_reply", "idle"}:
        message = json.loads(socket.recv(PATIENCE))
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            output += content["text"]
        elif kind == "execute_reply":
            over.add(kind)
        elif kind == "status" and message["parent_header"].get("msg_type") == "execute_request":
            over |= {content["execution_state"]} & {"idle"}
    return output
