"""How many clients there are descriptors for."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any

import pytest

from proxy import descriptors
from proxy.descriptors import Room, clients, raise_limit
from proxy.log import Log


class Told(Log):
    """Keeps the names of the events."""

    def __init__(self) -> None:
        super().__init__("debug")
        self.events: list[str] = []

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.events.append(event)


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_becomes_the_hard_one(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    raise_limit()
    assert descriptors.limit() > 256


@pytest.mark.parametrize("limit", [16, 64, 256, 1024, 65536, 1 << 20])
@pytest.mark.parametrize("share", [0, 0.25, 0.5, 0.9])
def test_clients_upstreams_and_own_files_never_need_more_than_there_is(
    limit: int, share: float
) -> None:
    upstreams = int(limit * share)
    room = clients(limit, upstreams)
    assert room == 1 or room + upstreams < limit


def test_a_quarter_is_kept_for_upstreams_not_opened_yet() -> None:
    assert clients(1024 + 64) == 768


def test_where_each_client_has_an_upstream_half_of_it_is_clients() -> None:
    room = clients(1064, upstreams=500)
    assert room == 500


def test_what_is_configured_holds_where_there_is_more_room(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    log = Told()
    room = Room(10, log)
    room.measure(10, 0)
    assert room.most == 10
    assert log.events == []


def test_a_lack_is_told_once_and_so_is_its_end(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    log = Told()
    room = Room(20000, log)
    for now in (0, 720, 721, 719, 720, 700):
        room.measure(now, 0)
    assert log.events == ["descriptors-short"]
    room.measure(600, 0)
    room.measure(600, 0)
    assert log.events == ["descriptors-short", "descriptors-enough"]


def test_more_are_let_in_to_be_told_than_are_served(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    room = Room(None)
    for upstreams in (0, 300, 900):
        room.measure(0, upstreams)
        assert room.most < room.bound
        assert upstreams == 900 or room.bound + upstreams < 1024
