"""A small BitTorrent tracker for the demo: announce and scrape over HTTP, peers in memory.

Pure but for the clock it is given: a query's bytes and a client's address go in, a bencoded
answer comes out. As trackers do, it answers its failures with 200 and a bencoded reason.
BEP 3 (announce), BEP 7 (peers6), BEP 23 (compact peers), BEP 48 (scrape).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote_to_bytes

Address = IPv4Address | IPv6Address
Bencodable = bytes | int | list["Bencodable"] | dict[bytes, "Bencodable"]

INTERVAL = 120  # seconds, what Torrust tells its clients
# A demo left open for a week must not fill the machine.
MAX_TORRENTS, MAX_PEERS, MAX_WANTED = 1000, 200, 74


class RefusedError(Exception):
    """A request the tracker says no to; the text is what the client reads."""


@dataclass(frozen=True)
class Peer:
    """One client of one torrent."""

    address: Address
    port: int
    complete: bool
    seen: float

    def compact(self) -> bytes:
        """6 bytes for IPv4 (BEP 23), 18 for IPv6 (BEP 7)."""
        return self.address.packed + self.port.to_bytes(2, "big")


class Tracker:
    """Who shares what. `clock` returns seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._torrents: dict[bytes, dict[bytes, Peer]] = {}
        self._downloaded: Counter[bytes] = Counter()
        self.served: Counter[str] = Counter()
        """`tcp4_announces`, `tcp6_scrapes` and so on."""

    def announce(self, query: str, client: Address) -> bytes:
        """The bencoded answer to one announce; the bytes of info_hash are taken as they are."""
        self.served[f"tcp{client.version}_announces"] += 1
        try:
            return self._announce(_parameters(query), client)
        except RefusedError as refused:
            return failure(str(refused))

    def scrape(self, query: str, client: Address) -> bytes:
        """The bencoded figures of the torrents asked for, unknown ones as zeros."""
        self.served[f"tcp{client.version}_scrapes"] += 1
        hashes = [value for name, value in _parameters(query) if name == b"info_hash"]
        if not hashes or any(len(info_hash) != 20 for info_hash in hashes):
            return failure("scrape needs info_hash of 20 bytes")
        return bencode({b"files": {info_hash: self._figures(info_hash) for info_hash in hashes}})

    def totals(self) -> dict[str, int]:
        """What the API tells of all torrents together."""
        swarms = [self._peers(info_hash) for info_hash in list(self._torrents)]
        peers = [peer for swarm in swarms for peer in swarm.values()]
        seeders = sum(peer.complete for peer in peers)
        return {
            "torrents": len(self._torrents),
            "seeders": seeders,
            "completed": self._downloaded.total(),
            "leechers": len(peers) - seeders,
        }

    def _announce(self, parameters: Sequence[tuple[bytes, bytes]], client: Address) -> bytes:
        given = dict(parameters)
        info_hash, peer_id = _twenty(given, b"info_hash"), _twenty(given, b"peer_id")
        peer = Peer(client, _port(given), given.get(b"left") == b"0", self._clock())
        self._note(info_hash, peer_id, peer, given.get(b"event", b""))
        wanted = _number(given.get(b"numwant", b""), MAX_WANTED)
        others = [p for key, p in self._peers(info_hash).items() if key != peer_id][:wanted]
        return bencode(
            {
                b"complete": self._figures(info_hash)[b"complete"],
                b"incomplete": self._figures(info_hash)[b"incomplete"],
                b"interval": INTERVAL,
                b"min interval": INTERVAL,
                b"peers": b"".join(p.compact() for p in others if p.address.version == 4),
                b"peers6": b"".join(p.compact() for p in others if p.address.version == 6),
            }
        )

    def _note(self, info_hash: bytes, peer_id: bytes, peer: Peer, event: bytes) -> None:
        if info_hash not in self._torrents and len(self._torrents) >= MAX_TORRENTS:
            self._torrents.pop(next(iter(self._torrents)))
        swarm = self._torrents.setdefault(info_hash, {})
        swarm.pop(peer_id, None)
        if event == b"completed":
            self._downloaded[info_hash] += 1
        if event != b"stopped":
            swarm[peer_id] = peer
        if len(swarm) > MAX_PEERS:
            swarm.pop(next(iter(swarm)))

    def _peers(self, info_hash: bytes) -> dict[bytes, Peer]:
        """The swarm without those that have not been heard of for two intervals."""
        swarm = self._torrents.get(info_hash, {})
        horizon = self._clock() - 2 * INTERVAL
        for peer_id in [key for key, peer in swarm.items() if peer.seen < horizon]:
            del swarm[peer_id]
        return swarm

    def _figures(self, info_hash: bytes) -> dict[bytes, Bencodable]:
        peers = self._peers(info_hash).values()
        complete = sum(peer.complete for peer in peers)
        return {
            b"complete": complete,
            b"downloaded": self._downloaded[info_hash],
            b"incomplete": len(peers) - complete,
        }


def client_address(forwarded: Sequence[bytes], connected: str | None) -> Address:
    """Whose request it is: the right-most X-Forwarded-For entry, or else who connected.

    Raises RefusedError when that is no address, as a tracker behind a proxy does.
    """
    last = b",".join(forwarded).rpartition(b",")[2].strip().decode("ascii", "replace")
    try:
        address = ip_address(last if forwarded else connected or "")
    except ValueError:
        raise RefusedError("the client's address is missing: no valid X-Forwarded-For") from None
    return getattr(address, "ipv4_mapped", None) or address


def failure(reason: str) -> bytes:
    """BEP 3: the one key that is there when a request is refused."""
    return bencode({b"failure reason": reason.encode()})


def bencode(value: Bencodable) -> bytes:
    """BEP 3's encoding; a dictionary's keys are sorted as raw bytes."""
    match value:
        case bytes():
            return b"%d:%b" % (len(value), value)
        case int():
            return b"i%de" % value
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case dict():
            pairs = (bencode(key) + bencode(value[key]) for key in sorted(value))
            return b"d" + b"".join(pairs) + b"e"


def _parameters(query: str) -> list[tuple[bytes, bytes]]:
    # Not parse_qsl: it would take info_hash for text, and a plus sign for a space.
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


def _twenty(given: dict[bytes, bytes], name: bytes) -> bytes:
    value = given.get(name)
    if value is None or len(value) != 20:
        raise RefusedError(f"{name.decode()} of 20 bytes is missing")
    return value


def _port(given: dict[bytes, bytes]) -> int:
    port = _number(given.get(b"port", b""), 0)
    if not 0 < port < 65536:
        raise RefusedError("port is missing")
    return port


def _number(written: bytes, otherwise: int) -> int:
    return int(written) if written.isdigit() and len(written) < 10 else otherwise
