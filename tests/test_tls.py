"""The record layer between a client's transport and plain bytes (RFC 8446)."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
from OpenSSL import SSL

from proxy.engine import ROOM, ROOM_SIZE, HandshakeError
from proxy.openssl import DIRECT, ENGINE, Direct
from proxy.pyopenssl import Public, silence_refusals
from proxy.rotation import DAY_SECONDS
from proxy.tls import Base, RecordLayer, site_context
from tests.authority import Authority
from tests.playbook import Wire

A, B = "a.example", "b.example"


@pytest.fixture(autouse=True)
def _silent_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set back afterwards, though it does no harm.
    monkeypatch.setattr("sys.excepthook", lambda *_: None)
    silence_refusals()


@pytest.fixture(autouse=True, params=[Direct, Public])
def _engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever way OpenSSL is called, the same holds."""
    monkeypatch.setattr("proxy.openssl.ENGINE", request.param)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def context_of(authority: Authority, *names: str) -> SSL.Context:
    pair = authority.pair(*names)
    return site_context(pair.cert.read_bytes(), pair.key.read_bytes())


@pytest.fixture
def base(authority: Authority) -> Base:
    base = Base()
    base.choose = {name: context_of(authority, name) for name in (A, B)}.get
    return base


class Client:
    """A TLS client in memory, and what it heard."""

    def __init__(
        self,
        name: str | None = A,
        *,
        alpn: tuple[bytes, ...] = (b"http/1.1",),
        newest: int = SSL.TLS1_3_VERSION,
        ciphers: bytes = b"",
    ) -> None:
        self.alerts: list[str] = []
        context = self._context(alpn, newest)
        if ciphers:
            context.set_tls13_ciphersuites(ciphers)
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        if name is not None:
            self.tls.set_tlsext_host_name(name.encode())

    def _context(self, alpn: tuple[bytes, ...], newest: int) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(newest)
        if alpn:
            context.set_alpn_protos(list(alpn))
        context.set_info_callback(self._hear)
        return context

    def _hear(self, connection: SSL.Connection, where: int, code: int) -> None:
        if where & 0x4000 and where & 0x04:  # SSL_CB_ALERT and SSL_CB_READ
            self.alerts.append(str(code & 0xFF))

    def says(self) -> bytes:
        """The ciphertext that it has to send."""
        with suppress(SSL.WantReadError):
            self.tls.do_handshake()
        return self._outgoing()

    def writes(self, plain: bytes) -> bytes:
        """Plain bytes as ciphertext."""
        self.tls.sendall(plain)
        return self._outgoing()

    def half_closes(self) -> bytes:
        """A close_notify."""
        self.tls.shutdown()
        return self._outgoing()

    def hears(self, cipher: bytes) -> bytes:
        """The plain bytes in what came, up to a close_notify; errors are the test's to see."""
        self.tls.bio_write(cipher)
        plain = bytearray()
        with suppress(SSL.WantReadError, SSL.ZeroReturnError):
            while True:
                plain += self.tls.recv(65536)
        return bytes(plain)

    def _outgoing(self) -> bytes:
        try:
            return self.tls.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""


def received(layer: RecordLayer, cipher: bytes) -> bytes:
    """What a record layer makes of ciphertext that comes as the loop brings it."""
    plain = b""
    for at in range(0, len(cipher), ROOM_SIZE):
        piece = cipher[at : at + ROOM_SIZE]
        ROOM[: len(piece)] = piece
        plain += layer.receive_room(len(piece))
    return plain


def greeted(base: Base, client: Client) -> tuple[RecordLayer, Wire]:
    """A record layer after the handshake with the client."""
    wire = Wire()
    layer = RecordLayer(base, wire)
    while not layer.established:
        assert received(layer, client.says()) == b""
        layer.flush()
        client.hears(wire.take())
    return layer, wire


def refusal(base: Base, client: Client) -> str:
    """Why the handshake failed, after the client has heard the alert."""
    wire = Wire()
    layer = RecordLayer(base, wire)
    with pytest.raises(HandshakeError) as caught:
        received(layer, client.says())
    with pytest.raises(SSL.Error):
        client.hears(wire.take())
    return caught.value.reason


# ---- the handshake


def test_a_handshake_in_tls_13_with_http11(base: Base) -> None:
    client = Client()
    layer, _ = greeted(base, client)
    assert layer.established
    assert client.tls.get_protocol_version_name() == "TLSv1.3"
    assert client.tls.get_alpn_proto_negotiated() == b"http/1.1"


def test_the_key_exchange_is_post_quantum_where_the_client_can(base: Base) -> None:
    client = Client()
    greeted(base, client)
    assert client.tls.get_group_name() == "X25519MLKEM768"


def test_a_handshake_in_single_bytes_is_the_same(base: Base) -> None:
    client, wire = Client(), Wire()
    layer = RecordLayer(base, wire)
    while not layer.established:
        for octet in client.says():
            assert received(layer, bytes([octet])) == b""
        layer.flush()
        client.hears(wire.take())
    assert received(layer, client.writes(b"hello")) == b"hello"


