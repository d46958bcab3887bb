"""Sites behind a password: who comes in, what others are told, what the origin hears of it."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from playwright.sync_api import HttpCredentials

from proxy.passwords import make
from tests.authority import Authority
from tests.e2e.browser import chromium
from tests.e2e.conftest import Front
from tests.http_client import Answer, exchange, get, read_answer
from tests.origins import Listener
from tests.programs import Hopward, requires
from tests.tls_client import TLSClient

HOST = "app.example.com"
PASSWORDS = {"ann": "correct horse", "bob": "Grüße", "cat": "battery"}


KEY = re.compile(rb"Sec-WebSocket-Key: (\S+)", re.IGNORECASE)
GREETING = b"\x81\x05hello"


def greet(connection: socket.socket, key: bytes) -> None:
    """Switch to a WebSocket (RFC 6455), say hello, and wait until the client leaves."""
    accept = b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    switch = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    connection.sendall(switch + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + GREETING)
    while connection.recv(65536):
        pass


class Origin(Listener):
    """Answers each request with the head it has received."""

    def serve(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            head = data.partition(b"\r\n\r\n")[0]
            if (key := KEY.search(head)) is not None:
                greet(connection, key[1])
                return
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
            connection.sendall(answer % (len(head), head))


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as listener:
        yield listener


@pytest.fixture(scope="module")
def proxy(front: Front, origin: Origin) -> Hopward:
    """Two workers; one user for each kind of hash."""
    drawn = hashlib.scrypt(PASSWORDS["cat"].encode(), salt=b"salt", n=2**14, r=8, p=1)
    users = {
        "ann": bcrypt.hashpw(PASSWORDS["ann"].encode(), bcrypt.gensalt(10)).decode(),
        "bob": make(PASSWORDS["bob"]),
        "cat": f"scrypt:16384:8:1$salt${drawn.hex()}",
    }
    routes = {
        "/open/": {"basic_auth": None},
        "/closed/": {"allow": ["192.0.2.1"]},
        "/seldom/": {"rate_limit": {"requests": 5, "per": "1h"}},
        "/own/": {"request_headers": {"Authorization": "Bearer of-the-origin"}},
    }
    to = f"http://127.0.0.1:{origin.port}"
    return front({HOST: {"to": to, "basic_auth": users, "routes": routes}}, workers=2)


@pytest.fixture
def client(proxy: Hopward, authority: Authority) -> Iterator[TLSClient]:
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as wire:
        yield wire


def credentials(user: str, password: str) -> bytes:
    return b"Authorization: Basic " + b64encode(f"{user}:{password}".encode())


def asks(client: TLSClient, target: bytes = b"/", *fields: bytes) -> Answer:
    return exchange(client, get(target, HOST, *fields))


@pytest.mark.parametrize("user", PASSWORDS)
def test_a_user_comes_in_with_its_password_and_no_other(client: TLSClient, user: str) -> None:
    assert asks(client, b"/", credentials(user, PASSWORDS[user] + "!")).status == 401
    assert asks(client, b"/", credentials(user, PASSWORDS[user])).status == 200
    assert asks(client, b"/", credentials(user + "!", PASSWORDS[user])).status == 401


def test_who_says_nothing_is_asked_for_a_user_and_a_password(client: TLSClient) -> None:
    answer = asks(client)
    assert answer.status == 401
    wanted = f'Basic realm="{HOST}", charset="UTF-8"'.encode()
    assert answer.field("www-authenticate") == wanted
    assert asks(client, b"/", credentials("ann", PASSWORDS["ann"])).status == 200


def test_a_wrong_password_is_told_from_none_but_not_from_an_unknown_user(client: TLSClient) -> None:
    nothing, wrong, nobody = (
        asks(client).content.partition(b"\n")[0],
        asks(client, b"/", credentials("cat", "wrong")).content.partition(b"\n")[0],
        asks(client, b"/", credentials("dog", "wrong")).content.partition(b"\n")[0],
    )
    assert nothing == b"401 Unauthorized: a user and its password are needed here"
    assert wrong == nobody == b"401 Unauthorized: this user and password are not known here"


def test_a_part_of_a_site_may_be_open(client: TLSClient) -> None:
    assert asks(client, b"/open/").status == 200


def test_the_origin_is_not_told_a_password_that_is_the_proxys(client: TLSClient) -> None:
    answer = asks(client, b"/", credentials("ann", PASSWORDS["ann"]))
    assert b"authorization" not in answer.content.lower()


def test_the_origin_is_told_a_password_that_is_its_own(client: TLSClient) -> None:
    answer = asks(client, b"/open/", credentials("eve", "hers"))
    assert credentials("eve", "hers") in answer.content
    answer = asks(client, b"/own/", credentials("ann", PASSWORDS["ann"]))
    assert b"Authorization: Bearer of-the-origin" in answer.content


def test_an_upgrade_needs_the_password_as_well(client: TLSClient) -> None:
    upgrade = (b"Connection: Upgrade", b"Upgrade: websocket")
    assert asks(client, b"/", *upgrade).status == 401
    answer = asks(client, b"/", *upgrade, credentials("ann", PASSWORDS["ann"]))
    assert answer.status == 200
    assert b"Upgrade: websocket" in answer.content


def test_a_network_that_is_not_allowed_is_not_asked_for_a_password(client: TLSClient) -> None:
    assert asks(client, b"/closed/").status == 403


def test_guesses_are_counted_by_the_rate_limit(client: TLSClient) -> None:
    statuses = [asks(client, b"/seldom/", credentials("ann", f"{n}")).status for n in range(7)]
    assert statuses == [401] * 5 + [429] * 2


def test_requests_in_a_pipeline_are_answered_in_their_order(client: TLSClient) -> None:
    known = credentials("cat", PASSWORDS["cat"])
    unknown = credentials("cat", "wrong in a pipeline")
    client.send(get(b"/1", HOST, unknown) + get(b"/2", HOST, known) + get(b"/open/3", HOST))
    assert read_answer(client).status == 401
    seen = b""
    while b"/open/3" not in seen:
        seen += client.recv()
    assert seen.index(b"GET /2") < seen.index(b"GET /open/3")


def test_a_refused_body_ends_the_connection_and_the_refusal_arrives(client: TLSClient) -> None:
    length = b"Content-Length: 300000"
    client.send(get(b"/", HOST, length, credentials("ann", "wrong"), method=b"POST"))
    client.send(b"x" * 300_000)
    answer = read_answer(client)
    assert (answer.status, answer.field("connection")) == (401, b"close")


def test_a_body_that_comes_with_a_new_password_reaches_the_origin(
    proxy: Hopward, authority: Authority
) -> None:
    request = get(
        b"/", HOST, b"Content-Length: 5", credentials("bob", PASSWORDS["bob"]), method=b"POST"
    )
    with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
        client.send(request + b"hello")
        assert read_answer(client).status == 200


def test_others_are_served_while_passwords_are_verified(
    proxy: Hopward, authority: Authority
) -> None:
    """Each worker has seconds of hashing to do; nobody else waits for that."""
    guessing = [TLSClient(proxy.https, HOST, cafile=authority.pem) for _ in range(10)]
    for number, wire in enumerate(guessing):
        wire.send(get(b"/", HOST, credentials("bob", f"guess {number}")))
    times = []
    for _ in range(20):
        begin = time.monotonic()
        with TLSClient(proxy.https, HOST, cafile=authority.pem) as client:
            assert asks(client, b"/open/").status == 200
        times.append(time.monotonic() - begin)
    assert sorted(times)[10] < 0.2, times
    assert {read_answer(wire).status for wire in guessing} <= {401, 503}
    for wire in guessing:
        wire.close()


@requires("curl", "apt-get install curl")
@pytest.mark.parametrize(
    ("said", "status"),
    [("ann:correct horse", "200"), ("bob:Grüße", "200"), ("ann:battery", "401"), (None, "401")],
)
def test_curl_comes_in_with_its_user(
    proxy: Hopward, authority: Authority, said: str | None, status: str
) -> None:
    curl = shutil.which("curl")
    assert curl is not None
    resolve = f"{HOST}:{proxy.https}:127.0.0.1"
    command = [curl, "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(authority.pem)]
    user = ["--user", said] if said else []
    url = f"https://{HOST}:{proxy.https}/"
    done = subprocess.run(
        [*command, *user, "--resolve", resolve, url], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == status, done.stderr


@requires("chromium", "apt-get install chromium")
@requires("certutil", "apt-get install libnss3-tools")
def test_a_browsers_pages_and_websockets_come_in_with_its_user(
    proxy: Hopward, authority: Authority, tmp_path: Path
) -> None:
    resolve = f"MAP {HOST}:443 127.0.0.1:{proxy.https}"
    user: HttpCredentials = {"username": "bob", "password": PASSWORDS["bob"]}
    with chromium(tmp_path, [authority.pem], resolve) as browser:
        page = browser.new_context(http_credentials=user).new_page()
        answer = page.goto(f"https://{HOST}/")
        assert answer is not None
        assert (answer.status, "GET / HTTP/1.1" in answer.text()) == (200, True)
        said = page.evaluate("""() => new Promise((heard, failed) => {
            const socket = new WebSocket(`wss://${location.host}/live`);
            socket.onmessage = ({data}) => heard(data);
            socket.onerror = () => failed("no WebSocket");
        })""")
        assert said == "hello"
