"""A client that changes its keys: as often as an honest one may, and no more (RFC 8446 §4.6.3)."""

from __future__ import annotations

import struct
from collections import deque

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

from proxy.engine import ROOM_SIZE
from proxy.tls import Base
from tests.authority import Authority
from tests.test_tls import A, Client, context_of, greeted, received

# The content of a record and its type: KeyUpdate is a handshake message.
UPDATE, ANSWERED_UPDATE = b"\x18\0\0\x01\0\x16", b"\x18\0\0\x01\x01\x16"
RECORD = 27


def expanded(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (§7.1)."""
    info = struct.pack("!HB", size, 6 + len(label)) + b"tls13 " + label + b"\0"
    return HKDFExpand(SHA256(), size, info).derive(secret)


class Changing(Client):
    """A client that writes its records itself, once its handshake is done."""

    def __init__(self) -> None:
        self._secret = b""
        self._sent = 0
        super().__init__(ciphers=b"TLS_AES_128_GCM_SHA256")

    def _context(self, alpn: tuple[bytes, ...], newest: int) -> SSL.Context:
        context = super()._context(alpn, newest)
        context.set_keylog_callback(self._agreed)
        return context

    def _agreed(self, _connection: SSL.Connection, line: bytes) -> None:
        name, _, secret = line.split()
        if name == b"CLIENT_TRAFFIC_SECRET_0":
            self._secret = bytes.fromhex(secret.decode())

    def record(self, content: bytes) -> bytes:
        """A record (§5.2) of a content with its type behind it."""
        key, iv = expanded(self._secret, b"key", 16), expanded(self._secret, b"iv", 12)
        nonce = (int.from_bytes(iv) ^ self._sent).to_bytes(12)
        self._sent += 1
        head = b"\x17\x03\x03" + struct.pack("!H", len(content) + 16)
        return head + AESGCM(key).encrypt(nonce, content, head)

    def updates(self, count: int, content: bytes = UPDATE) -> bytes:
        """Changes of its keys, each in a record of its own."""
        records = bytearray()
        for _ in range(count):
            records += self.record(content)
            self._secret, self._sent = expanded(self._secret, b"traffic upd", 32), 0
        return bytes(records)

    def plain(self, octets: bytes) -> bytes:
        """A record of plain bytes."""
        return self.record(octets + b"\x17")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    base = Base()
    base.choose = {A: context_of(Authority(tmp_path_factory.mktemp("authority")), A)}.get
    return base


def test_what_stands_between_changes_of_keys_is_read(base: Base) -> None:
    client = Changing()
    layer, _ = greeted(base, client)
    said = b"".join(client.updates(1) + client.plain(bytes([at])) for at in range(16))
    assert received(layer, said + client.updates(16)) == bytes(range(16))
    assert received(layer, client.plain(b"more")) == b"more"


def test_a_read_full_of_changes_ends_the_connection(base: Base) -> None:
    """All of one would take 140 ms."""
    client = Changing()
    layer, _ = greeted(base, client)
    with pytest.raises(ConnectionError, match="without end"):
        received(layer, client.updates(ROOM_SIZE // RECORD))


def test_changes_may_be_as_many_as_one_likes_who_hears_their_answers(base: Base) -> None:
    client = Changing()
    layer, wire = greeted(base, client)
    for _ in range(1000):
        assert received(layer, client.updates(1, ANSWERED_UPDATE)) == b""
        layer.send(b"x")
        wire.take()


def test_answers_that_nothing_is_sent_behind_wait_in_bounded_space(base: Base) -> None:
    client = Changing()
    layer, wire = greeted(base, client)
    reads = (client.updates(1, ANSWERED_UPDATE) for _ in range(1000))
    with pytest.raises(ConnectionError, match="without end"):
        deque((received(layer, read) for read in reads), maxlen=0)
    assert len(wire.take()) < 8192
