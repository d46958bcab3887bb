"""One certificate from one authority.

Law: an issuance ends with a certificate that was checked and lies in the store, or with an
exception and everything that is served as it was.

The order's URL and the private key are on the disk before the order is finalized. Whoever comes
after a crash asks for that order first, so that nothing is issued twice.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from . import ari, order
from .account import register, sign_in
from .errors import (
    AccountGone,
    AlreadyReplaced,
    BadCertificate,
    GiveUp,
    IssueError,
    NotTried,
    NotUnderstood,
    OrderGone,
    RetryLater,
    TooManyFailed,
    ValidationFailed,
)
from .memory import Memory
from .names import normal, possible_challenges
from .network import Network
from .order import Order
from .pair import Pair, check_download, make_key, read_chain, read_key, signing_request
from .patience import Patience
from .proof import Proof
from .settings import Settings
from .state import MOST_FAILED_VALIDATIONS, PlacedOrder
from .store import Store
from .times import Clock
from .transport import DEADLINE, Transport

# An order that could not be completed this often is left for a new one: completing it again costs
# the authority nothing, a new order may cost an issuance.
MOST_DISAPPOINTMENTS = 3


@dataclass(frozen=True)
class Desk:
    """What every issuance of a process shares."""

    settings: Settings
    store: Store
    clock: Clock
    stop: threading.Event
    deadline: float = DEADLINE

    def issue(self, directory: str, memory: Memory, present: Pair | None) -> Pair:
        """Get a certificate for a host and put it into the store.

        Raises IssueError, StoreError, SettingsError, Stopped.
        """
        network = self._network(directory)
        try:
            return _Issuance(self, network, memory, present).run()
        finally:
            network.close()

    def suggestion(self, directory: str, present: Pair) -> ari.Suggestion | None:
        """The authority's renewal information for a certificate of its own; raises IssueError."""
        network = self._network(directory)
        try:
            network.open()
            return ari.ask(network, read_chain(present.certificate)[0])
        finally:
            network.close()

    def _network(self, directory: str) -> Network:
        transport = Transport(self.settings.ca_bundle, deadline=self.deadline, stop=self.stop)
        return Network(directory, transport, clock=self.clock)


