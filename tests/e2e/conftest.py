"""What the end-to-end tests share: one authority, and a proxy in front of one origin."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.authority import Authority
from tests.programs import Hopward

LISTEN = {"https": "127.0.0.1:0", "http": "127.0.0.1:0", "admin": False}


class Front(Protocol):
    """Starts a proxy that lasts as long as the test module: sites by name, each with its `to`."""

    def __call__(self, sites: Mapping[str, object], **settings: object) -> Hopward: ...


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def trusting(authority: Authority) -> ssl.SSLContext:
    """A standard library context that trusts the authority and nothing else."""
    return ssl.create_default_context(cafile=str(authority.pem))


@pytest.fixture(scope="session")
def configured(authority: Authority) -> Callable[..., dict[str, object]]:
    """A whole configuration for `sites`, each with a certificate of the authority's own."""

    def configuration(sites: Mapping[str, object], **settings: object) -> dict[str, object]:
        return {
            "listen": LISTEN,
            "workers": 1,
            "access_log": "off",
            **settings,
            "sites": {name: _site(authority, name, site) for name, site in sites.items()},
        }

    return configuration


def _site(authority: Authority, name: str, site: object) -> dict[str, object]:
    keys = dict(site) if isinstance(site, Mapping) else {"to": site}
    return {"tls": authority.pair(name).tls(), **keys}


@pytest.fixture(scope="module")
def front(
    configured: Callable[..., dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    with ExitStack() as running:

        def start(sites: Mapping[str, object], **settings: object) -> Hopward:
            folder: Path = tmp_path_factory.mktemp("hopward")
            config = {"store": str(folder / "store"), **configured(sites, **settings)}
            return running.enter_context(Hopward(folder, config))

        yield start