@pytest.mark.parametrize("name", [A, B])
def test_the_certificate_is_that_of_the_name_asked_for(base: Base, name: str) -> None:
    client = Client(name)
    greeted(base, client)
    leaf = client.tls.get_peer_certificate(as_cryptography=True)
    assert leaf is not None
    assert name in leaf.subject.rfc4514_string()


@pytest.mark.parametrize("asked", ["A.Example", "a.example.", "A.EXAMPLE."])
def test_case_and_trailing_dot_of_the_name_do_not_matter(base: Base, asked: str) -> None:
    layer, _ = greeted(base, Client(asked))
    assert layer.server_name == A


@pytest.mark.parametrize("name", ["unknown.example", None])
def test_an_unknown_or_absent_name_gets_the_unrecognized_name_alert(
    base: Base, name: str | None
) -> None:
    """RFC 6066 §3: 112, and no certificate."""
    client = Client(name)
    refusal(base, client)
    assert client.alerts == ["112"]
    assert client.tls.get_peer_certificate() is None


def test_tls_12_is_refused(base: Base) -> None:
    """RFC 8446 §6.2: protocol_version is 70."""
    client = Client(newest=SSL.TLS1_2_VERSION)
    assert refusal(base, client) == "unsupported_protocol"
    assert client.alerts == ["70"]


def test_a_client_that_does_not_speak_http11_is_refused(base: Base) -> None:
    client = Client(alpn=(b"h2",))
    assert refusal(base, client) == "no_application_protocol"


def test_a_client_that_offers_no_protocol_is_served(base: Base) -> None:
    """RFC 7301 §3.1: ALPN is an offer."""
    layer, _ = greeted(base, Client(alpn=()))
    assert layer.established


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 50])
def test_what_is_no_tls_fails_the_handshake(base: Base, octets: bytes) -> None:
    with pytest.raises(HandshakeError) as caught:
        received(RecordLayer(base, Wire()), octets)
    assert caught.value.reason


def test_a_session_resumes_on_any_connection_of_the_same_base(base: Base) -> None:
    first = spoken_with(base, None)
    assert not first.session_reused
    assert spoken_with(base, first.session).session_reused


def test_a_session_does_not_resume_on_another_base(base: Base) -> None:
    """So one base is made before the workers are, and kept."""
    other = Base()
    other.choose = base.choose
    assert not spoken_with(other, spoken_with(base, None).session).session_reused


def test_a_session_does_not_resume_on_another_day(authority: Authority) -> None:
    now = 0.0
    base = Base(clock=lambda: now)
    base.choose = {A: context_of(authority, A)}.get
    now += DAY_SECONDS - 1
    session = spoken_with(base, None).session
    assert spoken_with(base, session).session_reused
    now += 1
    assert not spoken_with(base, session).session_reused
    assert spoken_with(base, spoken_with(base, None).session).session_reused


TRUSTING = ssl.create_default_context()
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE


def spoken_with(base: Base, session: ssl.SSLSession | None) -> ssl.SSLObject:
    """A client of the standard library, which can tell whether its session was resumed."""
    coming, going, wire = ssl.MemoryBIO(), ssl.MemoryBIO(), Wire()
    client = TRUSTING.wrap_bio(coming, going, server_hostname=A, session=session)
    layer = RecordLayer(base, wire)
    while not layer.established:
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        received(layer, going.read())
        coming.write(wire.take())
    layer.send(b"hello")
    coming.write(wire.take())
    assert client.read() == b"hello"
    return client


def test_a_certificate_renewed_meanwhile_is_served_from_the_next_connection_on(
    authority: Authority,
) -> None:
    base = Base()
    old, new = context_of(authority, A), context_of(authority, A)
    base.choose = {A: old}.get
    first, second = Client(), Client()
    greeted(base, first)
    base.choose = {A: new}.get
    greeted(base, second)
    assert first.tls.get_peer_certificate() != second.tls.get_peer_certificate()


# ---- records


def test_plain_bytes_pass_both_ways(base: Base) -> None:
    client = Client()
    layer, wire = greeted(base, client)
    assert received(layer, client.writes(b"question")) == b"question"
    layer.send(b"answer")
    assert client.hears(wire.take()) == b"answer"


