"""The keeper over years in seconds: an authority that a test scripts, and clocks that it sets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from acme_client import Event, Keeper, Pair, Settings, Store, StoreError, inventory, renew_now
from acme_client.ari import Suggestion
from acme_client.errors import (
    BadCertificate,
    GiveUp,
    IssueError,
    Retry,
    RetryLater,
    Stopped,
    Unreachable,
    ValidationFailed,
)
from acme_client.memory import Memory
from acme_client.pair import make_key, read_pair
from acme_client.patience import Patience
from acme_client.renewals import wait_for_answers
from acme_client.times import from_text
from tests.test_acme_pair import chain

HOST, OTHER = "example.com", "example.org"
FIRST, SECOND = "https://first.example/dir", "https://second.example/dir"
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
KEY = make_key("ecdsa-p256")

Script = Callable[[str, str], IssueError | None]


@dataclass
class World:
    """True time, what this machine believes of it, and authorities that go by true time."""

    folder: Path
    lifetime: timedelta = 90 * DAY
    passed: timedelta = timedelta(0)
    error: timedelta = timedelta(0)
    """How wrong the wall clock is."""
    script: Script = lambda directory, host: None
    suggestion: Callable[[], Suggestion | None] = lambda: None
    orders: list[tuple[timedelta, str, str]] = field(default_factory=list)
    """(when, directory, host) of everything that authorities were asked to issue."""
    issued: list[tuple[timedelta, str, str]] = field(default_factory=list)
    told: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = datetime.now(UTC).replace(microsecond=0)
        self.store = Store(self.folder, clock=self.clock)

    def true(self) -> datetime:
        return self.began + self.passed

    def clock(self) -> datetime:
        return self.true() + self.error

    def monotonic(self) -> float:
        return self.passed.total_seconds()

    def keeper(
        self,
        *hosts: str,
        store: Store | None = None,
        at_once: int = 1,
        reloaded: bool = False,
        **wanted: Any,
    ) -> Keeper:
        return Keeper(
            Settings(**{"directory": FIRST, **wanted}),
            store or self.store,
            hosts or [HOST],
            clock=self.clock,
            monotonic=self.monotonic,
            tell=lambda event, host, details: self.told.append((event, host, details)),
            chance=lambda: 0.5,
            at_once=at_once,
            reloaded=reloaded,
        )

    def live(self, keeper: Keeper, span: timedelta, *, step: timedelta = timedelta(0)) -> None:
        """Let `span` go by; the keeper looks as often as it wants, but for steps of `step`."""
        end = self.passed + span
        while self.passed < end:
            pause = timedelta(seconds=keeper.tick())
            self.passed += min(max(pause, step), end - self.passed)

    def put(self, host: str, *, age: timedelta) -> None:
        """A pair in the store that was issued so long ago."""
        moment, self.passed = self.passed, self.passed - age
        self.store.adopt(host, self.certificate(host), KEY)
        self.passed = moment

    def certificate(self, host: str) -> bytes:
        begun = datetime.now(UTC).replace(microsecond=0) - self.true()
        return chain(KEY, host, begun=begun, lifetime=self.lifetime)

    def served(self, host: str = HOST) -> Pair | None:
        return Store(self.folder).load(host)

    def left(self, host: str = HOST) -> timedelta:
        """How long what is served lasts in truth."""
        pair = self.served(host)
        return timedelta(0) if pair is None else pair.not_after - self.true()

    def events(self, *events: str) -> list[tuple[str, str]]:
        return [(event, host) for event, host, _ in self.told if event in events]


class ScriptedDesk:
    """What the keeper asks for certificates, without a network."""

    world: World

    def __init__(self, settings: Settings, store: Store, clock: object, stop: object, _: float):
        self.settings, self.store, self.stop = settings, store, stop
        self.clock = self.world.clock

    def issue(self, directory: str, memory: Memory, present: Pair | None) -> Pair:
        now, host = self.world.passed, memory.host
        self.world.orders.append((now, directory, host))
        error = self.world.script(directory, host)
        if error is not None:
            raise error
        certificate = self.world.certificate(host)
        self.store.keep_key(host, KEY)
        self.store.commit(host, certificate)
        self.world.issued.append((now, directory, host))
        return read_pair(certificate, KEY, host)

    def suggestion(self, directory: str, present: Pair) -> Suggestion | None:
        return self.world.suggestion()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path / "store")
    desk = type("Desk", (ScriptedDesk,), {"world": world})
    monkeypatch.setattr("acme_client.keeper.Desk", desk)
    monkeypatch.setattr("acme_client.information.brief", lambda desk, _: desk)
    # Thousands of writes in a simulated year; whether they reach the disk is the store's tests'.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr("acme_client.renewals.Desk", desk)
    yield world
    world.store.release_lock()


def within(times: list[timedelta], span: timedelta) -> int:
    """The most of them that lie in any one span."""
    return max(
        (len([at for at in times if first <= at < first + span]) for first in times), default=0
    )


# ---- an undisturbed life


@pytest.mark.parametrize(
    "lifetime",
    [timedelta(seconds=6), MINUTE, HOUR, 160 * HOUR, 45 * DAY, 90 * DAY, 398 * DAY],
    ids=str,
)
def test_a_life_of_ten_generations_is_ten_to_twenty_orders(
    world: World, lifetime: timedelta
) -> None:
    world.lifetime = lifetime
    keeper = world.keeper()
    worst = lifetime
    for _ in range(200):
        world.live(keeper, lifetime / 20, step=lifetime / 40)
        worst = min(worst, world.left())
    assert worst >= lifetime / 4 - lifetime / 20
    assert 14 <= len(world.orders) <= 21


def test_hosts_without_a_certificate_come_first(world: World) -> None:
    world.put(HOST, age=80 * DAY)
    world.keeper(HOST, OTHER).tick()
    assert [host for _, _, host in world.orders] == [OTHER, HOST]


def test_the_plan_is_in_the_inventory(world: World) -> None:
    world.keeper().tick()
    [entry] = inventory(world.store, [HOST])
    planned = from_text(entry["next_renewal"])
    assert planned is not None
    assert 60 * DAY <= planned - world.clock() <= 61 * DAY
    assert (entry["names"], entry["issuer"], entry["last_error"]) == ([HOST], "CN=issuer", None)


def test_a_host_that_never_had_a_certificate_is_in_the_inventory_too(world: World) -> None:
    world.script = lambda directory, host: GiveUp("no such name")
    world.keeper().tick()
    [entry] = inventory(world.store, [HOST])
    assert (entry["names"], entry["serial"], entry["last_error"]) == ([], None, "no such name")


# ---- failures


@pytest.mark.parametrize(
    ("error", "most"),
    [
        (Retry("HTTP 500"), 29),
        (ValidationFailed("no answer on port 80"), 8),
        (BadCertificate("another key"), 5),
        (GiveUp("CAA forbids it"), 2),
        (RuntimeError("a bug"), 29),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("age", [None, 70 * DAY], ids=["none", "due"])
def test_a_day_of_failures_is_no_storm(
    world: World, error: IssueError, most: int, age: timedelta | None
) -> None:
    if age is not None:
        world.put(HOST, age=age)
    world.script = lambda directory, host: error
    before = world.served()
    world.live(world.keeper(), DAY, step=2 * MINUTE)
    assert 1 <= len(world.orders) <= most
    assert world.served() == before


def test_a_host_whose_certificate_has_expired_is_tried_each_quarter_of_an_hour(
    world: World,
) -> None:
    world.put(HOST, age=100 * DAY)
    world.script = lambda directory, host: ValidationFailed("no answer on port 80")
    before = world.served()
    world.live(world.keeper(), DAY, step=2 * MINUTE)
    assert 80 <= len(world.orders) <= 96
    assert world.served() == before


def test_what_an_authority_was_asked_is_not_asked_again_by_a_restart(world: World) -> None:
    world.script = lambda directory, host: Retry("HTTP 500")
    for _ in range(60):
        world.keeper().tick()
        world.passed += MINUTE
    assert len(world.orders) <= 6


def test_a_named_time_is_kept_to_over_restarts(world: World) -> None:
    named = world.clock() + 3 * HOUR
    world.script = lambda directory, host: RetryLater("too many", named)
    while world.clock() < named:
        world.keeper().tick()
        world.passed += 10 * MINUTE
    assert len(world.orders) == 1
    world.script = lambda directory, host: None
    world.keeper().tick()
    assert world.served() is not None


def test_the_next_authority_is_asked_meanwhile(world: World) -> None:
    def first_is_busy(directory: str, host: str) -> IssueError | None:
        return RetryLater("busy", world.clock() + 3 * HOUR) if directory == FIRST else None

    world.script = first_is_busy
    world.keeper(fallback=(SECOND,)).tick()
    assert [directory for _, directory, _ in world.orders] == [FIRST, SECOND]
    assert world.served() is not None


def test_an_authority_that_is_away_is_looked_for_once_a_minute_for_all_hosts(
    world: World,
) -> None:
    hosts = [f"host{number}.example.com" for number in range(5)]
    world.script = lambda directory, host: Unreachable("connection refused")
    keeper = world.keeper(*hosts)
    world.live(keeper, HOUR)
    assert len(world.orders) <= 66
    assert all(world.store.state(host).last_error == "connection refused" for host in hosts)
    world.script = lambda directory, host: None
    world.live(keeper, 2 * MINUTE)
    assert all(world.served(host) is not None for host in hosts)


def test_one_hosts_trouble_is_its_own(world: World) -> None:
    def surprise(directory: str, host: str) -> IssueError | None:
        if host == HOST:
            raise ZeroDivisionError("a bug")
        return None

    world.script = surprise
    world.keeper(HOST, OTHER).tick()
    assert world.served(OTHER) is not None
    assert world.store.state(HOST).last_error == "a bug"


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],
)
@given(some.data())
def test_whatever_authorities_do_they_are_not_stormed(
    world: World, tmp_path_factory: pytest.TempPathFactory, data: some.DataObject
) -> None:
    errors = (None, Retry("500"), Unreachable("away"), ValidationFailed("no"), GiveUp("never"))
    world.__init__(tmp_path_factory.mktemp("store"))  # type: ignore[misc]
    world.lifetime = data.draw(some.sampled_from([6 * DAY, 45 * DAY, 90 * DAY, 398 * DAY]))
    world.script = lambda directory, host: data.draw(some.sampled_from(errors))
    keeper = world.keeper(fallback=(SECOND,))
    for _ in range(6):
        if data.draw(some.booleans()):
            world.error = data.draw(some.sampled_from([-100 * DAY, timedelta(0), 100 * DAY]))
        if data.draw(some.booleans()):
            keeper = world.keeper(fallback=(SECOND,))
        world.live(keeper, world.lifetime / 6, step=world.lifetime / 60)
    world.store.release_lock()
    for directory in (FIRST, SECOND):
        times = [at for at, asked, _ in world.orders if asked == directory]
        assert within(times, timedelta(seconds=1)) <= 3
    # Five, and what a lifetime of days asks for by itself.
    assert within([at for at, _, _ in world.issued], 7 * DAY) <= 5 + 7 * DAY // (world.lifetime / 2)


# ---- clocks


@pytest.mark.parametrize("error", [100 * DAY, -100 * DAY, -89 * DAY], ids=str)
def test_a_clock_that_is_wrong_for_a_week_costs_five_certificates_at_most(
    world: World, error: timedelta
) -> None:
    keeper = world.keeper()
    world.live(keeper, DAY, step=HOUR)
    world.error = error
    world.live(keeper, 6 * DAY, step=HOUR)
    world.error = timedelta(0)
    world.live(keeper, HOUR)
    assert len(world.issued) <= 5
    assert world.left() > 80 * DAY
    assert len(world.events(Event.CLOCK_SET)) == 2


def test_a_clock_set_back_does_not_lengthen_a_wait(world: World) -> None:
    world.script = lambda directory, host: Retry("HTTP 500")
    keeper = world.keeper()
    keeper.tick()
    world.error = -100 * DAY
    world.script = lambda directory, host: None
    world.live(keeper, 3 * MINUTE)
    assert world.served() is not None


def test_a_certificate_that_begins_tomorrow_is_not_renewed_today(world: World) -> None:
    world.put(HOST, age=-DAY)
    world.live(world.keeper(), DAY, step=HOUR)
    assert world.orders == []


# ---- renewal information


def suggests(world: World, start: timedelta, end: timedelta) -> Callable[[], Suggestion]:
    return lambda: Suggestion(world.began + start, world.began + end, None)


def test_a_window_decides_when_a_certificate_is_renewed(world: World) -> None:
    world.put(HOST, age=timedelta(0))
    world.suggestion = suggests(world, 20 * DAY, 22 * DAY)
    world.live(world.keeper(), 30 * DAY, step=HOUR)
    assert 21 * DAY <= world.orders[0][0] <= 21 * DAY + HOUR


def test_a_window_that_stays_in_the_past_renews_once_and_then_rarely(world: World) -> None:
    world.put(HOST, age=10 * DAY)
    world.suggestion = suggests(world, -2 * DAY, -DAY)
    keeper = world.keeper()
    world.live(keeper, MINUTE)
    assert len(world.issued) == 2
    world.live(keeper, 7 * DAY, step=HOUR)
    assert len(world.issued) <= 5


def test_a_window_after_the_end_does_not_let_a_certificate_expire(world: World) -> None:
    world.put(HOST, age=timedelta(0))
    world.suggestion = suggests(world, 200 * DAY, 300 * DAY)
    world.live(world.keeper(), 70 * DAY, step=HOUR)
    assert len(world.issued) == 1
    assert world.left() > 80 * DAY


def test_a_window_of_another_certificate_says_nothing_of_this_one(world: World) -> None:
    world.put(HOST, age=timedelta(0))
    world.suggestion = suggests(world, 20 * DAY, 22 * DAY)
    world.keeper().tick()
    world.passed += 22 * DAY
    # as a process leaves it that dies between the pair and what it would remember of it
    world.put(HOST, age=timedelta(0))
    world.suggestion = lambda: None
    world.live(world.keeper(), DAY, step=HOUR)
    assert world.orders == []


def test_the_time_in_a_window_is_drawn_once(world: World) -> None:
    world.put(HOST, age=timedelta(0))
    world.suggestion = suggests(world, 20 * DAY, 22 * DAY)
    drawn: set[object] = set()
    for _ in range(5):
        keeper = world.keeper()
        keeper._inquiries._chance = lambda: len(drawn) / 5
        keeper.tick()
        drawn.add(world.store.state(HOST).window)
        world.passed += DAY
    assert len(drawn) == 1


# ---- alerts


def test_danger_is_told_once_and_taken_back_once(world: World) -> None:
    world.put(HOST, age=70 * DAY)
    world.script = lambda directory, host: Retry("HTTP 500")
    world.live(world.keeper(), 12 * HOUR, step=MINUTE)
    assert world.events(Event.DANGER) == []
    world.live(world.keeper(), 3 * DAY, step=HOUR)
    assert world.events(Event.DANGER) == [(Event.DANGER, HOST)]
    world.script = lambda directory, host: None
    world.live(world.keeper(), 2 * HOUR, step=MINUTE)
    assert world.events(Event.DANGER, Event.WELL) == [(Event.DANGER, HOST), (Event.WELL, HOST)]


def test_a_certificate_under_a_sixth_of_its_lifetime_is_in_danger(world: World) -> None:
    world.put(HOST, age=76 * DAY)
    world.script = lambda directory, host: Retry("HTTP 500")
    world.keeper().tick()
    [(_, _, details)] = [each for each in world.told if each[0] == Event.DANGER]
    assert details["reason"] == "less than a sixth of the certificate's lifetime is left"
    assert details["error"] == "HTTP 500"


def test_a_store_that_cannot_be_written_is_told_and_its_certificates_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(HOST, age=89 * DAY)

    def refused(store: Store) -> bool:
        raise StoreError("read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "take_lock", refused)
        world.live(world.keeper(), MINUTE)
    assert world.events(Event.STORE_TROUBLE, Event.DANGER) == [
        (Event.STORE_TROUBLE, ""),
        (Event.DANGER, HOST),
    ]
    assert world.orders == []


def test_what_was_set_aside_is_told(world: World) -> None:
    world.put(HOST, age=timedelta(0))
    world.folder.joinpath(f"{HOST}.key").write_bytes(b"")
    world.keeper().tick()
    [(_, host, details)] = [each for each in world.told if each[0] == Event.SET_ASIDE]
    assert host == HOST
    assert [name.split(".bad-")[0] for name in details["files"]] == [f"{HOST}.pem", f"{HOST}.key"]
    assert world.served() is not None


# ---- hosts that come and go


def test_a_host_that_is_added_gets_its_certificate_at_once(world: World) -> None:
    world.keeper().tick()
    world.keeper(HOST, OTHER, reloaded=True).tick()
    assert [host for _, _, host in world.issued] == [HOST, OTHER]


def test_a_host_that_is_removed_is_renewed_no_more_and_keeps_its_files(world: World) -> None:
    world.keeper(HOST, OTHER).tick()
    world.live(world.keeper(OTHER, reloaded=True), 100 * DAY, step=DAY)
    assert [host for _, _, host in world.issued].count(HOST) == 1
    assert world.served(HOST) is not None


def test_a_reload_does_not_hurry_an_authority_that_named_a_time(world: World) -> None:
    named = world.clock() + HOUR
    world.script = lambda directory, host: RetryLater("too many", named)
    world.keeper().tick()
    world.live(world.keeper(reloaded=True), 30 * MINUTE)
    assert len(world.orders) == 1


def test_another_authority_in_the_settings_issues_the_next_certificate(world: World) -> None:
    world.keeper().tick()
    world.live(world.keeper(directory=SECOND), 65 * DAY, step=HOUR)
    assert [directory for _, directory, _ in world.issued] == [FIRST, SECOND]


def test_other_settings_at_a_restart_are_worth_another_try(world: World) -> None:
    world.script = lambda directory, host: GiveUp("this contact is no address")
    for email in ("wrong", "wrong", "right@example.com"):
        world.keeper(email=email).tick()
    assert len(world.orders) == 2


def test_a_restart_that_a_person_wanted_is_worth_another_try(world: World) -> None:
    world.script = lambda directory, host: GiveUp("CAA forbids it")
    for reloaded in (False, False, True):
        world.keeper(reloaded=reloaded).tick()
    assert len(world.orders) == 2


def test_a_keeper_at_work_is_told_that_what_was_refused_is_worth_another_try(
    world: World,
) -> None:
    world.script = lambda directory, host: GiveUp("CAA forbids it")
    keeper = world.keeper()
    for told in (False, False, True, False):
        if told:
            keeper.try_again()
        keeper.tick()
    assert len(world.orders) == 2


# ---- many hosts


def test_a_slow_host_does_not_keep_the_others_waiting(world: World) -> None:
    hosts = [f"host{number}.example.com" for number in range(4)]
    meeting = threading.Barrier(len(hosts))

    def all_at_once(directory: str, host: str) -> IssueError | None:
        meeting.wait(10)
        return None

    world.script = all_at_once
    world.keeper(*hosts, at_once=4).tick()
    assert sorted(host for _, _, host in world.issued) == hosts
    assert not [thread for thread in threading.enumerate() if "acme-host" in thread.name]


def test_an_authority_in_trouble_is_not_asked_for_each_hosts_window(world: World) -> None:
    hosts = [f"host{number}.example.com" for number in range(5)]
    asked = []

    def silent() -> Suggestion | None:
        asked.append(world.passed)
        raise Retry("no complete answer within 10 s")

    world.suggestion = silent
    world.live(world.keeper(*hosts), 5 * MINUTE)
    assert len(asked) == 1


# ---- several processes


def test_who_finds_the_lock_taken_follows_and_takes_over_at_the_next_look(world: World) -> None:
    leader, follower = world.keeper(), world.keeper(store=Store(world.folder, clock=world.clock))
    leader.tick()
    assert follower.tick() <= 1.0
    assert len(world.orders) == 1
    world.store.release_lock()
    world.passed += 65 * DAY
    follower.tick()
    assert len(world.orders) == 2
    follower._store.release_lock()


def test_a_renewal_now_is_done_by_the_process_that_keeps_the_store(world: World) -> None:
    keeper = world.keeper()
    keeper.tick()
    outcomes: list[tuple[str, str | None]] = []

    def ask() -> None:
        other = Store(world.folder)
        outcomes.extend(renew_now(Settings(directory=FIRST), other, [HOST, "unknown.example"]))

    asking = threading.Thread(target=ask)
    asking.start()
    waited = threading.Event()
    for _ in range(500):
        keeper.tick()
        if not asking.is_alive():
            break
        waited.wait(0.02)
    asking.join(10)
    assert outcomes == [
        (HOST, None),
        ("unknown.example", "unknown.example is not among the hosts that are kept"),
    ]
    assert len(world.issued) == 2


def test_a_renewal_now_without_such_a_process_is_done_here(world: World) -> None:
    world.put(HOST, age=timedelta(0))
    assert renew_now(Settings(directory=FIRST), world.store, [HOST]) == [(HOST, None)]
    assert not world.store.locked
    world.script = lambda directory, host: GiveUp("the CA's own words")
    again = renew_now(Settings(directory=FIRST), world.store, [HOST])
    assert again == [(HOST, "the CA's own words")]


def test_a_renewal_now_overrides_our_waits_but_not_the_authoritys(world: World) -> None:
    world.script = lambda directory, host: GiveUp("CAA forbids it")
    renew_now(Settings(directory=FIRST), world.store, [HOST])
    named = world.clock() + HOUR
    world.script = lambda directory, host: RetryLater("too many", named)
    for _ in range(3):
        [(_, error)] = renew_now(Settings(directory=FIRST), world.store, [HOST])
        assert error == "too many"
    assert len(world.orders) == 2


def wish(world: World, keeper: Keeper, host: str = HOST) -> None:
    """What `hopward renew` does beside a running proxy."""
    world.store.wishes.ask(host)
    keeper.tick()


def test_a_failed_renewal_now_does_not_end_renewal_information(world: World) -> None:
    asked = []

    def counted() -> Suggestion | None:
        asked.append(world.passed)
        return None

    world.put(HOST, age=timedelta(0))
    world.suggestion = counted
    world.script = lambda directory, host: Unreachable("connection refused")
    keeper = world.keeper()
    wish(world, keeper)
    before = len(asked)
    world.live(keeper, DAY)
    assert len(asked) >= before + 4


def test_a_failed_renewal_now_of_a_good_certificate_is_no_danger(world: World) -> None:
    world.put(HOST, age=timedelta(0))
    world.script = lambda directory, host: GiveUp("CAA forbids it")
    keeper = world.keeper()
    wish(world, keeper)
    world.live(keeper, 3 * DAY, step=HOUR)
    assert world.events(Event.FAILED, Event.DANGER) == [(Event.FAILED, HOST)]
    assert world.store.state(HOST).last_error == "CAA forbids it"


def lose(world: World) -> None:
    for ending in (".pem", ".key"):
        world.folder.joinpath(f"{HOST}{ending}").unlink(missing_ok=True)


def test_a_host_that_lost_its_pair_does_not_wait_out_the_pause_of_a_premature_renewal(
    world: World,
) -> None:
    keeper = world.keeper()
    keeper.tick()
    wish(world, keeper)
    wish(world, keeper)
    lose(world)
    world.live(keeper, 11 * MINUTE)
    assert world.served() is not None


def test_a_host_that_loses_its_pair_again_and_again_is_no_storm(world: World) -> None:
    keeper = world.keeper()
    for _ in range(24 * 60):
        world.live(keeper, MINUTE)
        lose(world)
    assert 1 < len(world.issued) <= 7


class Meanwhile(Patience):
    """Time goes by only by waiting, and each wait has somebody else do something."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.now = 0.0
        self.work = work
        super().__init__(threading.Event(), lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.work()


def test_a_renewal_now_of_many_hosts_is_waited_for_while_answers_come(world: World) -> None:
    hosts = [f"host{number}.example.com" for number in range(5)]
    left = list(hosts)

    def answer_one_in_nine_minutes() -> None:
        if left and patience.now >= 540 * (len(hosts) - len(left) + 1):
            world.store.wishes.answer(left.pop(0), None)

    patience = Meanwhile(answer_one_in_nine_minutes)
    outcomes = wait_for_answers(world.store, hosts, patience, silence=600)
    assert outcomes == [(host, None) for host in hosts]
    assert patience.now >= 5 * 540


def test_a_renewal_now_that_nobody_answers_may_still_be_under_way(world: World) -> None:
    patience = Meanwhile(lambda: None)
    [(_, words)] = wait_for_answers(world.store, [HOST], patience, silence=600)
    assert words == "no word for 600 s from the running process: still under way?"
    assert world.store.wishes.asked() == []


# ---- the end


def test_the_loop_ends_when_it_is_told_to_and_lets_the_store_go(world: World) -> None:
    keeper = world.keeper()
    keeper._monotonic = lambda: 0.0
    running = threading.Thread(target=keeper.run)
    running.start()
    keeper.stop()
    running.join(2)
    assert not running.is_alive()
    assert not world.store.locked


def test_work_that_is_stopped_is_no_failure(world: World) -> None:
    def stopped(directory: str, host: str) -> IssueError | None:
        raise Stopped

    world.script = stopped
    keeper = world.keeper()
    with pytest.raises(Stopped):
        keeper.tick()
    assert world.store.state(HOST).last_error is None
    keeper.run()
    assert not world.store.locked
