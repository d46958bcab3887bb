"""A request is received: read, admitted, and given to an exchange.

Law: what a head says is judged once, here, in this order: the gate (`head`), who sends it, whether
and where it may go on (`admission`).
"""

from .account import Account
from .admission import Peer, route_of, sender_of
from .doorkeeper import Question
from .exchange import Exchange
from .fast_lane import Driver, FastLane
from .fields import one_hop_less, persistent
from .head import RequestHead, read_request
from .listener import Listener
from .routing import Route, Site

# How many different requests one connection may have remembered: nobody fills the memory alone. Who
# brings requests of many clients over one connection has most of them known soon.
_LESSONS = 64


class Reception:
    """The reception of one client's connection to one site.

    `persist`: whether the request received last leaves room for another after an answer of the
    proxy's own. `lane`: the way for requests that are known already; None for a peer whose word on
    its clients is taken, and for one that is refused.
    """

    __slots__ = (
        "_account",
        "_client",
        "_lessons",
        "_listener",
        "_peer",
        "_site",
        "lane",
        "persist",
    )

    def __init__(
        self, listener: Listener, client: Driver, account: Account, peer: Peer, site: Site
    ) -> None:
        self._listener = listener
        self._client = client
        self._account = account
        self._peer = peer
        self._site = site
        self._lessons = _LESSONS
        self.persist = False
        self.lane: FastLane | None = None
        if not (peer.trusted or peer.refused):
            self.lane = FastLane(listener, client, account, site, peer.address)

    def receive(self, head: bytes) -> tuple[Exchange, Question | None] | None:
        """The exchange for a request's head, and who has to be asked before it may begin.

        None where the proxy itself is asked. Raises ClientError.
        """
        listener, account = self._listener, self._account
        self.persist = False
        request = account.asked = read_request(head)
        self.persist = request.framing.length == 0 and persistent(request.version, request.fields)
        trusted, quotas = listener.trusted_proxies, listener.fair_share.quotas
        sender = sender_of(self._peer, request.fields, account.request_id, trusted)
        account.sender, account.request_id = sender, sender.request_id
        route = route_of(request, sender, self._peer, self._site, listener.table, quotas)
        if route is None:
            return None
        question = listener.doorkeeper.ask(route.guard, request.fields) if route.guard else None
        self._learn(route, head, request)
        exchange = Exchange(listener, self._client, one_hop_less(request), route, sender)
        account.exchange = exchange
        return exchange, question

    def end(self) -> None:
        """The client is gone. It is let go of: in a cycle it waits for the collector, which seldom
        comes, with all that OpenSSL keeps of it."""
        del self._client
        self.lane = None

    def _learn(self, route: Route, head: bytes, request: RequestHead) -> None:
        if self._lessons and self.lane is not None:
            self._lessons -= self._listener.memos.learn(route, head, request)
