"""The wire corpus, each case so often within a moment that the proxy knows it by its bytes.

What is known by its bytes goes another way through the proxy (proxy/fast_lane.py). What comes of it
must be what the corpus expects, the first time and ever after.
"""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Front
from tests.e2e.wire.client import Dial
from tests.e2e.wire.test_corpus import (
    asked,
    ended_well,
    looks_like_no_response,
    said,
    served_as_expected,
    serves_the_next,
)
from tests.programs import Hopward
from tests.scripted_origin import ScriptedOrigin
from tests.wire.corpus import HOST, LIMITS, OTHER, Case, cases, expected_of
from tests.wire.speaking import whole

TIMES = 4


def each(*, valid: bool, response: bool) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases(valid=valid, response=response), ids=str)


@pytest.fixture(scope="module")
def proxy(listening: ScriptedOrigin, front: Front) -> Hopward:
    return front({HOST: listening.url, OTHER: listening.url}, limits=LIMITS)


@each(valid=True, response=False)
def test_a_valid_request_reaches_the_origin_as_expected_each_time(
    case: Case, dial: Dial, origin: ScriptedOrigin
) -> None:
    client = dial()
    for _ in range(TIMES):
        client.send(case.octets)
        served_as_expected(case, client, origin)
        if case.client_closed:
            ended_well(client)
            client = dial()


@each(valid=True, response=True)
def test_a_valid_response_reaches_the_client_as_expected_each_time(
    case: Case, dial: Dial, origin: ScriptedOrigin
) -> None:
    for _ in range(TIMES):
        client, call = asked(case, dial, origin)
        said(case, call, whole)
        seen = list(expected_of(client, case.client_sees, case.request.split(b" ")[0]))
        assert seen == [*case.client_sees]
        if case.upstream == "closed" or b" 101 " in seen[-1].lines[0]:
            call.close()
        client.wire.close()


@each(valid=False, response=True)
def test_an_invalid_response_never_looks_like_one_behind_valid_ones(
    case: Case, dial: Dial, origin: ScriptedOrigin
) -> None:
    for _ in range(TIMES):
        serves_the_next(dial(), origin)
        client, call = asked(case, dial, origin)
        said(case, call, whole)
        looks_like_no_response(case, client, call)
