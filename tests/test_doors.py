"""The listening sockets: bound once, for all workers, and for this program alone."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

from proxy.config import Address, UnixPath
from proxy.doors import BACKLOG, Doors, name_of, open_admin_door, open_doors, show
from proxy.errors import StartError

LOOPBACK, LOOPBACK6 = Address("127.0.0.1", 0), Address("::1", 0)


@contextmanager
def doors(addresses: Sequence[Address], workers: int = 1) -> Iterator[list[list[socket.socket]]]:
    opened: list[list[socket.socket]] = []
    try:
        opened.extend(open_doors(address, workers, among=addresses) for address in addresses)
        yield [list(sockets) for sockets in zip(*opened, strict=True)]
    finally:
        for sock in chain.from_iterable(opened):
            sock.close()


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def reaches(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


def why_not(address: Address) -> str:
    with pytest.raises(StartError) as caught:
        open_doors(address, 1)
    return str(caught.value)


def test_each_worker_has_a_socket_on_each_address() -> None:
    with doors([LOOPBACK, LOOPBACK6], workers=3) as opened:
        assert [[sock.family for sock in sockets] for sockets in opened] == [
            [socket.AF_INET, socket.AF_INET6]
        ] * 3


def test_port_0_is_one_port_for_all_workers() -> None:
    with doors([LOOPBACK], workers=3) as opened:
        ports = {port_of(sock) for [sock] in opened}
        assert len(ports) == 1
        assert ports != {0}


def test_port_0_twice_is_two_ports() -> None:
    with doors([LOOPBACK, LOOPBACK]) as [[one, other]]:
        assert port_of(one) != port_of(other)


def test_clients_are_accepted_from_the_moment_of_opening() -> None:
    with doors([LOOPBACK]) as [[door]]:
        assert reaches("127.0.0.1", port_of(door))


def test_a_closed_door_takes_no_more_clients() -> None:
    with doors([LOOPBACK], workers=2) as opened:
        port = port_of(opened[0][0])
    assert not reaches("127.0.0.1", port)


def test_every_address_of_both_families_is_reached_by_one_door() -> None:
    with doors([Address("::", 0)]) as [[door]]:
        assert reaches("127.0.0.1", port_of(door))
        assert reaches("::1", port_of(door))


def test_both_families_can_have_a_door_each_on_one_port() -> None:
    with doors([Address("0.0.0.0", 0)]) as [[free]]:
        port = port_of(free)
    with doors([Address("0.0.0.0", port), Address("::", port)]) as [[_, six]]:
        assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        assert reaches("::1", port)


def test_a_port_that_another_program_has_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = Address("127.0.0.1", port_of(other))
        said = why_not(address)
    assert said.startswith(f"cannot listen on {show(address)}: another program listens there")


def test_a_port_that_another_hopward_has_is_not_shared_with_it() -> None:
    """With SO_REUSEPORT alone the kernel would give each of the two half of the clients."""
    with doors([LOOPBACK], workers=2) as opened:
        said = why_not(Address("127.0.0.1", port_of(opened[0][0])))
    assert "another program listens there" in said


def test_an_address_that_is_not_this_machines_is_told() -> None:
    assert why_not(Address("192.0.2.1", 0)) == (
        "cannot listen on 192.0.2.1:0: this machine does not have that address"
    )


def test_a_file_in_the_place_of_a_socket_is_told_and_left_alone(tmp_path: Path) -> None:
    """Linux refuses a connection to it as it does to the socket of a process that is gone."""
    file = tmp_path / "hopward.yml"
    file.write_text("sites")
    with pytest.raises(StartError, match="a file that is no socket stands there"):
        open_admin_door(UnixPath(file))
    assert file.read_text() == "sites"


def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    [door] = open_admin_door(UnixPath(path))
    with door, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_port_can_be_taken_again_at_once() -> None:
    """Connections of the last run may still be in TIME_WAIT."""
    with doors([LOOPBACK]) as [[door]]:
        port = port_of(door)
        door.setblocking(True)
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            accepted, _ = door.accept()
            accepted.close()
            assert client.recv(1) == b""
    with doors([Address("127.0.0.1", port)]) as [[again]]:
        assert port_of(again) == port


@pytest.mark.parametrize(
    ("address", "text"),
    [(Address("::", 443), "[::]:443"), (Address("127.0.0.1", 80), "127.0.0.1:80")],
)
def test_an_address_is_shown_as_it_is_written(address: Address, text: str) -> None:
    assert show(address) == text


def test_a_doors_name_is_where_it_is() -> None:
    with doors([LOOPBACK6]) as [[door]]:
        assert name_of(door) == f"[::1]:{port_of(door)}"


def hears(door: socket.socket) -> bool:
    """Whether twenty clients come to this door, and are understood there."""
    door.settimeout(5)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port_of(door)), 5) as client:
            client.sendall(b"x")
            with door.accept()[0] as accepted:
                accepted.settimeout(5)
                if accepted.recv(1) != b"x":
                    return False
    return True


only_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing happens")


@only_linux
def test_doors_that_rest_leave_all_clients_to_others() -> None:
    with doors([LOOPBACK], workers=2) as [[resting], [other]]:
        for _ in range(2):
            Doors(https=[resting]).rest(but=())
        assert hears(other)


@only_linux
def test_doors_that_rested_are_open_again_once_somebody_listens() -> None:
    with doors([LOOPBACK], workers=2) as [[resting], [other]]:
        for _ in range(2):
            Doors(https=[resting]).rest(but=())
        resting.listen(BACKLOG)
        other.close()
        assert hears(resting)


@only_linux
def test_a_door_that_others_use_as_well_does_not_rest() -> None:
    with doors([LOOPBACK]) as [[shared]]:
        Doors(https=[shared]).rest(but={shared})
        assert hears(shared)
