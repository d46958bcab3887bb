"""What the wire tests share: a scripted origin, and clients that speak to the proxy before it.

One proxy lasts for a test module; no connection lasts longer than its test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.authority import Authority
from tests.e2e.conftest import Front
from tests.e2e.wire.client import HOST, Client, Dial
from tests.e2e.wire.draining import LONG, Draining, Start
from tests.e2e.wire.reloading import Reloading, Reloads
from tests.programs import Hopward
from tests.scripted_origin import ScriptedOrigin
from tests.tls_client import TLSClient


@pytest.fixture(scope="module")
def listening() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    """The proxy of a module that needs nothing configured but where the origin is."""
    return front({HOST: listening.url})


@pytest.fixture
def origin(listening: ScriptedOrigin) -> Iterator[ScriptedOrigin]:
    yield listening
    listening.hang_up()


@pytest.fixture
def dial(proxy: Hopward, origin: ScriptedOrigin, authority: Authority) -> Iterator[Dial]:
    with ExitStack() as connections:

        def connect(host: str = HOST) -> Client:
            wire = TLSClient(proxy.https, host, cafile=authority.pem)
            return Client(connections.enter_context(wire))

        yield connect


@pytest.fixture
def start(front: Front, origin: ScriptedOrigin, authority: Authority) -> Iterator[Start]:
    with ExitStack() as connections:

        def begin(drain: str = LONG, **settings: object) -> Draining:
            proxy = front({HOST: origin.url}, timeouts={"drain": drain}, **settings)
            return Draining(proxy, authority, connections)

        yield begin


@pytest.fixture
def reloads(
    front: Front,
    configured: Callable[..., dict[str, object]],
    origin: ScriptedOrigin,
    authority: Authority,
) -> Iterator[Reloads]:
    with ExitStack() as connections:

        def begin(sites: Mapping[str, object] | None = None, **settings: object) -> Reloading:
            proxy = front(sites or {HOST: origin.url}, **settings)
            return Reloading(proxy, configured, authority, connections)

        yield begin
