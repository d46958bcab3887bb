"""Whether a request may go on, and where. Pure, but for the quotas that it spends.

Law: every way to an origin leads through here, an upgrade's too; what is refused here has cost the
origin nothing. The order is that of the contract: what the proxy serves at all, room for the
connection, the site, the path, the sender's network, how often it asks.
"""

from collections.abc import Sequence
from typing import NamedTuple

from .errors import ClientError
from .fields import (
    Network,
    forwarded_client,
    in_networks,
    is_last_hop,
    plain_address,
    request_id_of,
)
from .head import Fields, RequestHead
from .hop import Sender
from .quotas import Quotas
from .routing import Route, Site, Table


class Peer(NamedTuple):
    """Who is at the other end of a client's connection, as long as it lasts.

    `trusted`: a proxy that is believed whom it speaks for. `refused`: there was no room for this
    connection; all it gets is an answer that says so. `counted`: among its client's connections.
    """

    address: str
    trusted: bool
    refused: bool = False
    counted: bool = False

    @classmethod
    def of(cls, address: str, trusted: Sequence[Network]) -> "Peer":
        """The peer with this address, as the kernel writes it."""
        # What the kernel writes without a colon is plain: to parse it took 8 µs of each handshake.
        plain = plain_address(address) if ":" in address else address
        return cls(plain, in_networks(plain, trusted))


def sender_of(peer: Peer, fields: Fields, own_id: bytes, trusted: Sequence[Network]) -> Sender:
    """Who a request is from: the peer, or whom a trusted one names.

    Its id is `own_id`, unless a trusted peer has given it one.
    """
    if not peer.trusted:
        return Sender(peer.address, own_id, trusted=False)
    address = forwarded_client(peer.address, fields, trusted)
    return Sender(address, request_id_of(fields) or own_id, trusted=True)


def route_of(
    request: RequestHead,
    sender: Sender,
    peer: Peer,
    connected: Site,
    table: Table,
    quotas: Quotas,
) -> Route | None:
    """The route of a request on a connection that was opened for the site `connected`.

    None where the proxy itself is asked (RFC 9110 §7.6.2). Raises ClientError: 405, 503, 404, 421,
    403, 429, whichever is met first.
    """
    if request.method in (b"CONNECT", b"TRACE"):
        raise ClientError(405, "this method is not served")
    if peer.refused:
        raise ClientError(503, "too many connections are open")
    site = table.site_asked(request.host_name, connected)
    if is_last_hop(request):
        return None
    route = site.route(request.target)
    if route.config.allow and not in_networks(sender.address, route.config.allow):
        raise ClientError(403, "this address is not allowed here")
    if route.quota is not None:
        wait = quotas.seconds_to_wait(route.quota, sender.address)
        if wait:
            raise ClientError(429, "too many requests from this address", retry_after=wait)
    return route
