"""The listening sockets outlive the workers: over reloads nobody is turned away."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.config import Address, Listen, UnixPath
from proxy.doors import Doors
from proxy.entrance import GIVEN, Entrance, Place
from proxy.errors import StartError

ANY = Address("127.0.0.1", 0)


def listen(
    *https: Address, http: tuple[Address, ...] = (), admin: Address | UnixPath | None = None
) -> Listen:
    return Listen(https=https or (ANY,), http=http, admin=admin)


@contextmanager
def entrance(held: dict[Place, list[socket.socket]] | None = None) -> Iterator[Entrance]:
    opened = Entrance(held)
    try:
        yield opened
    finally:
        opened.close()


def ports(doors: Doors) -> list[int]:
    return [sock.getsockname()[1] for sock in doors.https]


def test_each_worker_has_a_socket_of_its_own_on_each_address() -> None:
    with entrance() as doors:
        shares = doors.arrange(listen(http=(ANY,)), 2)
        assert len({sock.fileno() for each in shares for sock in (*each.https, *each.http)}) == 4


def test_the_first_worker_alone_has_the_admin_listener() -> None:
    with entrance() as doors:
        shares = doors.arrange(listen(admin=ANY), 3)
        assert [len(each.admin) for each in shares] == [1, 0, 0]


def test_an_address_that_is_named_again_keeps_its_sockets() -> None:
    with entrance() as doors:
        before = doors.arrange(listen(), 2)
        assert doors.arrange(listen(), 2) == before


def test_a_further_worker_listens_on_the_same_port() -> None:
    with entrance() as doors:
        [first] = doors.arrange(listen(), 1)
        again, further = doors.arrange(listen(), 2)
        assert again == first
        assert ports(further) == ports(first)


def test_fewer_workers_take_over_the_queues_of_those_that_go() -> None:
    with entrance() as doors:
        before = doors.arrange(listen(), 3)
        [only] = doors.arrange(listen(), 1)
        assert set(only.https) == {sock for each in before for sock in each.https}


def test_what_the_configuration_names_no_more_is_closed_once_nobody_serves_it() -> None:
    with entrance() as doors:
        [former] = doors.arrange(listen(), 1)
        coming = doors.arrange(listen(Address("::1", 0)), 1)
        assert former.https[0].fileno() >= 0
        doors.close_all_but(coming)
        assert former.https[0].fileno() < 0
        assert coming[0].https[0].fileno() >= 0


def test_where_one_address_cannot_be_had_nothing_has_changed() -> None:
    with entrance() as doors, socket.create_server(("127.0.0.1", 0)) as other:
        [former] = doors.arrange(listen(), 1)
        taken = Address("127.0.0.1", other.getsockname()[1])
        with pytest.raises(StartError, match="another program listens there"):
            doors.arrange(listen(ANY, Address("::1", 0), taken), 2)
        assert [sockets for _, sockets in doors.places()] == [list(former.https)]


def test_where_hopward_itself_has_the_address_by_the_rules_in_force_it_says_so() -> None:
    with entrance() as doors:
        [former] = doors.arrange(listen(admin=ANY), 1)
        taken = former.admin[0].getsockname()[1]
        with pytest.raises(StartError) as refused:
            doors.arrange(listen(admin=Address("0.0.0.0", taken)), 1)
    assert str(refused.value) == (
        f"cannot listen on 0.0.0.0:{taken}: hopward itself listens on 127.0.0.1:{taken} by the "
        "rules in force; restart it, or reload without that address first"
    )


def test_port_0_twice_is_two_ports() -> None:
    with entrance() as doors:
        [only] = doors.arrange(listen(ANY, ANY), 1)
        assert len(set(ports(only))) == 2


def test_what_the_service_manager_opened_is_shared_and_the_configuration_not_asked() -> None:
    given = socket.create_server(("127.0.0.1", 0))
    with entrance({("https", GIVEN, 0): [given]}) as doors:
        one, other = doors.arrange(listen(Address("127.0.0.1", 1)), 2)
        assert list(one.https) == list(other.https) == [given]


def test_a_unix_socket_of_the_admin_listener_is_kept_too(tmp_path: Path) -> None:
    place = UnixPath(tmp_path / "admin")
    with entrance() as doors:
        [before] = doors.arrange(listen(admin=place), 1)
        [after] = doors.arrange(listen(admin=place), 1)
        assert before.admin == after.admin


def test_a_worker_keeps_no_socket_of_another_open() -> None:
    with entrance() as doors:
        one, other = doors.arrange(listen(), 2)
        doors.leave_all_but(one)
        assert one.https[0].fileno() >= 0
        assert other.https[0].fileno() < 0
