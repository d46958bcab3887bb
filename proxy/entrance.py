"""All listening sockets of the proxy, and which worker takes connections from which.

Law: a socket stays open while the configuration names its address, whatever becomes of the workers:
connections may wait in its queue. So reloads and upgrades hand the same sockets on.
"""

import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .config import Address, Listen, UnixPath
from .doors import Doors, name_of, open_admin_door, open_doors, usable

Place = tuple[str, str, int]
"""(kind: https, http or admin; address as written; its number, for port 0 may stand twice)"""

KINDS = Doors._fields
# Where the service manager has opened the sockets of a kind, these are all there are.
GIVEN = "given"


class Entrance:
    """The sockets by their place.

    `held`: those that are open already; a place whose address is GIVEN belongs to the service
    manager (sd_listen_fds(3)): its sockets are shared by all workers, and `listen` is not asked.
    """

    def __init__(self, held: Mapping[Place, Sequence[socket.socket]] | None = None) -> None:
        self._held = {place: list(sockets) for place, sockets in (held or {}).items()}

    def arrange(self, listen: Listen, workers: int) -> list[Doors]:
        """Open what is not open yet; the doors of each worker. Raises StartError, changing nothing.

        The first worker has the admin listener. With fewer workers than before, some get several
        sockets on one address, for each has a queue of its own.
        """
        before = {place: list(sockets) for place, sockets in self._held.items()}
        try:
            shares = {kind: self._shares(kind, listen, workers) for kind in KINDS}
        except BaseException:
            self._return_to(before)
            raise
        return [Doors(**{kind: share[n] for kind, share in shares.items()}) for n in range(workers)]

    def close_all_but(self, doors: Iterable[Doors]) -> None:
        """Listen no more where none of these workers does."""
        kept = {sock for each in doors for kind in each for sock in kind}
        for place, sockets in list(self._held.items()):
            if not kept.intersection(sockets):
                _close(self._held.pop(place))

    def leave_all_but(self, doors: Doors) -> None:
        """In a worker that has just begun: close the others' sockets."""
        own = {sock for kind in doors for sock in kind}
        _close(sock for sockets in self._held.values() for sock in sockets if sock not in own)

    def names(self) -> dict[str, list[str]]:
        """What is listened to, by kind."""
        places = self._held.items()
        return {
            kind: [name_of(sockets[0]) for (each, _, _), sockets in places if each == kind]
            for kind in KINDS
        }

    def close(self) -> None:
        """Listen nowhere, as far as this process is concerned."""
        self.close_all_but(())

    def places(self) -> Iterator[tuple[Place, Sequence[socket.socket]]]:
        """All places with their sockets."""
        yield from self._held.items()

    def _shares(self, kind: str, listen: Listen, workers: int) -> list[list[socket.socket]]:
        given = self._held.get((kind, GIVEN, 0))
        if given is not None:
            return [given if kind != "admin" or not n else [] for n in range(workers)]
        if kind == "admin":
            return [self._admin(listen.admin), *([] for _ in range(workers - 1))]
        shares: list[list[socket.socket]] = [[] for _ in range(workers)]
        addresses = usable(getattr(listen, kind))
        for place, address in _numbered(kind, addresses):
            sockets = self._held.setdefault(place, [])
            more = max(0, workers - len(sockets))
            sockets += open_doors(
                address, more, among=addresses, beside=sockets, ours=self._sockets()
            )
            for number, sock in enumerate(sockets):
                shares[number % workers].append(sock)
        return shares

    def _admin(self, address: Address | UnixPath | None) -> list[socket.socket]:
        if address is None:
            return []
        place = ("admin", str(address), 0)
        if place not in self._held:
            self._held[place] = open_admin_door(address, self._sockets())
        return self._held[place]

    def _sockets(self) -> list[socket.socket]:
        return [sock for sockets in self._held.values() for sock in sockets]

    def _return_to(self, before: Mapping[Place, list[socket.socket]]) -> None:
        for place, sockets in list(self._held.items()):
            kept = before.get(place, [])
            _close(sock for sock in sockets if sock not in kept)
        self._held = dict(before)


def _numbered(kind: str, addresses: Iterable[Address]) -> Iterator[tuple[Place, Address]]:
    seen: Counter[Address] = Counter()
    for address in addresses:
        yield (kind, str(address), seen[address]), address
        seen[address] += 1


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
