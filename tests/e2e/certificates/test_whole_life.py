"""Certificates of seconds through a whole life: twenty generations, and visitors all the time.

The three lives are lived at the same time, each with its own CA, proxy and visitors.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acme_shim import AcmeShim
from tests.authority import Authority
from tests.e2e.certificates.served import Served, configuration
from tests.e2e.certificates.visitors import Shown, Visitor
from tests.pebble import Behaviour, NameServer, Pebble, needs_pebble
from tests.programs import wait_for

pytestmark = needs_pebble

GENERATIONS = 20
LIFETIME = 6  # seconds; half of it is left when a certificate is renewed
WORKERS = 2
HOSTS = ("api.example.com", "grafana.example.com")
AWAY, PERIOD = 0.7, 2.1  # seconds the CA is away, in each so many
LONGEST = 85.0  # seconds for twenty generations; undisturbed it takes 45


def present(_: AcmeShim, ended: threading.Event) -> None:
    """The CA is there all the time."""
    ended.wait()


def away_a_third_of_the_time(shim: AcmeShim, ended: threading.Event) -> None:
    """The CA refuses connections, and breaks those there are, again and again."""
    while not ended.wait(PERIOD - AWAY):
        shim.go_away()
        ended.wait(AWAY)
        shim.come_back()


def _with_words_of(proxy: Served) -> Callable[..., None]:
    """Let an error on the way tell what the proxy said last."""

    def note(_: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            error.add_note(proxy.stderr_text()[-4000:])

    return note


class Life:
    """What the visitors of one proxy saw, from its first certificates to the twentieth."""

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        names: NameServer,
        *,
        lifetime: int = LIFETIME,
        nonces_refused: int = 0,
        weather: Callable[[AcmeShim, threading.Event], None] = present,
    ) -> None:
        self.shown: list[Shown] = []
        self.issued = 0  # since the visitors came
        self.error: BaseException | None = None
        self._folder, self._authority, self._names = folder, authority, names
        self._behaviour = Behaviour(lifetime=lifetime, nonces_refused=nonces_refused)
        self._weather = weather
        self._thread = threading.Thread(target=self._lived, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of this life; raises what ended it early."""
        self._thread.join(LONGEST + 60)
        assert not self._thread.is_alive(), "this life does not end"
        if self.error is not None:
            raise self.error

    def _lived(self) -> None:
        try:
            self._live()
        except BaseException as error:  # noqa: BLE001 (raised again where it is waited for)
            self.error = error

    def _live(self) -> None:
        ended = threading.Event()
        with ExitStack() as world:
            pebble = Pebble(self._folder, self._authority, self._behaviour, names=self._names)
            ca = world.enter_context(pebble)
            shim = world.enter_context(AcmeShim(ca, self._authority))
            config = configuration(shim, self._folder, HOSTS, WORKERS)
            proxy = world.enter_context(Served(self._folder / "proxy", config))
            world.push(_with_words_of(proxy))
            visitors = [Visitor(proxy.https, host, ca.root()) for host in HOSTS]
            for visitor in visitors:
                wait_for(visitor.is_welcome, 30, what="every worker having the first certificate")
                world.enter_context(visitor)
            self.shown = [visitor.shown for visitor in visitors]
            issued = ca.issued()
            turns = threading.Thread(target=self._weather, args=(shim, ended), daemon=True)
            turns.start()
            world.callback(turns.join, 30)
            world.callback(ended.set)
            self._wait_for_generations()
            self.issued = ca.issued() - issued

    def _wait_for_generations(self) -> None:
        # a life that is too slow is for the tests to tell of
        with contextlib.suppress(AssertionError):
            wait_for(self._is_full, LONGEST)

    def _is_full(self) -> bool:
        return all(shown.generations >= GENERATIONS for shown in self.shown)


LIVES: dict[str, dict[str, Any]] = {
    "undisturbed": {},
    "with half of all nonces refused": {"nonces_refused": 50},
    "with the CA away a third of the time": {
        # a second more than the others: a renewal may begin when the CA has just gone
        "lifetime": LIFETIME + 1,
        "weather": away_a_third_of_the_time,
    },
}


@pytest.fixture(scope="module")
def lives(
    authority: Authority, names: NameServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Life]:
    """All lives at once; each is over when a test asks for it."""
    return {
        name: Life(tmp_path_factory.mktemp("life"), authority, names, **circumstances)
        for name, circumstances in LIVES.items()
    }


@pytest.fixture(params=LIVES)
def life(request: pytest.FixtureRequest, lives: dict[str, Life]) -> Life:
    lived = lives[request.param]
    lived.join()
    return lived


def test_twenty_generations_are_shown_on_every_host(life: Life) -> None:
    assert min(shown.generations for shown in life.shown) >= GENERATIONS


def test_no_handshake_fails(life: Life) -> None:
    assert [shown.failures for shown in life.shown] == [[] for _ in HOSTS]
    assert min(shown.handshakes for shown in life.shown) > 10 * GENERATIONS


def test_no_visitor_is_shown_an_expired_certificate(life: Life) -> None:
    assert [shown.expired for shown in life.shown] == [0 for _ in HOSTS]


def test_all_workers_show_a_new_certificate_within_two_seconds(life: Life) -> None:
    assert max(shown.longest_overlap for shown in life.shown) < 2


def test_each_generation_is_issued_once(life: Life) -> None:
    # on each host one or two were issued before the visitors came, and the last may come unseen
    seen = sum(shown.generations for shown in life.shown)
    assert seen - 2 * len(HOSTS) <= life.issued <= seen
