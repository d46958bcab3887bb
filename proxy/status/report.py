"""The status as one JSON document: docs/status.md says what each name means.

Law: names that stand here stay; what is told of time is ISO 8601 in UTC or in seconds.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acme_client.times import to_text

from .. import VERSION
from ..certificates import Certificates
from ..health import OriginState
from ..listener import Listener
from ..metrics import (
    CONNECTIONS,
    LOST_LINES,
    RELOADS,
    RESTARTS,
    RESULTS,
    SECONDS,
    STARTED,
    WEBSOCKETS,
    WORKERS,
)
from ..running import Record, find
from ..steps import Steps, gathered
from ..tally import Tallies
from ..watch import AT_ONCE, Watch
from .figures import Figures, Mark, Traffic
from .latency import quantiles
from .outlook import Outlook, outlooks
from .readings import Reading, Readings

Plain = dict[str, Any]
# Sites in a step, or certificates: 2 ms.
_AT_ONCE = 25
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class Report:
    """Writes the document, and remembers what it needs for the next one."""

    def __init__(
        self,
        listener: Listener,
        certificates: Certificates,
        tallies: Tallies,
        watch: Watch,
        store: Path,
    ) -> None:
        self._listener = listener
        self._certificates = certificates
        self._tallies = tallies
        self._watch = watch
        self._store = store
        self._readings = Readings()

    def text(self) -> Steps[str]:
        """How it is now, in ASCII."""
        return (yield from json_text((yield from self._document())))

    def _document(self) -> Steps[Plain]:
        now, monotonic = datetime.now(UTC), time.monotonic()
        figures = Figures((yield from self._tallies.reading()))
        yield
        found = outlooks(self._certificates, self._listener.table, now)
        certificates = yield from gathered((plain_outlook(each, now) for each in found), _AT_ONCE)
        traffic = yield from self._traffic(figures, monotonic)
        yield
        troubles = self._certificates.troubles(now)
        yield
        return {
            "version": VERSION,
            "time": _moment(now),
            "monotonic": monotonic,
            **_process(figures, now),
            "health": {"ok": not troubles, "troubles": troubles},
            "connections": {kind: value for (kind,), [value] in figures.of(CONNECTIONS).items()},
            "latency_bounds": SECONDS,
            **traffic,
            "certificates": certificates,
            "reloads": {result: figures.one(RELOADS, result) for result in RESULTS},
            "last_reload": plain_reload(self._record()),
            "access_log": {"lost_lines": figures.one(LOST_LINES)},
        }

    def _traffic(self, figures: Figures, monotonic: float) -> Steps[Plain]:
        traffic = figures.traffic()
        yield
        before = self._readings.compared(Reading(monotonic, traffic))
        seconds = monotonic - before.at if before else None
        compare = Comparison(traffic, before.traffic if before else {}, seconds)
        total = compare.total()
        yield
        states: dict[str, list[OriginState]] = {}
        for state in (yield from gathered(self._watch.states(), AT_ONCE)):
            states.setdefault(state.site, []).append(state)
        yield
        marks = figures.marks()
        errors, names = figures.upstream_errors(), list(self._listener.table.sites)
        yield
        sites = (
            {
                "site": name,
                **compare.site(name),
                "websockets": figures.one(WEBSOCKETS, name),
                "upstream_errors": errors.get(name, {}),
                "origins": [plain_origin(state, marks) for state in states.get(name, [])],
            }
            for name in names
        )
        return {
            "recent_seconds": seconds and round(seconds, 3),
            "total": {
                **total,
                "websockets": sum(value for [value] in figures.of(WEBSOCKETS).values()),
            },
            "unmatched": compare.site(""),
            "sites": (yield from gathered(sites, _AT_ONCE)),
        }

    def _record(self) -> Record | None:
        """What the supervisor has written down; the record of another proxy is none of ours."""
        with suppress(OSError, ValueError, TypeError):
            found = find(self._store)
            if found is not None and found.pid == os.getppid():
                return found.record
        return None


class Comparison:
    """Traffic now beside that of `seconds` ago; None: there is none to compare with."""

    def __init__(
        self, now: Mapping[str, Traffic], before: Mapping[str, Traffic], seconds: float | None
    ) -> None:
        self._now = now
        self._before = before
        self._seconds = seconds

    def site(self, name: str) -> Plain:
        """The traffic of one site, so far and recently."""
        nothing = Traffic()
        return self._plain(self._now.get(name, nothing), self._before.get(name, nothing))

    def total(self) -> Plain:
        """That of all sites, those that are configured no more included."""
        now, before = self._now.values(), self._before.values()
        return self._plain(Traffic.together(now), Traffic.together(before))

    def _plain(self, traffic: Traffic, before: Traffic) -> Plain:
        recent = None
        if self._seconds:
            lately = traffic.since(before)
            recent = {
                "requests_per_second": round(lately.requests / self._seconds, 3),
                "errors_4xx_per_second": round(lately.errors_4xx / self._seconds, 3),
                "errors_5xx_per_second": round(lately.errors_5xx / self._seconds, 3),
                "latency": quantiles(lately.counts),
            }
        return {
            "requests": traffic.requests,
            "errors_4xx": traffic.errors_4xx,
            "errors_5xx": traffic.errors_5xx,
            "latency": quantiles(traffic.counts),
            "latency_counts": traffic.counts,
            "recent": recent,
        }


def json_text(document: Plain) -> Steps[str]:
    """A document as JSON: of its lists, which are what is long, a few items in a step."""
    members = []
    for name, value in document.items():
        if isinstance(value, list):
            items = yield from gathered(map(_JSON.encode, value), _AT_ONCE)
            members.append(f"{_JSON.encode(name)}:[{','.join(items)}]")
        else:
            members.append(f"{_JSON.encode(name)}:{_JSON.encode(value)}")
    return f"{{{','.join(members)}}}"


def plain_origin(state: OriginState, marks: Mapping[tuple[str, str], Mark]) -> Plain:
    """How an origin of a site fares: well, where nothing speaks against it in any worker. Pure."""
    site, origin, healthy, since, reason = state
    mark = marks.get((site, str(origin))) if healthy else None
    if mark is not None:
        healthy, since, reason = False, mark.since, mark.reason
    return {
        "origin": str(origin),
        "healthy": healthy,
        "since": _unix(since),
        "reason": reason or None,
    }


def plain_outlook(outlook: Outlook, now: datetime) -> Plain:
    """A certificate's outlook; `days_left` is negative when it has ended. Pure."""
    end = outlook.not_after
    return {
        "host": outlook.host,
        "source": outlook.source,
        "level": outlook.level,
        "issuer": outlook.issuer,
        "not_before": _moment(outlook.not_before),
        "not_after": _moment(end),
        "days_left": None if end is None else round((end - now).total_seconds() / 86400, 2),
        "next_renewal": _moment(outlook.next_renewal),
        "last_error": outlook.last_error,
        "in_danger": outlook.in_danger,
    }


def plain_reload(record: Record | None) -> Plain | None:
    """How the last reload since the start ended; None where there was none. Pure."""
    if record is None or record.result is None:
        return None
    return {"time": record.time, "result": record.result, "error": record.error}


def _process(figures: Figures, now: datetime) -> Plain:
    started = figures.one(STARTED) / STARTED.scale
    return {
        "pid": os.getppid(),
        "started": _unix(started),
        "uptime_seconds": round(max(0.0, now.timestamp() - started), 3),
        "workers": {
            "serving": figures.one(WORKERS, "serving"),
            "old": figures.one(WORKERS, "old"),
            "restarts": figures.one(RESTARTS),
        },
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else to_text(moment.replace(microsecond=0))


def _unix(seconds: float | None) -> str | None:
    return None if not seconds else _moment(datetime.fromtimestamp(seconds, UTC))
