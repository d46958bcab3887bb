"""SIGHUP: the file holds from now on, and nothing that is under way notices."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import struct
import threading
from base64 import b64encode
from itertools import count
from pathlib import Path

import pytest
from bcrypt import gensalt, hashpw

from tests.authority import Authority
from tests.e2e.test_tls import finished
from tests.e2e.websocket import CLOSE, FIN, TEXT, Frame, frame
from tests.e2e.wire.client import HOST, Client
from tests.e2e.wire.reloading import SOON, Reloading, Reloads
from tests.e2e.wire.test_drain_of_tunnels import frames
from tests.http_client import exchange, get
from tests.origins import Listener, answer_ok
from tests.programs import accepts, free_port, wait_for
from tests.scripted_origin import OK, Call, ScriptedOrigin
from tests.tls_client import TLSAlertError

OTHER = "other.example.com"


def kept(reloading: Reloading, origin: ScriptedOrigin, host: str = HOST) -> Client:
    """A client whose connection waits for its second request."""
    client = reloading.dial(host)
    client.send(get(b"/", host))
    served(origin)
    assert client.message().status == 200
    return client


def served(origin: ScriptedOrigin) -> None:
    """The origin reads the next request and answers it."""
    call = origin.heard()
    call.head()
    call.send(OK)


def tunnel(
    reloading: Reloading, origin: ScriptedOrigin, host: str, protocol: bytes = b"websocket"
) -> tuple[Client, Call]:
    fields = b"Connection: Upgrade", b"Upgrade: " + protocol
    client = reloading.dial(host)
    client.send(get(b"/live", host, *fields))
    call = origin.accept()
    call.head()
    call.send(b"\r\n".join((b"HTTP/1.1 101 Go", *fields, b"", b"")))
    assert client.head().status == 101
    return client, call


# What holds from then on.


def test_a_site_put_in_is_served(reloads: Reloads, origin: ScriptedOrigin) -> None:
    reloading = reloads()
    reloading.reload({HOST: origin.url, OTHER: origin.url})
    kept(reloading, origin, OTHER)


def test_a_rate_limit_that_stays_as_it_was_goes_on_counting(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    limited = {"to": origin.url, "rate_limit": {"requests": 2, "per": "1h"}}
    reloading = reloads({HOST: limited}, workers=2)
    kept(reloading, origin)
    reloading.reload({HOST: {**limited, "hsts": "true"}})
    kept(reloading, origin)
    client = reloading.dial()
    client.send(get(b"/", HOST))
    assert client.message().status == 429
    reloading.reload({HOST: {**limited, "rate_limit": {"requests": 3, "per": "1h"}}})
    kept(reloading, origin)


def test_a_site_taken_out_is_unknown_to_new_connections(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads({HOST: origin.url, OTHER: origin.url})
    reloading.reload({HOST: origin.url})
    with pytest.raises(TLSAlertError, match="unrecognized name"):
        reloading.dial(OTHER)


def test_a_site_taken_out_is_404_on_connections_that_were_open(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads({HOST: origin.url, OTHER: origin.url})
    client = kept(reloading, origin, OTHER)
    reloading.reload({HOST: origin.url})
    client.send(get(b"/", OTHER))
    assert client.message().status == 404
    assert not origin.called


def test_new_rules_hold_for_the_next_request_of_a_connection_that_was_open(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    client = kept(reloading, origin)
    reloading.reload({HOST: {"to": origin.url, "allow": ["192.0.2.1/32"]}})
    client.send(get(b"/", HOST))
    assert client.message().status == 403


def test_a_password_taken_out_opens_no_connection_that_it_had_opened(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    def behind(*passwords: bytes) -> dict[str, object]:
        users = {f"u{n}": hashpw(each, gensalt(4)).decode() for n, each in enumerate(passwords)}
        return {HOST: {"to": origin.url, "basic_auth": users}}

    reloading = reloads(behind(b"former"))
    client = reloading.dial()
    request = get(b"/", HOST, b"Authorization: Basic " + b64encode(b"u0:former"))
    client.send(request)
    served(origin)
    assert client.message().status == 200
    reloading.reload(behind(b"latter"))
    client.send(request)
    assert client.message().status == 401
    assert not origin.called


def test_what_ends_on_old_connections_is_logged_by_the_new_rules(
    reloads: Reloads, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    before, after = tmp_path / "before.log", tmp_path / "after.log"
    reloading = reloads(access_log={"to": str(before), "redact": ["token"]})
    client = kept(reloading, origin)
    reloading.reload(access_log={"to": str(after), "redact": ["secret"]})
    client.send(get(b"/?secret=1&token=2", HOST))
    served(origin)
    assert client.message().status == 200
    wait_for(lambda: targets(after), what="its line")
    assert targets(after) == ["/?secret=***&token=2"]
    assert targets(before) == ["/"]


def test_where_no_log_is_wanted_any_more_old_connections_are_logged_no_more(
    reloads: Reloads, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    file = tmp_path / "access.log"
    reloading = reloads(access_log={"to": str(file)})
    client = kept(reloading, origin)
    reloading.reload(access_log="off")
    client.send(get(b"/unlogged", HOST))
    served(origin)
    assert client.message().status == 200
    reloading.wait_for_workers(1)
    assert targets(file) == ["/"]


def targets(access_log: Path) -> list[str]:
    """What was logged there so far, by its targets."""
    lines = access_log.read_text().splitlines() if access_log.exists() else []
    return [json.loads(line)["target"] for line in lines]


def test_requests_go_to_the_new_origin_at_once(reloads: Reloads, origin: ScriptedOrigin) -> None:
    reloading = reloads()
    client = kept(reloading, origin)
    with ScriptedOrigin() as successor:
        reloading.reload({HOST: successor.url})
        client.send(get(b"/", HOST))
        call = successor.accept()
        call.head()
        call.send(OK)
        assert client.message().status == 200


def test_an_address_put_in_is_listened_on_and_one_taken_out_is_not(reloads: Reloads) -> None:
    one, other = free_port(), free_port()
    reloading = reloads(listen={"https": f"127.0.0.1:{one}", "http": False, "admin": False})
    reloading.reload(listen={"https": f"127.0.0.1:{other}", "http": False, "admin": False})
    assert accepts(other)
    wait_for(lambda: not accepts(one), SOON, "the end of the former listener")


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_the_number_of_workers_follows_the_file(
    reloads: Reloads, origin: ScriptedOrigin, before: int, after: int
) -> None:
    reloading = reloads(workers=before)
    reloading.reload(workers=after)
    reloading.wait_for_workers(after)
    kept(reloading, origin)


def test_a_replaced_certificate_file_is_served_without_a_reload(
    reloads: Reloads, authority: Authority, tmp_path: Path
) -> None:
    cert, key = tmp_path / "a.pem", tmp_path / "a.key"

    def put(*names: str) -> None:
        pair = authority.pair(*names)
        for file, place in ((pair.key, key), (pair.cert, cert)):
            part = place.with_suffix(".part")
            part.write_bytes(file.read_bytes())
            part.replace(place)

    put(HOST)
    files = {"cert": str(cert), "key": str(key)}
    reloading = reloads({HOST: {"to": "http://127.0.0.1:1", "tls": files}})
    put(HOST, "renewed.example.com")

    def names() -> list[str]:
        with reloading.connect() as client:
            return client.names()

    wait_for(lambda: "renewed.example.com" in names(), SOON, "the new certificate")


def test_a_certificate_file_that_cannot_be_used_is_told_and_the_former_served_on(
    reloads: Reloads, authority: Authority
) -> None:
    pair = authority.pair(HOST)
    reloading = reloads({HOST: {"to": "http://127.0.0.1:1", "tls": pair.tls()}})
    pair.cert.write_text("half a certifi")
    wait_for(lambda: reloading.events("certificate-unusable"), SOON, "a word about it")
    assert str(pair.cert) in reloading.events("certificate-unusable")[0]["message"]
    with reloading.connect() as client:
        assert client.names() == [HOST]


# What goes on.


def test_an_open_connection_has_its_next_request_answered_and_hears_that_it_is_the_last(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    """Closed at once, it would take with it a request that was on its way."""
    reloading = reloads()
    client = kept(reloading, origin)
    reloading.reload()
    client.send(get(b"/", HOST))
    served(origin)
    message = client.message()
    assert message.head.value("connection") == b"close"
    assert client.ending() == (b"", True)


def test_a_response_under_way_ends_as_it_would(reloads: Reloads, origin: ScriptedOrigin) -> None:
    reloading = reloads()
    client = reloading.dial()
    client.send(get(b"/", HOST))
    call = origin.accept()
    call.head()
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
    head = client.head()
    reloading.reload()
    call.send(b" last")
    assert (head.status, client.exactly(10)) == (200, b"first last")


def test_a_websocket_lives_on(reloads: Reloads, origin: ScriptedOrigin) -> None:
    reloading = reloads()
    client, call = tunnel(reloading, origin, HOST)
    reloading.reload()
    client.send(frame(FIN | TEXT, b"hello"))
    assert frames(call).next() == Frame(FIN | TEXT, True, b"hello")
    call.send(frame(FIN | TEXT, b"world", key=None))
    assert frames(client).next() == Frame(FIN | TEXT, False, b"world")


def test_a_websocket_of_a_site_taken_out_hears_that_it_goes(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads({HOST: origin.url, OTHER: origin.url})
    client, call = tunnel(reloading, origin, OTHER)
    reloading.reload({HOST: origin.url})
    assert frames(client).next() == Frame(FIN | CLOSE, False, struct.pack("!H", 1001))
    assert frames(call).next() == Frame(FIN | CLOSE, True, struct.pack("!H", 1001))


def test_another_tunnel_of_a_site_taken_out_is_ended_at_both_ends(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads({HOST: origin.url, OTHER: origin.url})
    client, call = tunnel(reloading, origin, OTHER, b"custom/1")
    reloading.reload({HOST: origin.url})
    assert client.ending() == (b"", True)
    assert call.ending() == (b"", True)
    client.wire.close()
    call.close()
    reloading.wait_for_workers(1)


def test_a_session_begun_before_is_resumed_after(
    reloads: Reloads, trusting: ssl.SSLContext
) -> None:
    with Listener(answer_ok) as answering:
        reloading = reloads({HOST: f"http://127.0.0.1:{answering.port}"})
        with finished(reloading.proxy.https, trusting, None, HOST) as before:
            session = before.session
        reloading.reload()
        with finished(reloading.proxy.https, trusting, session, HOST) as after:
            assert after.session_reused


def test_no_request_fails_while_the_file_is_read_ten_times(reloads: Reloads) -> None:
    with Listener(answer_ok) as answering:
        reloading = reloads({HOST: f"http://127.0.0.1:{answering.port}"}, workers=2)
        done = threading.Event()
        answered: list[int] = []
        failed: list[Exception] = []

        def visit() -> None:
            for number in count():
                if done.is_set():
                    break
                try:
                    with reloading.connect() as client:
                        for _ in range(1 + number % 3):
                            answer = exchange(client, get(b"/", HOST))
                            answered.append(answer.status)
                            if answer.field("connection") == b"close":
                                break
                except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
                    failed.append(error)

        visitors = [threading.Thread(target=visit) for _ in range(4)]
        for visitor in visitors:
            visitor.start()
        for _ in range(10):
            reloading.reload()
        done.set()
        for visitor in visitors:
            visitor.join()
    assert not failed
    assert set(answered) == {200}
    assert len(answered) > 10


# How former workers end.


def test_a_former_worker_ends_with_its_last_connection(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    client, call = tunnel(reloading, origin, HOST)
    reloading.reload()
    assert len(reloading.proxy.workers()) == 2
    client.wire.close()
    call.close()
    reloading.wait_for_workers(1)


def test_a_former_worker_without_connections_ends_at_once(reloads: Reloads) -> None:
    reloading = reloads()
    reloading.reload()
    reloading.wait_for_workers(1)


def test_former_workers_end_with_the_process(reloads: Reloads, origin: ScriptedOrigin) -> None:
    reloading = reloads(timeouts={"drain": "1s"})
    client, _ = tunnel(reloading, origin, HOST)
    reloading.reload()
    reloading.proxy.process.send_signal(signal.SIGTERM)
    assert frames(client).next() == Frame(FIN | CLOSE, False, struct.pack("!H", 1001))
    assert reloading.proxy.process.wait(SOON) == 0


# What changes nothing.


def test_a_file_that_is_wrong_changes_nothing_and_says_why(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    said = reloading.refuses({HOST: {"to": origin.url, "hots": "typo"}})
    assert f"{reloading.proxy.file.name}:" in said
    assert "unknown key 'hots'" in said
    kept(reloading, origin)


def test_a_certificate_that_cannot_be_read_changes_nothing_and_says_why(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    nowhere = {"cert": "nowhere.pem", "key": "nowhere.key"}
    assert "nowhere.pem" in reloading.refuses({HOST: {"to": origin.url, "tls": nowhere}})
    kept(reloading, origin)


def test_an_address_that_another_program_has_changes_nothing_and_says_so(
    reloads: Reloads, origin: ScriptedOrigin
) -> None:
    reloading = reloads()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        said = reloading.refuses(listen={"https": [place], "http": False, "admin": False})
    assert place in said
    kept(reloading, origin)


def test_a_file_that_has_been_mended_is_taken(reloads: Reloads, origin: ScriptedOrigin) -> None:
    reloading = reloads()
    reloading.refuses({})
    reloading.reload({OTHER: origin.url})
    kept(reloading, origin, OTHER)
