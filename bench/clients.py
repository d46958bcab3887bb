"""`python -m bench.clients WORK PORT SECONDS`: the loads that wrk cannot make.

Prints one line of JSON: `units` done, `seconds` they took, `cpu` seconds of this process. Law:
every answer is checked, and what is wrong ends the run with its words: no figure comes of it.
"""

import json
import selectors
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from OpenSSL import SSL

from bench.origin import CHUNK, ECHOED, FRAME, SMALL
from bench.peers import ANSWER, HOST

TARGET = "/announce?info_hash=%00%FF%AA%12&peer_id=-qB4600-abcdefghijkl&port=6881&left=0&compact=1"
FIELDS = "User-Agent: qBittorrent/4.6.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
BULK = 50_000_000
EVENT_STREAMS, ECHOES, STREAMS, BULKS = 50, 32, 2, 2
FRESH_RATE, FRESH_THREADS = 600, 4  # a second: twice as many fill the core of load and origin
TAKE = 1 << 18


class Load:
    """What one run does: how long, and against which port."""

    patience = 30.0  # seconds for each answer

    def __init__(self, port: int, seconds: float) -> None:
        self.port, self.seconds, self.end = port, seconds, 0.0
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        # one group, whatever this Python's OpenSSL would put first
        with suppress(ssl.SSLError, ValueError):
            self.context.set_ecdh_curve("X25519")

    def lasts(self) -> bool:
        """Whether there is time left, counted from the first time that this is asked."""
        self.end = self.end or time.monotonic() + self.seconds
        return time.monotonic() < self.end

    def tcp(self) -> socket.socket:
        """A new connection."""
        connection = socket.create_connection(("127.0.0.1", self.port), self.patience)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def tls(self, session: ssl.SSLSession | None = None, host: str = HOST) -> ssl.SSLSocket:
        """A new TLS connection, resuming `session` where one is given."""
        return self.context.wrap_socket(self.tcp(), server_hostname=host, session=session)


def head(method: str, target: str, *fields: str) -> bytes:
    """A request's head."""
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {target} HTTP/1.1\r\nHost: {HOST}\r\n{FIELDS}{lines}\r\n".encode()


ANNOUNCE, LAST_ANNOUNCE = head("GET", TARGET), head("GET", TARGET, "Connection: close")
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


# ---- fresh connections


def fresh(load: Load) -> int:
    """One announce per connection, each with a full X25519 handshake."""

    def once() -> None:
        _announce(load, None)

    return _paced(load, once)


def resumed(load: Load) -> int:
    """One announce per connection, each resuming the session before it."""
    return _paced(load, None)