class _Issuance:
    """One attempt."""

    def __init__(self, desk: Desk, network: Network, memory: Memory, present: Pair | None) -> None:
        self._settings = desk.settings
        self._store = desk.store
        self._clock = desk.clock
        self._network = network
        self._memory = memory
        self._present = present
        self._names = (normal(memory.host),)
        self._patience = Patience(desk.stop)
        self._proof = Proof(desk.store.answers, desk.settings, self._patience, desk.clock)

    def run(self) -> Pair:
        self._store.probe()
        self._network.open()
        with self._store.registering:
            sign_in(self._network, self._store, self._settings)
        try:
            return self._attempt()
        except AccountGone:
            # The authority was reset: same key, new account, and the old orders are gone.
            self._memory.update(order=None)
            with self._store.registering:
                register(self._network, self._store, self._settings)
            return self._attempt()

    def _attempt(self) -> Pair:
        recorded = self._resumed()
        if recorded is not None:
            return self._complete(recorded)
        return self._complete(self._proved())

    # ---- which order

    def _resumed(self) -> Order | None:
        """The recorded order, when it can still be completed."""
        recorded = self._memory.state.order
        if recorded is None:
            return None
        try:
            if recorded.directory != self._network.directory_url or not self._has_key():
                raise OrderGone
            return order.resume(self._network, recorded.url)
        except OrderGone:
            self._memory.update(order=None)
            return None

    def _has_key(self) -> bool:
        key = self._store.kept_key(self._memory.host)
        try:
            return key is not None and bool(read_key(key))
        except ValueError:
            return False

    def _proved(self) -> Order:
        """A new order whose names are proved, by the first challenge that succeeds."""
        failures: list[ValidationFailed] = []
        for challenge in self._challenges():
            placed = self._place()
            try:
                placed.prove(challenge, self._proof, self._patience, self._check_limit)
            except (RetryLater, TooManyFailed) as error:
                words = "; ".join(str(each) for each in (*failures, error))
                raise type(error)(words, error.not_before) from error
            except ValidationFailed as error:
                failures.append(error)
                self._count_failure(error)
            else:
                self._memory.update(challenge=challenge)
                return placed
        if not failures:
            raise GiveUp(f"{self._names[0]} needs another challenge than {self._wanted()}")
        raise ValidationFailed("; ".join(str(each) for each in failures))

    def _wanted(self) -> str:
        return " and ".join(self._settings.challenges) or "none"

    def _challenges(self) -> Sequence[str]:
        """Those that can work for the name; the one that did last time comes first."""
        possible = possible_challenges(self._names[0], self._settings.challenges)
        return sorted(possible, key=lambda each: each != self._memory.state.challenge)

    def _check_limit(self) -> None:
        """Raise TooManyFailed where another failed validation would be one too many."""
        now, state = self._clock(), self._memory.state
        if state.validations_left(now) <= 0:
            words = f"{MOST_FAILED_VALIDATIONS} validations failed within the hour"
            raise TooManyFailed(words, state.validation_allowed_at(now))

    def _count_failure(self, error: ValidationFailed) -> None:
        if not isinstance(error, NotTried):
            self._memory.put(self._memory.state.with_failed_validation(self._clock()))

    def _place(self) -> Order:
        profile, replaces = self._profile(), self._replaces()
        try:
            return order.place(self._network, self._names, profile=profile, replaces=replaces)
        except (AlreadyReplaced, GiveUp, NotUnderstood):
            # Whatever is wrong with the order: `replaces` is a courtesy, and must not cost the
            # renewal. If something else is wrong, the second answer says so.
            if replaces is None:
                raise
            self._memory.update(replaceable=False)
            return order.place(self._network, self._names, profile=profile, replaces=None)

    def _profile(self) -> str | None:
        wanted, offered = self._settings.profile, self._network.meta("profiles")
        names = list(offered) if isinstance(offered, dict) else []
        if wanted is None or wanted in names:
            return wanted
        if self._network.directory_url != self._settings.directory:
            return None
        raise GiveUp(f"no profile {wanted!r} here; there are: {', '.join(names) or 'none'}")

    def _replaces(self) -> str | None:
        """What the new certificate replaces (RFC 9773 §5), told to the one that issued it."""
        state, here = self._memory.state, self._network.directory_url
        if self._present is None or not state.replaceable or state.directory != here:
            return None
        if self._network.resource("renewalInfo") is None:
            return None
        return ari.certificate_id(read_chain(self._present.certificate)[0])

    # ---- from a proved order to a pair in the store

    def _complete(self, placed: Order) -> Pair:
        key = self._record(placed)
        try:
            placed.finalize(signing_request(key, self._names), self._patience)
            certificate = placed.download()
            pair = check_download(certificate, key, self._names)
            _check_newer(pair, self._present)
        except RetryLater:
            raise
        except IssueError as error:
            hopeless = isinstance(error, GiveUp | ValidationFailed) or placed.status == "invalid"
            self._disappointed(hopeless=hopeless)
            raise
        self._store.commit(self._memory.host, certificate)
        return pair

    def _disappointed(self, *, hopeless: bool) -> None:
        """Remember that the order could not be completed, or leave it."""
        recorded = self._memory.state.order
        if recorded is not None:
            times = recorded.disappointments + 1
            kept = dataclasses.replace(recorded, disappointments=times)
            left = hopeless or times >= MOST_DISAPPOINTMENTS
            self._memory.update(order=None if left else kept)

    def _record(self, placed: Order) -> bytes:
        """The key for this order, on the disk together with the order's URL."""
        recorded = self._memory.state.order
        kept = self._store.kept_key(self._memory.host)
        if recorded is not None and recorded.url == placed.url and kept is not None:
            return kept
        key = make_key(self._settings.key_type)
        self._store.keep_key(self._memory.host, key)
        self._memory.update(order=PlacedOrder(self._network.directory_url, placed.url))
        return key


def _check_newer(pair: Pair, present: Pair | None) -> None:
    """A download that ends before the present certificate is an old one, or the wrong one."""
    if (
        present is not None
        and pair.not_after < present.not_after
        and pair.not_before <= present.not_before
    ):
        raise BadCertificate("the downloaded certificate is older than the present one")
