"""Origins and clients that break at any moment, on connections that others use next.

The theory is in tests/faults: every byte of content stands in a mark of its own exchange.
`python -m tests.faults MINUTES` goes on for as long as one likes.
"""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.e2e.conftest import Front
from tests.faults.clients import Crowd, statuses
from tests.faults.origin import FaultyOrigin
from tests.faults.plan import HOST, OUTCOMES, WAITING, Plans
from tests.programs import alive

EXCHANGES = 2000
SHORT = {"response_head": "8s", "response_body": "8s"}


class Run:
    """A proxy before a faulty origin, and a crowd of clients that come in several runs."""

    def __init__(self, front: Front, trusting: ssl.SSLContext) -> None:
        self._front, self._trusting = front, trusting

    def of(self, plans: Plans) -> tuple[Crowd, FaultyOrigin]:
        return asyncio.run(self._of(plans))

    async def _of(self, plans: Plans) -> tuple[Crowd, FaultyOrigin]:
        async with FaultyOrigin() as origin:
            proxy = self._front({HOST: f"http://127.0.0.1:{origin.port}"}, timeouts=SHORT)
            before = proxy.workers()
            crowd = Crowd(proxy.https, self._trusting, plans, origin)
            await crowd.ask(EXCHANGES)
            assert proxy.workers() == before
            assert all(map(alive, before))
            assert not proxy.says("Traceback|worker_(died|restarted)")
            return crowd, origin


@pytest.fixture(scope="module")
def run(front: Front, trusting: ssl.SSLContext) -> Run:
    return Run(front, trusting)


@pytest.mark.parametrize("faulty", [0.4, 0.05])
@pytest.mark.parametrize("named", [True, False])
def test_no_byte_of_one_exchange_reaches_another_client(
    run: Run, faulty: float, named: bool
) -> None:
    """Whatever origins and clients do, a client sees its own answer, a part of it, or an error.

    Where answers do not name their token their heads are all alike, so that they take the
    shortest way through the proxy.
    """
    crowd, origin = run.of(Plans(int(faulty * 100) + named, faulty=faulty, named=named))
    assert crowd.wrong == []
    assert origin.wrong == []
    # What crossed on the wire is nobody's fault, but it must be an exception.
    assert len(origin.crossed) < EXCHANGES / 100
    assert statuses(crowd.seen).total() > EXCHANGES * 0.9
    if faulty > 0.3:
        assert {fault for fault, _ in crowd.seen} >= set(OUTCOMES) - {*WAITING}