def hybrid(load: Load) -> int:
    """One announce per connection, each with a full handshake that offers X25519MLKEM768 first."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    return _paced(load, lambda: _announce_hybrid(load, context))


def _announce(load: Load, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    with load.tls(session) as connection:
        if session is not None and not connection.session_reused:
            raise ValueError("the session was not resumed")
        connection.sendall(LAST_ANNOUNCE)
        answer = b""
        while data := connection.recv(TAKE):
            answer += data
        _check(answer)
        # without it OpenSSL thinks the session broken
        with suppress(OSError, ValueError):
            connection.unwrap()
        return connection.session


def _announce_hybrid(load: Load, context: SSL.Context) -> None:
    plain = load.tcp()
    plain.setblocking(True)
    with plain:
        connection = SSL.Connection(context, plain)
        connection.set_tlsext_host_name(HOST.encode())
        connection.set_connect_state()
        connection.sendall(LAST_ANNOUNCE)
        answer = b""
        with suppress(SSL.ZeroReturnError, SSL.SysCallError):
            while True:
                answer += connection.recv(TAKE)
        _check(answer)
        with suppress(SSL.Error):
            connection.shutdown()


def _check(answer: bytes) -> None:
    if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(ANSWER.encode()):
        raise ValueError(f"not the answer: {answer[:300]!r}")


def _paced(load: Load, once: Callable[[], None] | None) -> int:
    """Threads that begin each their share of FRESH_RATE; returns how many were done."""
    done = [0] * FRESH_THREADS

    def run(number: int) -> None:
        step = FRESH_THREADS / FRESH_RATE
        due = time.monotonic() + step * number / FRESH_THREADS
        session = _announce(load, None) if once is None else None
        while load.lasts():
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
            due = max(due + step, time.monotonic() - 10 * step)
            if once:
                once()
            else:
                session = _announce(load, session)
            done[number] += 1

    _in_threads(FRESH_THREADS, run)
    return sum(done)


def _in_threads(count: int, run: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            run(number)
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# ---- bulk


def download(load: Load) -> int:
    """50 MB files; returns bytes."""
    return _bulk(load, BULKS, _download_one)


def upload(load: Load) -> int:
    """50 MB bodies; returns bytes."""
    return _bulk(load, BULKS, _upload_one)


def stream(load: Load) -> int:
    """WebSockets that send frames of 64 KiB without end; returns bytes of payload."""
    return _bulk(load, STREAMS, _stream_one)


def _bulk(load: Load, count: int, one: Callable[[Load], int]) -> int:
    done = [0] * count

    def run(number: int) -> None:
        done[number] = one(load)

    _in_threads(count, run)
    return sum(done)


def _download_one(load: Load) -> int:
    done, room = 0, bytearray(TAKE)
    with load.tls() as connection:
        while load.lasts():
            connection.sendall(head("GET", "/file"))
            _, rest = _answer_head(connection, b"200")
            missing = BULK - len(rest)
            while missing:
                got = connection.recv_into(room, min(missing, TAKE))
                if not got:
                    raise ValueError(f"{missing} bytes of a file are missing")
                missing -= got
            done += BULK
    return done


def _upload_one(load: Load) -> int:
    done, piece = 0, memoryview(bytes(TAKE))
    with load.tls() as connection:
        while load.lasts():
            connection.sendall(head("POST", "/upload", f"Content-Length: {BULK}"))
            for start in range(0, BULK, TAKE):
                connection.sendall(piece[: BULK - start])
            _, rest = _answer_head(connection, b"200")
            if (rest or connection.recv(2)) != b"ok":
                raise ValueError("the answer to an upload is not the origin's")
            done += BULK
    return done


def _stream_one(load: Load) -> int:
    frame = FRAME + 10
    room = bytearray(frame)
    done = 0
    with load.tls() as connection:
        rest = _upgraded(connection, "/stream")
        room[: len(rest)] = rest
        filled = len(rest)
        while load.lasts():
            while filled < frame:
                got = connection.recv_into(memoryview(room)[filled:])
                if not got:
                    raise ValueError("the stream ended")
                filled += got
            if not room.startswith(b"\x82\x7f"):
                raise ValueError(f"not a frame: {room[:10]!r}")
            done, filled = done + FRAME, 0
    return done


def _answer_head(connection: ssl.SSLSocket, status: bytes) -> tuple[bytes, bytes]:
    """The head, and what came of the body with it."""
    text = b""
    while b"\r\n\r\n" not in text:
        data = connection.recv(16384)
        if not data:
            raise ValueError(f"the connection ended after {text!r}")
        text += data
    lines, _, rest = text.partition(b"\r\n\r\n")
    if lines.split()[1] != status:
        raise ValueError(f"not {status!r}: {lines!r}")
    return lines, rest


def _upgraded(connection: ssl.SSLSocket, target: str) -> bytes:
    connection.sendall(head("GET", target, *UPGRADE, KEY))
    return _answer_head(connection, b"101")[1]


# ---- many connections with little


def events(load: Load) -> int:
    """Streams of events; returns chunks."""
    connections = [load.tls() for _ in range(EVENT_STREAMS)]
    done = 0
    for connection in connections:
        connection.sendall(head("GET", "/events"))
        done += len(_answer_head(connection, b"200")[1])

    def read(connection: ssl.SSLSocket) -> None:
        nonlocal done
        data = connection.recv(65536)
        if not data:
            raise ValueError("a stream of events ended")
        done += len(data)

    _watch(load, connections, read)
    return done // len(CHUNK)


def echo(load: Load) -> int:
    """WebSockets on which each echo is answered by the next message; returns round trips."""
    connections = [load.tls() for _ in range(ECHOES)]
    for connection in connections:
        _upgraded(connection, "/echo")
        connection.sendall(ECHOED)
    expected, done = b"\x82\x40" + b"e" * SMALL, 0
    heard = dict.fromkeys(connections, b"")

    def answer(connection: ssl.SSLSocket) -> None:
        nonlocal done
        piece = connection.recv(256)
        # some send a frame's head in a record of its own
        frame = heard[connection] + piece
        if not piece or not expected.startswith(frame):
            raise ValueError(f"not the echo: {frame!r}")
        heard[connection] = frame
        if frame == expected:
            heard[connection] = b""
            done += 1
            connection.send(ECHOED)

    _watch(load, connections, answer)
    return done


def _watch(
    load: Load, connections: list[ssl.SSLSocket], react: Callable[[ssl.SSLSocket], None]
) -> None:
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
        while load.lasts():
            for each, _ in selector.select(1):
                assert isinstance(each.fileobj, ssl.SSLSocket)
                with suppress(ssl.SSLWantReadError):
                    react(each.fileobj)
    for connection in connections:
        connection.close()


# ---- idle connections


def idle(load: Load) -> int:
    """Connections that had one announce and stay; held until standard input ends."""
    held = []
    for _ in range(int(load.seconds)):
        connection = load.tls()
        connection.sendall(ANNOUNCE)
        _answer_head(connection, b"200")
        held.append(connection)
    return _hold(held)


def idle_websockets(load: Load) -> int:
    """WebSockets over which nothing passes; held until standard input ends."""
    held = []
    for _ in range(int(load.seconds)):
        connection = load.tls()
        _upgraded(connection, "/echo")
        held.append(connection)
    return _hold(held)


def _hold(held: list[ssl.SSLSocket]) -> int:
    print("held", flush=True)
    sys.stdin.read()
    return len(held)


WORKS: dict[str, Callable[[Load], int]] = {
    work.__name__: work
    for work in (
        fresh,
        resumed,
        hybrid,
        download,
        upload,
        stream,
        events,
        echo,
        idle,
        idle_websockets,
    )
}


def main() -> None:
    """Do a work and print what was done. For idle works SECONDS is how many connections."""
    name, port, seconds = sys.argv[1:]
    began = time.monotonic()
    units = WORKS[name](Load(int(port), float(seconds)))
    seconds_taken = time.monotonic() - began
    print(json.dumps({"units": units, "seconds": seconds_taken, "cpu": time.process_time()}))


if __name__ == "__main__":
    main()
