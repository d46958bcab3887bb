"""What passes from one program to the next: from the service manager to this one
(sd_listen_fds(3)), and from this one to its successor, which replaces it under the same process id.

Law: a descriptor is passed on with the word what it is for, or it is not passed on.
"""

import json
import os
import socket
import sys
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, field

from .config import Address, Listen
from .doors import name_of
from .entrance import GIVEN, KINDS, Place
from .errors import StartError
from .log import Log
from .memory_file import memory_file
from .tally import Tallies

_VARIABLE = "HOPWARD_HANDOVER"
_FIRST_GIVEN = 3  # SD_LISTEN_FDS_START


@dataclass
class Survivor:
    """A process that lives on. `voice`: the descriptor by which it speaks; -1: it has died."""

    kind: str
    pid: int
    voice: int


@dataclass
class Handover:
    """All that a successor needs. Numbers are descriptors, but for process ids."""

    lifeline: tuple[int, int]
    bulletin: int
    tallies: int
    sockets: list[tuple[Place, list[int]]]
    survivors: list[Survivor] = field(default_factory=list)

    def pass_on(self) -> None:
        """Become the program that is installed now, with the same arguments.

        Raises OSError where it cannot be executed; then all is as before.
        """
        letter = memory_file("hopward-handover")
        os.write(letter, json.dumps(asdict(self)).encode())
        inherited = [letter, *self._descriptors()]
        _set_inheritable(inherited, True)
        try:
            os.execve(sys.executable, sys.orig_argv, {**os.environ, _VARIABLE: str(letter)})
        except OSError:
            _set_inheritable(inherited, False)
            os.close(letter)
            raise

    def _descriptors(self) -> Iterable[int]:
        yield from self.lifeline
        yield self.bulletin
        yield self.tallies
        for _, sockets in self.sockets:
            yield from sockets
        # One that has just died says nothing more; it is still to be waited for.
        yield from (each.voice for each in self.survivors if each.voice >= 0)

    def entrance(self) -> dict[Place, list[socket.socket]]:
        """The sockets passed on, by their place."""
        return {place: [_socket(number) for number in numbers] for place, numbers in self.sockets}


def received(environ: MutableMapping[str, str] = os.environ) -> Handover | None:
    """What the predecessor under this process id has passed on, if there was one."""
    if _VARIABLE not in environ:
        return None
    letter = int(environ.pop(_VARIABLE))
    written = json.loads(os.pread(letter, os.fstat(letter).st_size, 0))
    os.close(letter)
    handover = Handover(
        lifeline=tuple(written["lifeline"]),
        bulletin=written["bulletin"],
        tallies=written["tallies"],
        sockets=[((kind, at, int(n)), fds) for (kind, at, n), fds in written["sockets"]],
        survivors=[Survivor(**each) for each in written["survivors"]],
    )
    _set_inheritable(handover._descriptors(), False)
    return handover


def adopted(tallies: int, log: Log) -> Tallies:
    """The figures of the predecessor by their descriptor; new ones where it had another layout."""
    try:
        return Tallies.adopt(tallies)
    except ValueError as error:
        log.warning("metrics-begin-anew", message=str(error))
        return Tallies()


def given(
    listen: Listen, environ: MutableMapping[str, str] = os.environ
) -> dict[Place, list[socket.socket]]:
    """The sockets that the service manager has opened for us, by the kind that each is for.

    A socket says what it is for by its name (`FileDescriptorName=https`), or by a port that
    `listen` names. Raises StartError for one that does neither.
    """
    count = int(environ.pop("LISTEN_FDS", "0"))
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if environ.pop("LISTEN_PID", "") != str(os.getpid()):
        return {}
    found: dict[Place, list[socket.socket]] = {}
    for number in range(count):
        sock = _socket(_FIRST_GIVEN + number)
        sock.set_inheritable(False)
        sock.setblocking(False)
        kind = _kind_of(sock, names[number] if number < len(names) else "", listen)
        found.setdefault((kind, GIVEN, 0), []).append(sock)
    return found


def _kind_of(sock: socket.socket, name: str, listen: Listen) -> str:
    if name in KINDS:
        return name
    port = sock.getsockname()[1] if sock.family != socket.AF_UNIX else None
    for kind, places in _named(listen).items():
        if any(isinstance(place, Address) and place.port == port for place in places):
            return kind
    raise StartError(
        f"the service manager passed a socket on {name_of(sock)} for nothing known; "
        "write FileDescriptorName=https (or http, admin) beside its ListenStream="
    )


def _named(listen: Listen) -> Mapping[str, Sequence[object]]:
    return {"https": listen.https, "http": listen.http, "admin": (listen.admin,)}


def _socket(number: int) -> socket.socket:
    return socket.socket(fileno=number)


def _set_inheritable(descriptors: Iterable[int], inheritable: bool) -> None:
    for number in descriptors:
        os.set_inheritable(number, inheritable)
