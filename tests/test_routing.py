"""Which site a name means, and which of its routes a target takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.config import Config
from proxy.errors import ClientError
from proxy.routing import Table

SITES = {
    "a.example.com": {
        "to": "http://127.0.0.1:1",
        "routes": {
            "/live/": "http://127.0.0.1:2",
            "/live/deep/": "http://127.0.0.1:3",
            "/li": "http://127.0.0.1:4",
        },
    },
    "*.example.com": "http://127.0.0.1:5",
    "parts.example.org": {"routes": {"/only/": "http://127.0.0.1:6"}},
}


@pytest.fixture
def table() -> Table:
    sites = Config.model_validate({"sites": SITES}).sites
    return Table(sites, {"a.localhost": "a.example.com"})


def name_of_site(table: Table, name: str) -> str | None:
    site = table.site(name)
    return None if site is None else site.name


def port_of(table: Table, name: str, target: bytes) -> int:
    site = table.site(name)
    assert site is not None
    return site.route(target).config.to[0].port


def refused(ask: Callable[[], object]) -> int:
    with pytest.raises(ClientError) as caught:
        ask()
    return caught.value.status


def test_an_exact_name_is_preferred_to_a_wildcard(table: Table) -> None:
    assert name_of_site(table, "a.example.com") == "a.example.com"
    assert name_of_site(table, "b.example.com") == "*.example.com"


@pytest.mark.parametrize("name", ["example.com", "a.b.example.com", "example.org", "", ".", "com"])
def test_a_wildcard_stands_for_exactly_one_label(table: Table, name: str) -> None:
    """RFC 9525 §6.3."""
    assert name_of_site(table, name) is None


def test_an_alias_means_the_same_site(table: Table) -> None:
    assert table.site("a.localhost") is table.site("a.example.com")


@pytest.mark.parametrize(
    ("target", "port"),
    [
        (b"/", 1),
        (b"/other", 1),
        (b"/live", 4),
        (b"/live/", 2),
        (b"/live/x", 2),
        (b"/live/deep", 2),
        (b"/live/deep/x?y", 3),
        (b"/light", 4),
        (b"/LIVE/", 1),
        (b"*", 1),
    ],
)
def test_the_longest_prefix_of_the_target_wins(table: Table, target: bytes, port: int) -> None:
    assert port_of(table, "a.example.com", target) == port


@pytest.mark.parametrize(
    "target",
    [
        b"/live/../other",
        b"/live/%2e%2e/other",
        b"/live/.%2E/other?x=1",
        b"/live/..;/other",
        b"/live/..%5cother",
        b"/live/%2e%2e%2fother",
        b"/other/../live/x",
        b"/%6cive/x",
        b"//live/x",
        b"/./live/x",
        b"/live/deep/..",
        b"/live//deep/x",
        b"/live/deep%2fx HTTP/1.1",
        b"\\live/x",
        b"/live\\deep\\x",
        b"/;/live/x",
    ],
)
def test_a_path_that_servers_may_read_as_one_of_another_route_is_refused(
    table: Table, target: bytes
) -> None:
    """RFC 3986 §6.2.2."""
    assert refused(lambda: port_of(table, "a.example.com", target)) == 400


@pytest.mark.parametrize(
    ("target", "port"),
    [
        (b"/live/a/../b", 2),
        (b"/live/%20x", 2),
        (b"/live/.", 2),
        (b"/live/?next=/../other", 2),
        (b"/other//x/%2e%2e/.well-known", 1),
        (b"/..", 1),
        (b"/%", 1),
    ],
)
def test_a_path_that_stays_in_its_route_is_passed_on_as_it_is_written(
    table: Table, target: bytes, port: int
) -> None:
    assert port_of(table, "a.example.com", target) == port


def test_a_site_of_one_route_takes_every_path(table: Table) -> None:
    assert port_of(table, "b.example.com", b"//x/%2e%2e/../y") == 5


def test_a_site_without_servers_of_its_own_serves_its_parts_only(table: Table) -> None:
    assert port_of(table, "parts.example.org", b"/only/x") == 6
    assert refused(lambda: port_of(table, "parts.example.org", b"/else")) == 404
    assert refused(lambda: port_of(table, "parts.example.org", b"*")) == 404


def test_a_connection_serves_the_site_that_it_was_opened_for(table: Table) -> None:
    """RFC 9110 §7.4."""
    connected = table.site("b.example.com")
    assert connected is not None
    assert table.site_asked("c.example.com", connected) is connected
    assert refused(lambda: table.site_asked("a.example.com", connected)) == 421
    assert refused(lambda: table.site_asked("unknown.example.net", connected)) == 404


def test_a_route_shares_the_quota_that_it_inherits_and_no_other() -> None:
    limit = {"requests": 1, "per": "1s"}
    routes = {"/same/": "http://127.0.0.1:2", "/own/": {"rate_limit": limit}}
    routes |= {"/none/": {"rate_limit": None}}
    site = {"to": "http://127.0.0.1:1", "rate_limit": limit, "routes": routes}
    found = Table(Config.model_validate({"sites": {"a": site}}).sites).site("a")
    assert found is not None
    whole, same, own, none = (
        found.route(target).quota for target in (b"/", b"/same/", b"/own/", b"/none/")
    )
    assert whole is not None
    assert same is whole
    assert own is not None
    assert own != whole
    assert none is None
