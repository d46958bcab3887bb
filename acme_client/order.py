"""The steps of one order (RFC 8555 §7.4): placed, proved, finalized, downloaded.

Law: an object of this module stands for one order URL; it decides nothing about other orders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urljoin

from josepy.b64 import b64encode

from .errors import (
    GiveUp,
    NotTried,
    NotUnderstood,
    OrderGone,
    Retry,
    ValidationFailed,
)
from .names import identifier, normal
from .network import Network
from .patience import Patience
from .problems import failure, validation_failure
from .proof import Proof

# Let's Encrypt gives up on a validation after 20 s; Pebble sleeps for up to 15 s before each.
VALIDATION_TAKES = 90.0
FINALIZATION_TAKES = 120.0
# Broken answers in a row while the outcome is waited for; each is a whole deadline in the worst
# case.
_BROKEN_LOOKS = 3

Document = Mapping[str, Any]


def place(
    network: Network, names: Sequence[str], *, profile: str | None, replaces: str | None
) -> Order:
    """A new order; raises IssueError."""
    payload: dict[str, Any] = {"identifiers": [identifier(name) for name in names]}
    if profile is not None:
        payload["profile"] = profile
    if replaces is not None:
        payload["replaces"] = replaces
    answer = network.post(network.resources["newOrder"], payload)
    url = answer.fields.get("location")
    if not url:
        raise Retry("the authority made an order and did not say where")
    return Order(network, urljoin(network.directory_url, url), answer.json())


def resume(network: Network, url: str) -> Order:
    """A recorded order; raises OrderGone when the authority has forgotten it."""
    order = Order(network, url, {})
    try:
        order.look()
    except (NotUnderstood, GiveUp) as error:
        raise OrderGone(str(error)) from error
    if order.status not in ("ready", "processing", "valid"):
        raise OrderGone(f"the recorded order is {order.status}")
    return order


class Order:
    """One order at one authority."""

    def __init__(self, network: Network, url: str, body: Document) -> None:
        self.url = url
        self._network = network
        self._body = body

    @property
    def status(self) -> str:
        """As last seen."""
        return str(self._body.get("status"))

    def look(self) -> None:
        """Ask for the present state."""
        self._body = self._read(self.url)

    def prove(
        self, challenge: str, proof: Proof, patience: Patience, before: Callable[[], None]
    ) -> None:
        """Show control over every name that the authority is not sure of yet.

        `before` is called before each validation and may raise. Raises ValidationFailed with the
        authority's words.
        """
        for url in self._strings("authorizations"):
            authorization = self._read(url)
            if authorization.get("status") == "valid":
                continue
            if authorization.get("status") != "pending":
                raise Retry(f"an authorization is {authorization.get('status')} from the start")
            before()
            self._prove_one(url, authorization, challenge, proof, patience)

    def _prove_one(
        self,
        url: str,
        authorization: Document,
        challenge: str,
        proof: Proof,
        patience: Patience,
    ) -> None:
        name = normal(str(_mapping(authorization.get("identifier")).get("value")))
        offered = _challenge(authorization, challenge)
        key = self._network.key
        if offered is None or key is None:
            raise NotTried(f"{name}: the authority does not offer {challenge}")
        with proof.shown(challenge, name, str(offered.get("token")), key):
            self._network.post(str(offered.get("url")), {})
            found = self._settled(url, ("pending", "processing"), VALIDATION_TAKES, patience)
        if found.get("status") == "valid":
            return
        error = _mapping((_challenge(found, challenge) or {}).get("error"))
        if found.get("status") == "pending" and not error:
            words = f"no validation by {challenge} within {VALIDATION_TAKES:g} s"
            raise ValidationFailed(f"{name}: {words}")
        raise validation_failure(f"{name} by {challenge}", error, self._network.clock())

    def finalize(self, request: bytes, patience: Patience) -> None:
        """Hand in the signing request (DER) and wait until the certificate is there.

        What the authority answers to the request itself is not trusted: after a broken connection
        the order tells whether it came in.
        """
        self._body = self._settled(self.url, ("pending",), VALIDATION_TAKES, patience)
        if self.status == "ready":
            self._hand_in(request)
        if self.status in ("ready", "processing"):
            self._body = self._settled(self.url, ("processing",), FINALIZATION_TAKES, patience)
        if self.status == "ready":
            # It never came in, or the answer of before was from a replica that lags behind.
            self._hand_in(request, again=True)
            self._body = self._settled(self.url, ("processing",), FINALIZATION_TAKES, patience)
        if self.status == "invalid":
            words = _mapping(self._body.get("error"))
            raise failure(words, self._network.clock())
        if self.status != "valid":
            raise Retry(f"the order is still {self.status} after {FINALIZATION_TAKES:g} s")

    def _hand_in(self, request: bytes, *, again: bool = False) -> None:
        try:
            self._network.post(
                str(self._body.get("finalize")), {"csr": b64encode(request).decode()}
            )
        except Retry:
            if again:
                raise

    def download(self) -> bytes:
        """The certificate chain in PEM, as it came."""
        return self._network.post(str(self._body.get("certificate")), None).body

    def _settled(
        self, url: str, unsettled: Sequence[str], seconds: float, patience: Patience
    ) -> Document:
        """The document at `url` once its status is none of `unsettled`, or when time is over."""
        document: Document = {}
        broken = 0
        for _ in patience.looks(seconds):
            try:
                document, broken = self._read(url), 0
            except Retry:
                broken += 1
                if broken >= _BROKEN_LOOKS:
                    raise
                continue
            if document.get("status") not in unsettled:
                break
        return document

    def _read(self, url: str) -> Document:
        return self._network.post(url, None).json()

    def _strings(self, name: str) -> list[str]:
        found = self._body.get(name)
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise Retry(f"the order's {name} cannot be read")
        return found


def _challenge(authorization: Document, kind: str) -> Document | None:
    found = authorization.get("challenges")
    offers = found if isinstance(found, list) else []
    matching = (each for each in offers if isinstance(each, dict) and each.get("type") == kind)
    return next(matching, None)


def _mapping(value: object) -> Document:
    return value if isinstance(value, dict) else {}
