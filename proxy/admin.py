"""What the admin listener answers: whether all is well, and figures for Prometheus."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from .answers import content_answer
from .certificates import Certificates
from .errors import ClientError
from .head import RequestHead
from .listener import Listener
from .plain import Respond
from .tally import Tallies

_TEXT = b"text/plain; charset=utf-8"
# Prometheus' text format, 0.0.4.
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"


def administering(listener: Listener, certificates: Certificates, tallies: Tallies) -> Respond:
    """Answer /health and /metrics."""

    def health() -> tuple[int, bytes, str]:
        troubles = certificates.troubles(datetime.now(UTC))
        return (
            (503 if troubles else 200),
            _TEXT,
            "".join(f"{line}\n" for line in troubles) or "ok\n",
        )

    def metrics() -> tuple[int, bytes, str]:
        return 200, _METRICS, "".join(_lines(certificates, tallies))

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


def _lines(certificates: Certificates, tallies: Tallies) -> Iterable[str]:
    yield "# HELP hopward_certificate_not_after_seconds When a certificate ends, in Unix time.\n"
    yield "# TYPE hopward_certificate_not_after_seconds gauge\n"
    for host, not_after in certificates.ends():
        name = f'hopward_certificate_not_after_seconds{{host="{host}"}}'
        yield f"{name} {not_after.timestamp():.0f}\n"
    yield "# HELP hopward_certificate_in_danger 1 while people are alerted of it.\n"
    yield "# TYPE hopward_certificate_in_danger gauge\n"
    for host, in_danger in certificates.dangers():
        yield f'hopward_certificate_in_danger{{host="{host}"}} {int(in_danger)}\n'
    yield "# HELP hopward_certificate_renewals_total Attempts to get or renew a certificate.\n"
    yield "# TYPE hopward_certificate_renewals_total counter\n"
    for series, [count] in tallies.read().items():
        _, host, result = series.key
        name = f'hopward_certificate_renewals_total{{host="{host}",result="{result}"}}'
        yield f"{name} {count}\n"
