"""Handshakes that come at once: a few in each turn of the loop, the others in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from proxy.turnstile import AT_ONCE, Turnstile


class Loop:
    """A loop whose turns are the test's to tell."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def turn(self) -> None:
        calls, self.soon = self.soon, []
        for call in calls:
            call()


ROOM = memoryview(bytearray(8192))


class Newcomer:
    """Notes what it could take, and whether it is read."""

    def __init__(self, turnstile: Turnstile, taken: list[bytes]) -> None:
        self._turnstile, self._taken = turnstile, taken
        self.read, self.closing, self.arrived = True, False, False
        self.transport = cast(asyncio.Transport, self)

    def is_closing(self) -> bool:
        return self.closing

    def hold(self) -> None:
        self.read = False

    def release(self) -> None:
        self.read = True

    def get_buffer(self, sizehint: int) -> memoryview:
        return ROOM

    def says(self, data: bytes) -> None:
        ROOM[: len(data)] = data
        self.buffer_updated(len(data))

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(ROOM[:nbytes])
        if self.arrived or not self._turnstile.holds(self, nbytes):
            if data == b"broken":
                raise ValueError
            self._taken.append(data)


class Scene:
    def __init__(self) -> None:
        self.loop = Loop()
        self.turnstile = Turnstile(cast(asyncio.AbstractEventLoop, self.loop))
        self.taken: list[bytes] = []

    def come(self, data: bytes) -> Newcomer:
        newcomer = Newcomer(self.turnstile, self.taken)
        newcomer.says(data)
        return newcomer


@pytest.fixture
def scene() -> Scene:
    return Scene()


HELLOS = [b"%d" % number for number in range(3 * AT_ONCE)]


def test_so_many_pass_in_one_turn(scene: Scene) -> None:
    for hello in HELLOS:
        scene.come(hello)
    assert scene.taken == HELLOS[:AT_ONCE]


def test_the_others_pass_in_the_turns_that_follow_in_their_order(scene: Scene) -> None:
    for hello in HELLOS:
        scene.come(hello)
    scene.loop.turn()
    assert scene.taken == HELLOS[: 2 * AT_ONCE]
    scene.loop.turn()
    assert scene.taken == HELLOS


def test_who_comes_later_passes_nobody(scene: Scene) -> None:
    for hello in HELLOS:
        scene.come(hello)
    scene.loop.turn()
    scene.come(b"late")
    scene.loop.turn()
    assert b"late" not in scene.taken
    scene.loop.turn()
    assert scene.taken == [*HELLOS, b"late"]


def test_another_turn_lets_as_many_pass_again(scene: Scene) -> None:
    for hello in HELLOS[:AT_ONCE]:
        scene.come(hello)
    scene.loop.turn()
    scene.come(b"next")
    assert scene.taken == [*HELLOS[:AT_ONCE], b"next"]


def test_who_says_more_while_it_waits_is_read_no_further(scene: Scene) -> None:
    newcomers = [scene.come(hello) for hello in HELLOS[: AT_ONCE + 1]]
    waiting = newcomers[-1]
    assert waiting.read
    waiting.says(b"more")
    assert not waiting.read
    scene.loop.turn()
    assert waiting.read
    assert scene.taken == [*HELLOS[: AT_ONCE + 1], b"more"]


def test_what_one_says_is_taken_in_its_order_whenever_its_handshake_is_done(scene: Scene) -> None:
    newcomers = [scene.come(hello) for hello in HELLOS[: AT_ONCE + 1]]
    waiting = newcomers[-1]
    for _ in range(AT_ONCE):
        scene.come(b"other")
    waiting.says(b"head")
    waiting.says(b"body")
    waiting.arrived = True
    scene.loop.turn()
    waiting.says(b"more")
    own = [said for said in scene.taken[AT_ONCE:] if said != b"other"]
    assert own == [HELLOS[AT_ONCE], b"head", b"body", b"more"]


def test_who_says_more_than_a_hello_is_read_no_further_at_once(scene: Scene) -> None:
    newcomers = [scene.come(hello) for hello in [*HELLOS[:AT_ONCE], bytes(5000)]]
    assert not newcomers[-1].read


def test_who_has_left_takes_nobodys_turn(scene: Scene) -> None:
    newcomers = [scene.come(hello) for hello in HELLOS[: AT_ONCE + 1]]
    newcomers[-1].closing = True
    scene.loop.turn()
    assert scene.taken == HELLOS[:AT_ONCE]


def test_one_that_breaks_stops_nobody_behind_it(scene: Scene) -> None:
    for hello in HELLOS[:AT_ONCE]:
        scene.come(hello)
    scene.come(b"broken")
    scene.come(b"behind")
    with pytest.raises(ValueError, match=r"^$"):
        scene.loop.turn()
    scene.loop.turn()
    assert scene.taken[-1] == b"behind"


def test_nobody_passes_those_who_wait_behind_one_that_breaks(scene: Scene) -> None:
    for hello in HELLOS[:AT_ONCE]:
        scene.come(hello)
    scene.come(b"broken")
    behind = scene.come(b"behind")
    with pytest.raises(ValueError, match=r"^$"):
        scene.loop.turn()
    behind.says(b"more")
    scene.loop.turn()
    scene.loop.turn()
    assert scene.taken[AT_ONCE:] == [b"behind", b"more"]
