"""The figures that hopward tells: each one's name, its labels, and what it means.

Law: somebody's dashboard relies on each name that stands here; none is given another meaning.
"""

from typing import NamedTuple

from .tally import Kind, Series


class Metric(NamedTuple):
    """One figure with all of its label sets. `scale`: what its integers are divided by to be told.

    `bounds` makes it a histogram: the upper ends of its buckets, told as they are here.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    kind: Kind = Kind.COUNTER
    scale: int = 1
    bounds: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many integers one label set is: a histogram's buckets, that of the rest, the sum."""
        return len(self.bounds) + 2 if self.bounds else 1

    def series(self, *labels: str) -> Series:
        """The series of one label set."""
        assert len(labels) == len(self.labels)
        return Series((self.name, *labels), self.kind, self.width)


NANOSECONDS = 1_000_000_000
# An announce takes about a millisecond, a page some tens of them, a slow query seconds; 60 s is the
# default of the time-out for a response. In between about two bounds for each power of ten, as
# Prometheus' own clients have them.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS = Metric(
    "hopward_requests_total",
    "Requests that have ended, and upgrades that were granted.",
    ("site", "method", "code"),
)
REQUEST_SECONDS = Metric(
    "hopward_request_seconds",
    "From a request's head to the end of its response, or to the 101 of an upgrade.",
    ("site",),
    scale=NANOSECONDS,
    bounds=SECONDS,
)
CONNECTIONS = Metric(
    "hopward_connections",
    "Open connections of clients (https, http, admin), to origins (upstream), and those that a"
    " trusted proxy has yet to announce (announced).",
    ("kind",),
    Kind.GAUGE,
)
WEBSOCKETS = Metric("hopward_websockets", "Open WebSockets.", ("site",), Kind.GAUGE)
UPSTREAM_ERRORS = Metric(
    "hopward_upstream_errors_total",
    "Attempts to get a response from an origin that failed.",
    ("site", "reason"),
)
UPSTREAM_HEALTHY = Metric(
    "hopward_upstream_healthy",
    "0 while others are preferred to an origin, or checks speak against it, in any worker.",
    ("site", "origin"),
    Kind.LEAST,
)
HANDSHAKES = Metric(
    "hopward_tls_handshakes_total",
    "TLS handshakes that were completed.",
    ("version", "group", "resumed"),
)
HANDSHAKE_FAILURES = Metric(
    "hopward_tls_handshake_failures_total",
    "TLS handshakes that were not; timeout: the client fell silent, closed: it left.",
    ("reason",),
)
PROXY_HEADERS_REFUSED = Metric(
    "hopward_proxy_headers_refused_total",
    "Connections that were ended for a trusted proxy's PROXY header.",
    ("reason",),
)
CERTIFICATE_ENDS = Metric(
    "hopward_certificate_not_after_seconds",
    "When a certificate ends, in Unix time.",
    ("host",),
    Kind.GAUGE,
)
CERTIFICATE_DANGERS = Metric(
    "hopward_certificate_in_danger", "1 while people are alerted of it.", ("host",), Kind.GAUGE
)
RENEWALS = Metric(
    "hopward_certificate_renewals_total",
    "Attempts to get or renew a certificate.",
    ("host", "result"),
)
RELOADS = Metric("hopward_config_reloads_total", "Attempts to reload the file.", ("result",))
RESTARTS = Metric("hopward_worker_restarts_total", "Workers replaced because they had died.")
WORKERS = Metric(
    "hopward_workers",
    "Worker processes; old: finishing what they began before a reload.",
    ("state",),
    Kind.GAUGE,
)
LOST_LINES = Metric(
    "hopward_access_log_lost_lines_total", "Lines that could not be written to the access log."
)
OVERFLOWS = Metric(
    "hopward_metrics_overflows_total", "Counts with labels `other` because there was no more room."
)
BUILD = Metric(
    "hopward_build_info", "1, with the versions as labels.", ("version", "python"), Kind.GAUGE
)
STARTED = Metric(
    "process_start_time_seconds",
    "When the supervisor started, in Unix time.",
    kind=Kind.MOST,
    scale=NANOSECONDS,
)
CPU_SECONDS = Metric(
    "process_cpu_seconds_total",
    "Time that the workers have used, user and system.",
    scale=NANOSECONDS,
)
RESIDENT_BYTES = Metric(
    "process_resident_memory_bytes",
    "Memory of all processes; a page that several share counts for each.",
    kind=Kind.GAUGE,
)

# In the order in which they are told.
METRICS = (
    REQUESTS,
    REQUEST_SECONDS,
    CONNECTIONS,
    WEBSOCKETS,
    UPSTREAM_ERRORS,
    UPSTREAM_HEALTHY,
    HANDSHAKES,
    HANDSHAKE_FAILURES,
    PROXY_HEADERS_REFUSED,
    CERTIFICATE_ENDS,
    CERTIFICATE_DANGERS,
    RENEWALS,
    RELOADS,
    RESTARTS,
    WORKERS,
    LOST_LINES,
    OVERFLOWS,
    BUILD,
    STARTED,
    CPU_SECONDS,
    RESIDENT_BYTES,
)
RESULTS = ("success", "failure")

# Not told to Prometheus, where a time is no figure: for the status page.
UPSTREAM_MARKED = Metric(
    "upstream_marked",
    "Since when requests of a worker speak against an origin, in Unix time; 0: they do not.",
    ("site", "origin", "reason"),
    Kind.MOST,
    scale=NANOSECONDS,
)
