"""How the origins fare, as one worker sees it, and the words it has for that.

Law: what is said here was decided in `health`; nothing is judged anew.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

from .checks import Checks
from .config import Origin
from .findings import Finding, Findings
from .health import Check, OriginState
from .listener import Listener
from .log import Log
from .pool import Pool
from .routing import Route

AT_ONCE = 200
"""How many states a step tells: a millisecond."""


class Watch:
    """Tells of origins that go and come, and makes the checks when it is this worker's turn."""

    def __init__(self, listener: Listener, findings: Findings, log: Log) -> None:
        self._listener = listener
        self._findings = findings
        self._log = log
        self._checks = Checks(findings, listener.table, listener.limits, self._checked)
        listener.pools.told = self._marked

    async def run(self) -> None:
        """Check, in turn with the other workers, until cancelled."""
        await self._checks.run()

    def states(self) -> Iterator[OriginState]:
        """How each origin of each site fares; one that is not healthy on any route is not."""
        now = asyncio.get_running_loop().time()
        for site in self._listener.table.sites.values():
            worst: dict[Origin, OriginState] = {}
            for route in site.routes:
                for number, origin in enumerate(route.config.to):
                    check = route.checks[number] if route.checks else None
                    state = self._state(site.name, origin, check, now)
                    if origin not in worst or not state.healthy:
                        worst[origin] = state
            yield from worst.values()

    def _state(self, site: str, origin: Origin, check: Check | None, now: float) -> OriginState:
        found = self._findings.read(check, now) if check else None
        if found is not None and not found.healthy:
            return OriginState(site, origin, False, found.since, found.reason)
        standing = self._listener.pools.standing(origin)
        if standing is not None and standing.since:
            since = time.time() - now + standing.since
            reason = standing.reason if standing.marked else ""
            return OriginState(site, origin, not standing.marked, since, reason)
        return OriginState(site, origin, True, found.since if found else None, "")

    def _marked(self, pool: Pool) -> None:
        origin, standing = pool.origin, pool.standing
        sites = self._sites(lambda route: origin in route.config.to)
        for site in sites:
            self._listener.counts.upstream_marked(
                site, str(origin), standing.reason, healthy=not standing.marked
            )
        self._tell("requests", sites, origin, not standing.marked, standing.reason)

    def _checked(self, check: Check, finding: Finding) -> None:
        sites = self._sites(lambda route: check in route.checks)
        self._tell("checks", sites, check.origin, finding.healthy, finding.reason)

    def _sites(self, concerned: Callable[[Route], bool]) -> list[str]:
        sites = self._listener.table.sites.values()
        return [site.name for site in sites if any(map(concerned, site.routes))]

    def _tell(
        self, seen_by: str, sites: list[str], origin: Origin, healthy: bool, reason: str
    ) -> None:
        fields = {"sites": sites, "origin": str(origin), "seen_by": seen_by}
        if healthy:
            self._log.info("upstream-up", **fields)
        else:
            self._log.warning("upstream-down", **fields, reason=reason)