@pytest.mark.parametrize("size", [1, 16384, 16385, 100_000, 1_000_000])
def test_whatever_its_size_all_of_a_message_is_written(base: Base, size: int) -> None:
    client = Client()
    layer, wire = greeted(base, client)
    message = bytes(range(256)) * (size // 256 + 1)
    layer.send(message[:size])
    assert client.hears(wire.take()) == message[:size]


def test_all_records_of_one_read_are_taken(base: Base) -> None:
    client = Client()
    layer, _ = greeted(base, client)
    cipher = b"".join(client.writes(b"%d," % number) for number in range(5))
    assert received(layer, cipher + client.writes(b"x" * 40_000)) == b"0,1,2,3,4," + b"x" * 40_000


def test_a_record_cut_anywhere_is_taken_when_it_is_whole(base: Base) -> None:
    client = Client()
    layer, _ = greeted(base, client)
    *most, last = client.writes(b"hello")
    assert [received(layer, bytes([octet])) for octet in most] == [b""] * len(most)
    assert received(layer, bytes([last])) == b"hello"


def test_bytes_that_came_with_the_end_of_the_handshake_are_not_lost(base: Base) -> None:
    client, wire = Client(), Wire()
    layer = RecordLayer(base, wire)
    received(layer, client.says())
    client.hears(wire.take())
    assert received(layer, client.says() + client.writes(b"early")) == b"early"


def test_a_damaged_record_ends_the_connection(base: Base) -> None:
    client = Client()
    layer, _ = greeted(base, client)
    cipher = bytearray(client.writes(b"hello"))
    cipher[-1] ^= 1
    with pytest.raises(ConnectionError):
        received(layer, bytes(cipher))


# ---- the end (RFC 8446 §6.1)


def test_a_clients_close_notify_is_the_end_of_what_it_says(base: Base) -> None:
    client = Client()
    layer, wire = greeted(base, client)
    assert not layer.ended
    assert received(layer, client.writes(b"last") + client.half_closes()) == b"last"
    assert layer.ended
    layer.send(b"but I hear")
    assert wire.take() != b""


def test_our_close_notify_is_the_end_of_what_we_say_and_not_of_what_we_hear(base: Base) -> None:
    client = Client()
    layer, wire = greeted(base, client)
    layer.finish()
    client.tls.bio_write(wire.take())
    with pytest.raises(SSL.ZeroReturnError):
        client.tls.recv(100)
    assert received(layer, client.writes(b"more")) == b"more"


def test_who_has_fallen_silent_says_neither_close_notify_nor_what_is_wrong(base: Base) -> None:
    client = Client()
    layer, wire = greeted(base, client)
    layer.flush()
    wire.take()
    layer.fall_silent()
    layer.finish()
    cipher = bytearray(client.writes(b"hello"))
    cipher[-1] ^= 1
    with pytest.raises(ConnectionError):
        received(layer, bytes(cipher))
    assert wire.take() == b""


def test_finishing_within_the_handshake_says_nothing(base: Base) -> None:
    wire = Wire()
    RecordLayer(base, wire).finish()
    assert wire.take() == b""


# ---- certificates


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    one, other = authority.pair(A), authority.pair(B)
    with pytest.raises((SSL.Error, ValueError)):
        site_context(one.cert.read_bytes(), other.key.read_bytes())


@pytest.mark.parametrize(("certificate", "key"), [(b"", b""), (b"nonsense", b"nonsense")])
def test_what_is_no_certificate_is_refused(certificate: bytes, key: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        site_context(certificate, key)


def test_the_functions_of_openssl_itself_are_called_where_they_can_be() -> None:
    """A version of pyOpenSSL that hides them would cost speed; that should not go unnoticed."""
    assert DIRECT
    assert ENGINE is Direct


def test_session_tickets_leave_with_what_is_sent_first(base: Base) -> None:
    client, wire = Client(), Wire()
    layer = RecordLayer(base, wire)
    received(layer, client.says())
    client.hears(wire.take())
    received(layer, client.says())
    assert (layer.established, wire.take()) == (True, b"")
    layer.send(b"hello")
    assert client.hears(wire.take()) == b"hello"
    session = client.tls.get_session()
    assert session is not None


def test_last_words_and_close_notify_leave_in_one_write(base: Base) -> None:
    client = Client()
    layer, wire = greeted(base, client)
    writes: list[bytes] = []
    wire.write = writes.append  # type: ignore[method-assign,assignment]
    layer.send_last(b"bye")
    [written] = writes
    assert client.hears(written) == b"bye"
    assert client.tls.get_shutdown() & SSL.RECEIVED_SHUTDOWN


# ---- what is agreed on


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        (b"TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        (b"TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        (b"TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
    ],
)
def test_the_cheapest_cipher_of_those_offered_is_taken(
    base: Base, offered: bytes, agreed: str
) -> None:
    client = Client(ciphers=offered)
    greeted(base, client)
    assert client.tls.get_cipher_name() == agreed


def test_http11_is_found_among_other_protocols(base: Base) -> None:
    """RFC 7301 §3.1: a list of names, each behind its length."""
    client = Client(alpn=(b"h2", b"http/1.0", b"http/1.1", b"x"))
    layer, _ = greeted(base, client)
    assert client.tls.get_alpn_proto_negotiated() == b"http/1.1"
    assert not layer.challenged


def test_a_fault_in_the_choice_of_a_certificate_refuses_the_client(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[type[BaseException]] = []
    monkeypatch.setattr("sys.excepthook", lambda kind, *_: told.append(kind))

    def fail(name: str) -> SSL.Context | None:
        raise RuntimeError(name)

    base.choose = fail
    refusal(base, Client())
    assert told == [RuntimeError]
