"""Which route a request takes: (name, path) -> route. Pure.

The same table chooses the certificate by the client's SNI and the site by its Host field, so that
both questions always have one answer.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote_to_bytes

from .config import RateLimit
from .config import Route as WrittenRoute
from .config import Site as WrittenSite
from .credentials import Guard
from .errors import ClientError
from .fields import FieldRules
from .health import Check
from .quotas import Quota

# A path that others may read as another one: something is encoded, a backslash may be a slash, or a
# segment is empty or of dots.
_TWISTED = re.compile(rb"[^? ]*?(?:[%\\]|/[/.;])")
_PATHS_END = re.compile(rb"[? ]")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Where requests of one path prefix go, with the rules that hold on the way.

    `checks` has one for each origin, or is empty where none are asked for. A `quota` or `guard`
    that is inherited from the site is the site's.
    """

    config: WrittenRoute
    rules: FieldRules
    checks: tuple[Check, ...]
    quota: Quota | None
    guard: Guard | None

    @classmethod
    def of(
        cls, route: WrittenRoute, site: str, prefix: str = "", above: Self | None = None
    ) -> Self:
        """The route of a site with its rules made ready once, not per request.

        `prefix` is empty for its default route, which is `above` the others: they have inherited
        from it what they do not say.
        """
        inherited = above is not None and route.rate_limit is above.config.rate_limit
        quota = above.quota if above and inherited else _quota(route.rate_limit, site + prefix)
        users = route.basic_auth
        inherited = above is not None and users is above.config.basic_auth
        guard = above.guard if above and inherited else users and Guard.of(site, users)
        return cls(route, FieldRules.of(route), Check.of_route(route, site), quota, guard or None)


def _quota(limit: RateLimit | None, name: str) -> Quota | None:
    if limit is None:
        return None
    return Quota.of(name, requests=limit.requests, per=limit.per, burst=limit.burst)


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One host (or wildcard) with its default route and its prefixes, longest first."""

    name: str
    config: WrittenSite
    default: Route
    prefixes: tuple[tuple[bytes, Route], ...]

    @classmethod
    def of(cls, name: str, site: WrittenSite) -> "Site":
        """The site with its routes made ready."""
        default = Route.of(site, name)
        routes = sorted(site.routes.items(), key=lambda item: -len(item[0]))
        prefixes = tuple(
            (prefix.encode("utf-8"), Route.of(route, name, prefix, default))
            for prefix, route in routes
        )
        return cls(name, site, default, prefixes)

    @property
    def routes(self) -> Iterator[Route]:
        """All routes, the default first."""
        yield self.default
        for _, route in self.prefixes:
            yield route

    def route(self, target: bytes) -> Route:
        """The route of the longest prefix of `target`. Raises ClientError: 404; 400 where the path
        as servers read it takes another, whose rules it would evade."""
        route = self._longest(target)
        if self.prefixes and _TWISTED.match(target) and self._longest(_settled(target)) != route:
            raise ClientError(400, "decoded and without dot segments this path takes another route")
        if not route.config.to:
            raise ClientError(404, "there is nothing at this path")
        return route

    def _longest(self, target: bytes) -> Route:
        for prefix, route in self.prefixes:
            if target.startswith(prefix):
                return route
        return self.default


def _settled(target: bytes) -> bytes:
    """The path of a target as servers read it: decoded, without empty and dot segments.

    RFC 3986 §6.2.2. Some take a backslash for a slash, and what follows a semicolon for no part of
    the segment's name.
    """
    path = unquote_to_bytes(_PATHS_END.split(target, maxsplit=1)[0])
    kept: list[bytes] = []
    name = b""
    for segment in path.replace(b"\\", b"/").split(b"/"):
        name = segment.partition(b";")[0]
        if name == b"..":
            del kept[-1:]
        elif name not in (b"", b"."):
            kept.append(segment)
    if name in (b"", b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


class Table:
    """All sites by name: exact names first, then a wildcard of exactly one more label."""

    __slots__ = ("_exact", "_wildcards", "sites")

    def __init__(
        self, sites: Mapping[str, WrittenSite], aliases: Mapping[str, str] | None = None
    ) -> None:
        self.sites = {name: Site.of(name, site) for name, site in sites.items()}
        self._exact = {name: site for name, site in self.sites.items() if name[:2] != "*."}
        self._exact |= {alias: self.sites[name] for alias, name in (aliases or {}).items()}
        self._wildcards = {name[2:]: site for name, site in self.sites.items() if name[:2] == "*."}

    def site_asked(self, name: str, connected: Site) -> Site:
        """The site of a request that came over a connection opened for the site `connected`.

        Raises ClientError: 404 for an unknown name, 421 for another site (RFC 9110 §7.4).
        """
        site = self.site(name)
        if site is None:
            raise ClientError(404, "there is no such site here")
        # By name: the connection may have been opened before a reload.
        if site.name != connected.name:
            raise ClientError(421, "this connection was opened for another site")
        return site

    def site(self, name: str) -> Site | None:
        """The site of a lower-case name without trailing dot (RFC 9525 §6.3 for wildcards)."""
        found = self._exact.get(name)
        if found is None and self._wildcards:
            return self._wildcards.get(name.partition(".")[2])
        return found
