"""By which names the admin listener is asked."""

from __future__ import annotations

import pytest

from proxy.admin_names import loopback, of_no_stranger


@pytest.mark.parametrize(
    "name",
    ["127.0.0.1", "[::1]", "192.0.2.1", "localhost", "hopward", "status.localhost",
     "box.local", "hopward.monitoring.svc.cluster.local", "box.internal"],
)  # fmt: skip
def test_addresses_and_names_that_nobody_can_register_are_no_strangers(name: str) -> None:
    assert of_no_stranger(name)


@pytest.mark.parametrize(
    "name", ["rebound.example.com", "127.0.0.1.example.com", "localhost.example.com", "1.2.3.4.5"]
)
def test_a_name_in_the_public_tree_may_be_a_strangers(name: str) -> None:
    assert not of_no_stranger(name)


def test_only_this_machine_reaches_loopback() -> None:
    assert loopback("127.0.0.2")
    assert loopback("::1")
    assert not loopback("0.0.0.0")
    assert not loopback("::")
