"""What the admin listener answers: whether all is well, and figures for Prometheus."""

import mmap
import platform
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from . import VERSION
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
from .tally import Tallies
from .watch import Watch

_TEXT = b"text/plain; charset=utf-8"


def administering(
    listener: Listener, certificates: Certificates, tallies: Tallies, watch: Watch
) -> Respond:
    """Answer /health and /metrics."""
    exposition = Exposition()

    def health() -> tuple[int, bytes, str]:
        troubles = certificates.troubles(datetime.now(UTC))
        return (
            (503 if troubles else 200),
            _TEXT,
            "".join(f"{line}\n" for line in troubles) or "ok\n",
        )

    def metrics() -> tuple[int, bytes, str]:
        counted = with_origins(tallies.read(), watch.states())
        figures = chain(counted, _of_certificates(certificates), _of_processes(tallies))
        return 200, CONTENT_TYPE, exposition.text(figures)

    pages: dict[bytes, Callable[[], tuple[int, bytes, str]]] = {
        b"/health": health,
        b"/metrics": metrics,
    }

    def respond(request: RequestHead, close: bool) -> bytes:
        page = pages.get(request.target.partition(b"?")[0])
        if page is None:
            raise ClientError(404, "there are /health and /metrics here")
        status, kind, text = page()
        return content_answer(
            text.encode("utf-8"),
            date=listener.date,
            close=close,
            bodiless=request.method == b"HEAD",
            status=status,
            kind=kind,
        )

    return respond


def with_origins(counted: Iterable[Figure], states: Iterable[OriginState]) -> Iterator[Figure]:
    """What was counted, and how the origins fare: of what two say, the worse.

    Old workers may still count for sites that a reload has taken out: these are left out.
    """
    healthy = {
        UPSTREAM_HEALTHY.series(state.site, str(state.origin)): int(state.healthy)
        for state in states
    }
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
