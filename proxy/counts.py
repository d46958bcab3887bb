"""What one process counts of what it does.

Law: what is counted costs a step or two, whatever it is; a label that a client can choose has few
values.
"""

import os
import time
from bisect import bisect_left

from .metrics import (
    CONNECTIONS,
    CPU_SECONDS,
    HANDSHAKE_FAILURES,
    HANDSHAKES,
    LOST_LINES,
    NANOSECONDS,
    PROXY_HEADERS_REFUSED,
    RELOADS,
    REQUEST_SECONDS,
    REQUESTS,
    RESTARTS,
    RESULTS,
    SECONDS,
    STARTED,
    UPSTREAM_ERRORS,
    UPSTREAM_HEALTHY,
    UPSTREAM_MARKED,
    WEBSOCKETS,
    WORKERS,
)
from .tally import Tallies, Tally

# RFC 9110 §9.3 and RFC 5789.
_METHODS = {
    name.encode("ascii"): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
}
_BOUNDS = [round(bound * NANOSECONDS) for bound in SECONDS]
_SUM = len(_BOUNDS) + 1
# An origin may answer with any of 900 codes; who has seen so many combinations asks again.
_REMEMBERED = 50_000


class Counts:
    """The figures of one worker."""

    __slots__ = ("_cpu", "_lost", "_places", "_requests", "_values", "tally")

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._values = tally.values
        self._requests: dict[tuple[str, bytes, int], tuple[int, int]] = {}
        self._places: dict[tuple[str, ...], int] = {}
        self._cpu = self._lost = 0
        for kind in ("https", "http", "admin", "announced", "upstream"):
            self._place(CONNECTIONS.name, kind)
        self._values[tally.place(WORKERS.series("serving"))] = 1
        self._values[tally.place(WORKERS.series("old"))] = 0

    def request(self, site: str, method: bytes, status: int, nanoseconds: int) -> None:
        """A request of a `site` ("" for none) has ended with `status`, after so long."""
        places = self._requests.get((site, method, status))
        if places is None:
            places = self._request_places(site, method, status)
        count, seconds = places
        values = self._values
        values[count] += 1
        values[seconds + bisect_left(_BOUNDS, nanoseconds)] += 1
        values[seconds + _SUM] += nanoseconds

    def connected(self, kind: str) -> None:
        """A client's connection has begun."""
        self._values[self._place(CONNECTIONS.name, kind)] += 1

    def parted(self, kind: str) -> None:
        """A client's connection has ended."""
        self._values[self._place(CONNECTIONS.name, kind)] -= 1

    def handshake(self, version: str, group: str, *, resumed: bool) -> None:
        """A TLS handshake was completed."""
        said = "true" if resumed else "false"
        self._values[self._place(HANDSHAKES.name, version, group, said)] += 1

    def handshake_failed(self, reason: str) -> None:
        """A TLS handshake was not completed; `reason` is one of a bounded number of labels."""
        self._values[self._place(HANDSHAKE_FAILURES.name, reason)] += 1

    def proxy_header_refused(self, reason: str) -> None:
        """A trusted proxy did not announce its client as it should; `reason` is of a bounded
        number of labels."""
        self._values[self._place(PROXY_HEADERS_REFUSED.name, reason)] += 1

    def upstream_failed(self, site: str, reason: str) -> None:
        """An origin of `site` failed; `reason` is that of the UpstreamError."""
        self._values[self._place(UPSTREAM_ERRORS.name, site, reason)] += 1

    def upstream_marked(self, site: str, origin: str, reason: str, *, healthy: bool) -> None:
        """What this worker's requests say of an origin of `site`, from now on; `reason`: why it was
        not healthy, or is not."""
        self._values[self._place(UPSTREAM_HEALTHY.name, site, origin)] = healthy
        since = 0 if healthy else time.time_ns()
        self._values[self._place(UPSTREAM_MARKED.name, site, origin, reason)] = since

    def websocket_began(self, site: str) -> None:
        """A WebSocket was opened."""
        self._values[self._place(WEBSOCKETS.name, site)] += 1

    def websocket_ended(self, site: str) -> None:
        """A WebSocket's connection has ended."""
        self._values[self._place(WEBSOCKETS.name, site)] -= 1

    def retired(self) -> None:
        """This worker takes no more clients; it finishes what it began."""
        self._values[self.tally.place(WORKERS.series("serving"))] = 0
        self._values[self.tally.place(WORKERS.series("old"))] = 1

    def ticked(self, *, upstreams: int, lost_lines: int) -> None:
        """Some time has passed: how many connections to origins are open, and how many lines the
        access log of this process has lost so far."""
        self.tally.beat()
        cpu = time.process_time_ns()
        self._values[self._place(CPU_SECONDS.name)] += cpu - self._cpu
        self._cpu = cpu
        self._values[self._place(CONNECTIONS.name, "upstream")] = upstreams
        self._values[self._place(LOST_LINES.name)] += lost_lines - self._lost
        self._lost = lost_lines

    def _request_places(self, site: str, method: bytes, status: int) -> tuple[int, int]:
        name = _METHODS.get(method)
        places = (
            self.tally.place(REQUESTS.series(site, name or "other", str(status))),
            self.tally.place(REQUEST_SECONDS.series(site)),
        )
        # What a client may choose is not remembered.
        if name is not None and len(self._requests) < _REMEMBERED:
            self._requests[site, method, status] = places
        return places

    def _place(self, *key: str) -> int:
        place = self._places.get(key)
        if place is None:
            metric = _BY_NAME[key[0]]
            place = self._places[key] = self.tally.place(metric.series(*key[1:]))
        return place


_BY_NAME = {
    metric.name: metric
    for metric in (
        CONNECTIONS,
        CPU_SECONDS,
        HANDSHAKES,
        HANDSHAKE_FAILURES,
        LOST_LINES,
        PROXY_HEADERS_REFUSED,
        UPSTREAM_ERRORS,
        UPSTREAM_HEALTHY,
        UPSTREAM_MARKED,
        WEBSOCKETS,
    )
}


class Oversight:
    """The figures of the supervisor, in a tally of its own."""

    def __init__(self, tallies: Tallies) -> None:
        # After an upgrade in place it is the same process, and has one already.
        self._tally = tally = tallies.held_by(os.getpid()) or tallies.take()
        tally.begin()
        for result in RESULTS:
            tally.place(RELOADS.series(result))
        tally.place(RESTARTS.series())
        tally.values[tally.place(STARTED.series())] = time.time_ns()

    def reloaded(self, *, success: bool) -> None:
        """The configuration was read again, or could not be."""
        self._tally.add((RELOADS.name, RESULTS[0] if success else RESULTS[1]))

    def restarted(self) -> None:
        """A worker had died and is started again."""
        self._tally.add((RESTARTS.name,))
