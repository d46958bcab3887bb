"""What the admin listener answers: whether all is well, figures for Prometheus, the status page.

Law: whoever reaches it may read and nothing else; no page of a stranger reads it through a browser.
"""

import mmap
import platform
import socket
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from . import VERSION
from .admin_names import loopback, of_no_stranger
from .answers import content_answer
from .certificates import Certificates
from .errors import ClientError
from .exposition import CONTENT_TYPE, Exposition, Figure
from .head import RequestHead
from .health import OriginState
from .listener import Listener
from .metrics import (
    BUILD,
    CERTIFICATE_DANGERS,
    CERTIFICATE_ENDS,
    OVERFLOWS,
    RESIDENT_BYTES,
    UPSTREAM_HEALTHY,
)
from .plain import Respond
from .status.page import PAGE, POLICY
from .status.report import Report
from .steps import Steps, gathered
from .tally import Series, Tallies
from .watch import AT_ONCE, Watch

_TEXT = b"text/plain; charset=utf-8"
_HTML = b"text/html; charset=utf-8"
_JSON = b"application/json"
_METHODS = b"GET, HEAD"
# What is told is true now and nobody else's business.
_FIELDS = (
    b"Cache-Control: no-store\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Cross-Origin-Resource-Policy: same-origin\r\n"
)
_PAGE_FIELDS = (
    b"Content-Security-Policy: %b\r\n"
    b"X-Frame-Options: DENY\r\n"
    b"Referrer-Policy: no-referrer\r\n"
    b"Cross-Origin-Opener-Policy: same-origin\r\n"
) % POLICY.encode("ascii")


class Content(NamedTuple):
    """What stands at a path."""

    kind: bytes
    body: bytes
    status: int = 200
    fields: bytes = b""


def administering(
    listener: Listener,
    certificates: Certificates,
    tallies: Tallies,
    watch: Watch,
    report: Report,
    *,
    guarded: bool,
) -> Respond:
    """Answer /health, /metrics, /status and /status.json.

    `guarded`: only by names that no stranger can own, or those of sites.
    """
    exposition = Exposition()

    def health() -> Content:
        troubles = certificates.troubles(datetime.now(UTC))
        text = "".join(f"{line}\n" for line in troubles) or "ok\n"
        return Content(_TEXT, text.encode("utf-8"), 503 if troubles else 200)

    def metrics() -> Steps[Content]:
        counted = yield from tallies.reading()
        all_counted = yield from with_origins(counted, watch.states())
        figures = chain(all_counted, _of_certificates(certificates), _of_processes(tallies))
        text = yield from exposition.text(figures)
        return Content(CONTENT_TYPE, text.encode("utf-8"))

    def status() -> Steps[Content]:
        text = yield from report.text()
        return Content(_JSON, text.encode("ascii"))

    places: dict[bytes, Callable[[], Content | Steps[Content]]] = {
        b"/health": health,
        b"/metrics": metrics,
        b"/status": lambda: Content(_HTML, PAGE, fields=_PAGE_FIELDS),
        b"/status.json": status,
    }

    def respond(request: RequestHead, close: bool) -> bytes | Steps[bytes]:
        name = request.host_name
        if guarded and not of_no_stranger(name) and listener.table.site(name) is None:
            raise ClientError(421, "ask by address, as localhost, or by the name of a site")
        place = places.get(request.target.partition(b"?")[0])
        if place is None:
            there = ", ".join(path.decode("ascii") for path in places)
            raise ClientError(404, f"what there is: {there}")
        if request.method not in (b"GET", b"HEAD"):
            raise ClientError(405, "this is only read", allowed=_METHODS)

        def answer(content: Content) -> bytes:
            return content_answer(
                content.body,
                date=listener.clock.date,
                close=close,
                bodiless=request.method == b"HEAD",
                status=content.status,
                kind=content.kind,
                fields=_FIELDS + content.fields,
            )

        content = place()
        return answer(content) if isinstance(content, Content) else _then(content, answer)

    return respond


def _then(content: Steps[Content], answer: Callable[[Content], bytes]) -> Steps[bytes]:
    return answer((yield from content))


def only_here(door: socket.socket) -> bool:
    """Whether an admin listener is reached by TCP, and from this machine alone."""
    return door.family != socket.AF_UNIX and loopback(door.getsockname()[0])


def with_origins(
    counted: Iterable[Figure], states: Iterable[OriginState]
) -> Steps[Iterator[Figure]]:
    """What was counted, and how the origins fare: of what two say, the worse.

    Old workers may still count for sites that a reload has taken out: these are left out.
    """
    told = (
        (UPSTREAM_HEALTHY.series(state.site, str(state.origin)), int(state.healthy))
        for state in states
    )
    return _worse(counted, dict((yield from gathered(told, AT_ONCE))))


def _worse(counted: Iterable[Figure], healthy: dict[Series, int]) -> Iterator[Figure]:
    for series, values in counted:
        if series.key[0] == UPSTREAM_HEALTHY.name:
            if series in healthy:
                healthy[series] = min(values[0], healthy[series])
        else:
            yield series, values
    yield from ((series, [value]) for series, value in healthy.items())


def _of_certificates(certificates: Certificates) -> Iterator[Figure]:
    for host, not_after in certificates.ends():
        yield CERTIFICATE_ENDS.series(host), [int(not_after.timestamp())]
    for host, in_danger in certificates.dangers():
        yield CERTIFICATE_DANGERS.series(host), [int(in_danger)]


def _of_processes(tallies: Tallies) -> Iterator[Figure]:
    yield OVERFLOWS.series(), [tallies.overflows]
    yield BUILD.series(VERSION, platform.python_version()), [1]
    resident = [memory for tally in tallies if (memory := _resident(tally.pid))]
    if resident:
        yield RESIDENT_BYTES.series(), [sum(resident)]


def _resident(pid: int) -> int:
    """The bytes in memory of a process; 0 where there is none, or nobody tells."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * mmap.PAGESIZE
