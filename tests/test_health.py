"""Whether an origin is well: by a worker's own experience, and by checks."""

from __future__ import annotations

import pytest

from proxy.config import Config, Origin
from proxy.health import (
    CONFIRM_SECONDS,
    FAILURES,
    FALL,
    FORGOTTEN_SECONDS,
    PAUSES,
    SPREAD,
    Check,
    Course,
    Standing,
)

# ---- what a worker's own requests say


def refused(standing: Standing, now: float = 0.0) -> bool:
    return standing.failed(now, "refused", unreachable=True)


def broken(standing: Standing, now: float = 0.0) -> bool:
    return standing.failed(now, "reset", unreachable=False)


def marked_by_requests() -> Standing:
    standing = Standing()
    for _ in range(FAILURES):
        broken(standing)
    assert standing.marked
    return standing


def test_an_origin_that_cannot_be_reached_is_marked_at_once() -> None:
    standing = Standing()
    assert refused(standing)
    assert (standing.marked, standing.reason) == (True, "refused")


def test_unanswered_requests_mark_an_origin_when_there_are_several_in_a_row() -> None:
    standing = Standing()
    assert [broken(standing) for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]


def test_an_answer_in_between_makes_them_no_row() -> None:
    standing = Standing()
    for _ in range(FAILURES * 2):
        broken(standing)
        standing.answered(0.0)
    assert not standing.marked


def test_a_mark_is_told_once() -> None:
    standing = Standing()
    assert refused(standing)
    assert not refused(standing, PAUSES[0])


def test_an_origin_that_was_unreachable_is_not_preferred_until_a_connection_is_opened() -> None:
    """No client is to find out whether it is still away."""
    standing = Standing()
    refused(standing)
    assert not standing.preferred(PAUSES[0])
    assert standing.due(PAUSES[0])
    assert standing.connected(PAUSES[0])
    assert standing.preferred(PAUSES[0])


def test_a_connection_does_not_speak_for_an_origin_that_left_requests_unanswered() -> None:
    standing = marked_by_requests()
    assert not standing.connected(PAUSES[0])
    assert standing.marked


def test_one_request_decides_when_the_pause_is_over() -> None:
    standing = marked_by_requests()
    assert not standing.preferred(PAUSES[0] / 2)
    assert standing.preferred(PAUSES[0])
    standing.tried(PAUSES[0])
    assert not standing.preferred(PAUSES[0])
    assert standing.answered(PAUSES[0])
    assert standing.preferred(PAUSES[0])


def test_each_trial_that_fails_makes_the_pause_longer_up_to_the_longest() -> None:
    standing, now, pauses = Standing(), 0.0, []
    refused(standing)
    for _ in range(len(PAUSES) + 2):
        began = now
        while not standing.due(now):
            now += 0.5
        pauses.append(now - began)
        standing.tried(now)
        refused(standing, now)
    assert pauses == [*PAUSES, PAUSES[-1], PAUSES[-1]]


def test_what_fails_during_a_pause_makes_it_no_longer() -> None:
    """Where all are marked all are tried, so there may be many."""
    standing = Standing()
    refused(standing)
    for _ in range(100):
        refused(standing, PAUSES[0] / 2)
    assert standing.due(PAUSES[0])


def test_a_connection_that_opens_leaves_the_next_pause_long_until_a_request_is_answered() -> None:
    """An origin that comes up only to go down again is not trusted as fast."""
    standing = Standing()
    refused(standing)
    standing.connected(1.0)
    refused(standing, 1.0)
    assert not standing.due(1.0 + PAUSES[0])
    standing.answered(2.0)
    refused(standing, 2.0)
    assert standing.due(2.0 + PAUSES[0])


def test_a_mark_that_no_request_tests_is_forgotten() -> None:
    standing = marked_by_requests()
    assert not standing.forgotten(PAUSES[0])
    assert standing.forgotten(PAUSES[0] + FORGOTTEN_SECONDS)
    assert not standing.marked


def test_an_unreachable_origin_is_not_forgotten() -> None:
    standing = Standing()
    refused(standing)
    assert not standing.forgotten(1e9)


def test_a_standing_says_since_when_it_is_so() -> None:
    standing = Standing()
    refused(standing, 5.0)
    refused(standing, 7.0)
    assert standing.since == 5.0
    standing.connected(9.0)
    assert standing.since == 9.0


# ---- what checks say


def test_the_first_check_decides_at_once() -> None:
    for well in (True, False):
        course = Course(None)
        assert course.went(well=well)
        assert course.healthy is well


def test_an_origin_is_out_after_several_failed_checks_in_a_row() -> None:
    course = Course(True)
    assert [course.went(well=False) for _ in range(FALL)] == [False] * (FALL - 1) + [True]
    assert course.healthy is False


def test_a_good_check_in_between_makes_them_no_row() -> None:
    course = Course(True)
    for _ in range(FALL * 2):
        assert not course.went(well=False)
        assert not course.went(well=True)


def test_one_good_check_brings_an_origin_back() -> None:
    course = Course(False)
    assert course.went(well=True)
    assert course.healthy is True


def test_a_failed_check_is_confirmed_soon() -> None:
    course = Course(True)
    course.went(well=False)
    assert course.pause(10.0, 0.5) == CONFIRM_SECONDS
    course.went(well=False)
    assert course.pause(10.0, 0.5) == 10.0


def test_checks_stray_a_little_from_their_interval() -> None:
    course = Course(True)
    assert course.pause(10.0, 0.0) == 10.0 * (1 - SPREAD)
    assert course.pause(10.0, 1.0) == 10.0 * (1 + SPREAD)


# ---- which checks there are


def checks_of(name: str = "a.example.com", **site: object) -> tuple[Check, ...]:
    written = {"to": ["http://127.0.0.1:1", "http://127.0.0.1:2"], **site}
    return Check.of_route(Config.model_validate({"sites": {name: written}}).sites[name], name)


HEALTH = {"path": "/health", "every": "5s"}


def test_where_no_health_is_asked_for_there_are_no_checks() -> None:
    assert checks_of() == ()


def test_each_origin_of_a_route_is_checked() -> None:
    assert [(each.origin.port, each.path, each.every) for each in checks_of(health=HEALTH)] == [
        (1, "/health", 5.0), (2, "/health", 5.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "host_header", "host"),
    [
        ("a.example.com", "preserve", "a.example.com"),
        ("a.example.com", "upstream", "127.0.0.1:1"),
        ("*.example.com", "preserve", "127.0.0.1:1"),
    ],
)
def test_an_origin_is_asked_as_its_clients_ask_it(name: str, host_header: str, host: str) -> None:
    assert checks_of(name, health=HEALTH, host_header=host_header)[0].host == host


def test_the_same_question_has_the_same_key_after_a_reload() -> None:
    assert checks_of(health=HEALTH) == checks_of(health=HEALTH)


def test_different_questions_have_different_keys() -> None:
    asked = [
        *checks_of(health=HEALTH),
        *checks_of("b.example.com", health=HEALTH),
        *checks_of(health={**HEALTH, "path": "/"}),
        *checks_of(health={**HEALTH, "every": "6s"}),
    ]
    assert len({check.key for check in asked}) == len(asked)


def test_an_origin_is_named_as_it_is_configured() -> None:
    assert [str(check.origin) for check in checks_of(health=HEALTH, to="unix:/run/a.sock")] == [
        "unix:/run/a.sock"
    ]
    assert str(Origin("https", "::1", 443)) == "https://[::1]"
