"""All that was counted, as a person would ask for it: by metric, by site. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..metrics import (
    REQUEST_SECONDS,
    REQUESTS,
    UPSTREAM_ERRORS,
    UPSTREAM_HEALTHY,
    UPSTREAM_MARKED,
    Metric,
)
from ..tally import Key, Series

_NO_COUNTS = (0,) * (REQUEST_SECONDS.width - 1)


class Traffic(NamedTuple):
    """Requests of one site so far: all, those answered 4xx and 5xx, and how long they took.

    `counts` has the requests of each bucket of SECONDS, and those that took longer.
    """

    requests: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    counts: tuple[int, ...] = _NO_COUNTS

    @classmethod
    def together(cls, several: Iterable["Traffic"]) -> "Traffic":
        """All of them as one."""
        requests, errors_4xx, errors_5xx, counts = zip(cls(), *several, strict=True)
        return cls(
            sum(requests),
            sum(errors_4xx),
            sum(errors_5xx),
            tuple(map(sum, zip(*counts, strict=True))),
        )

    def since(self, before: "Traffic") -> "Traffic":
        """What has come since it was `before`."""
        return Traffic(
            self.requests - before.requests,
            self.errors_4xx - before.errors_4xx,
            self.errors_5xx - before.errors_5xx,
            tuple(map(int.__sub__, self.counts, before.counts)),
        )


class Mark(NamedTuple):
    """That requests of some worker speak against an origin: since when (Unix time), and why."""

    since: float | None
    reason: str


class Figures:
    """What all processes have counted, as `Tallies.read` gives it."""

    def __init__(self, counted: Iterable[tuple[Series, list[int]]]) -> None:
        self._by_name: dict[str, dict[Key, list[int]]] = {}
        for series, values in counted:
            self._by_name.setdefault(series.key[0], {})[series.key[1:]] = values

    def of(self, metric: Metric) -> Mapping[Key, list[int]]:
        """The values of a metric by its labels."""
        return self._by_name.get(metric.name, {})

    def one(self, metric: Metric, *labels: str) -> int:
        """The value of one label set, 0 where nothing was counted."""
        return self.of(metric).get(labels, [0])[0]

    def traffic(self) -> dict[str, Traffic]:
        """The requests of each site; "" has those that were for none."""
        counts = {site: tuple(values[:-1]) for (site,), values in self.of(REQUEST_SECONDS).items()}
        by_site: dict[str, list[int]] = {}
        for (site, _, code), [count] in self.of(REQUESTS).items():
            requests = by_site.setdefault(site, [0, 0, 0])
            requests[0] += count
            if code[0] in "45":
                requests[int(code[0]) - 3] += count
        return {
            site: Traffic(all_, errors_4xx, errors_5xx, counts.get(site, _NO_COUNTS))
            for site, (all_, errors_4xx, errors_5xx) in by_site.items()
        }

    def upstream_errors(self) -> dict[str, dict[str, int]]:
        """How often the origins of each site failed, by reason."""
        by_site: dict[str, dict[str, int]] = {}
        for (site, reason), [count] in self.of(UPSTREAM_ERRORS).items():
            by_site.setdefault(site, {})[reason] = count
        return by_site

    def marks(self) -> dict[tuple[str, str], Mark]:
        """What speaks against an origin of a site, in any worker."""
        latest = dict(self._latest_marks())
        return {
            (site, origin): latest.get((site, origin), Mark(None, ""))
            for (site, origin), [healthy] in self.of(UPSTREAM_HEALTHY).items()
            if not healthy
        }

    def _latest_marks(self) -> Iterator[tuple[tuple[str, str], Mark]]:
        marked = [(value, key) for key, [value] in self.of(UPSTREAM_MARKED).items() if value]
        for value, (site, origin, reason) in sorted(marked):
            yield (site, origin), Mark(value / UPSTREAM_MARKED.scale, reason)
