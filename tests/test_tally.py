"""Figures that outlive the process that counts them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest

from proxy.steps import at_once
from proxy.tally import SIZE, Kind, Series, Tallies, Tally
from tests.programs import wait_for

REQUESTS = ("requests", "a.example", "200")
OPEN = Series(("open",), Kind.GAUGE)


def forked(life: Callable[[], None]) -> int:
    """The process id of a child whose whole life is this."""
    child = os.fork()
    if not child:
        try:
            life()
        finally:
            os._exit(1 if sys.exc_info()[0] else 0)
    return child


def ended(child: int) -> int:
    """How a child ended, awaited: 0 when well, less than 0 by that signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def counts(tallies: Tallies) -> dict[tuple[str, ...], list[int]]:
    return {series.key: values for series, values in tallies.read()}


# What is counted


def test_a_series_begins_at_zero(tallies: Tallies) -> None:
    tallies.take().place(Series(REQUESTS))
    assert counts(tallies) == {REQUESTS: [0]}


def test_label_sets_may_appear_at_any_time(tallies: Tallies) -> None:
    tally = tallies.take()
    tally.add(REQUESTS)
    assert counts(tallies) == {REQUESTS: [1]}
    tally.add(("requests", "b.example", "404"), 2)
    assert counts(tallies) == {REQUESTS: [1], ("requests", "b.example", "404"): [2]}


def test_labels_may_hold_any_text(tallies: Tallies) -> None:
    odd = ("requests", "", 'bücher "a"\\\n', "日本")
    tallies.take().add(odd)
    assert counts(tallies) == {odd: [1]}


def test_a_histogram_is_one_series_of_several_values(tallies: Tallies) -> None:
    tally = tallies.take()
    place = tally.place(Series(("seconds",), width=3))
    for value in range(3):
        tally.values[place + value] += value
    assert counts(tallies) == {("seconds",): [0, 1, 2]}


def test_a_series_that_became_wider_is_another_one(tallies: Tallies) -> None:
    tally = tallies.take()
    assert tally.place(Series(("seconds",), width=3)) != tally.place(Series(("seconds",), width=4))


# Several processes


def test_what_a_child_counted_is_known_after_its_end(tallies: Tallies) -> None:
    tally = tallies.take()
    assert ended(forked(lambda: tally.add(REQUESTS, 3))) == 0
    assert counts(tallies) == {REQUESTS: [3]}


def test_counters_of_all_processes_add_up(tallies: Tallies) -> None:
    first, second = tallies.take(), tallies.take()
    first.add(REQUESTS, 2)
    second.add(REQUESTS, 3)
    assert counts(tallies) == {REQUESTS: [5]}


@pytest.mark.parametrize(
    ("kind", "merged"), [(Kind.GAUGE, 6), (Kind.LEAST, 1), (Kind.MOST, 3), (Kind.COUNTER, 6)]
)
def test_the_kind_says_how_several_become_one(tallies: Tallies, kind: Kind, merged: int) -> None:
    for value in (2, 1, 3):
        tally = tallies.take()
        tally.values[tally.place(Series(("x",), kind))] = value
    assert counts(tallies) == {("x",): [merged]}


@pytest.mark.parametrize("kind", [Kind.LEAST, Kind.MOST])
def test_a_least_or_most_that_a_process_has_not_set_does_not_count(
    tallies: Tallies, kind: Kind
) -> None:
    series = Series(("x",), kind)
    tallies.take().place(series)
    assert counts(tallies) == {}
    other = tallies.take()
    other.values[other.place(series)] = 5
    assert counts(tallies) == {("x",): [5]}


def test_a_process_sees_the_tallies_that_are_made_after_its_fork(tallies: Tallies) -> None:
    tallies.take()
    receive, send = os.pipe()

    def look() -> None:
        os.read(receive, 1)
        os._exit(counts(tallies)[REQUESTS][0])

    child = forked(look)
    tallies.take().add(REQUESTS, 7)
    os.write(send, b".")
    assert ended(child) == 7
    os.close(receive)
    os.close(send)


# One process after the other


def test_who_takes_a_tally_over_goes_on_with_its_counters(tallies: Tallies) -> None:
    tally = tallies.take()
    forked_first = forked(lambda: tally.add(REQUESTS, 3))
    assert ended(forked_first) == 0
    tallies.release(tally)
    successor = tallies.take()
    assert ended(forked(lambda: successor.add(REQUESTS, 4))) == 0
    assert len(list(tallies)) == 1
    assert counts(tallies) == {REQUESTS: [7]}


def test_gauges_end_with_their_process_and_counters_do_not(tallies: Tallies) -> None:
    tally = tallies.take()
    tally.add(REQUESTS)
    tally.values[tally.place(OPEN)] = 5
    tally.values[tally.place(Series(("healthy",), Kind.LEAST))] = 0
    tallies.release(tally)
    assert counts(tallies) == {REQUESTS: [1]}
    tallies.take()
    assert counts(tallies) == {REQUESTS: [1], OPEN.key: [0]}


def test_a_tally_in_use_is_given_to_nobody_else(tallies: Tallies) -> None:
    first, second = tallies.take(), tallies.take()
    assert first is not second
    tallies.release(first)
    assert tallies.take() is first


def test_a_process_is_found_by_its_id_from_its_beginning_to_its_end(tallies: Tallies) -> None:
    tallies.take()
    tally = tallies.take()
    assert tallies.held_by(os.getpid()) is None
    tally.begin()
    assert tallies.held_by(os.getpid()) is tally
    tallies.release(tally)
    assert tallies.held_by(os.getpid()) is None


def test_a_heartbeat_tells_when_a_process_was_well_last(
    tallies: Tallies, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = tallies.take()
    assert tally.heartbeat == 0.0
    monkeypatch.setattr("time.monotonic_ns", lambda: 12_500_000_000)
    tally.beat()
    assert tally.heartbeat == 12.5
    tallies.release(tally)
    assert tallies.take().heartbeat == 0.0


# The end of a process in the middle of a write


def count_without_end(tally: Tally) -> None:
    """Label set after label set, each counted, and how many there were in a series of its own."""
    whole = tally.place(Series(("whole",)))
    number = 0
    while True:
        tally.add(("n", str(number % 2_000)))
        tally.values[whole] += 1
        number += 1


@pytest.mark.parametrize("generations", [10])
def test_nothing_is_lost_or_doubled_when_writers_are_killed(
    tallies: Tallies, generations: int
) -> None:
    for _ in range(generations):
        writers = [tallies.take(), tallies.take()]
        children = [forked(lambda tally=tally: count_without_end(tally)) for tally in writers]  # type: ignore[misc]
        before = counts(tallies).get(("whole",), [0])[0]
        for _ in range(5):
            _is_sensible(counts(tallies), before)
        wait_for(lambda before=before: counts(tallies).get(("whole",), [0])[0] > before)  # type: ignore[misc]
        for child in children:
            os.kill(child, signal.SIGKILL)
        assert [ended(child) for child in children] == [-signal.SIGKILL] * 2
        for tally in writers:
            tallies.release(tally)
    found = counts(tallies)
    # Each killed writer may have been between its two counts, and no further.
    apart = sum(values[0] for key, values in found.items() if key[0] == "n") - found["whole",][0]
    assert 0 <= apart <= 2 * generations
    assert len(list(tallies)) == 2


def _is_sensible(found: dict[tuple[str, ...], list[int]], at_least: int) -> None:
    assert all(key[0] == "n" and key[1].isdecimal() for key in found if key != ("whole",))
    assert all(value >= 0 for [value] in found.values())
    assert found.get(("whole",), [at_least])[0] >= at_least


def test_what_a_killed_writer_left_behind_the_end_is_overwritten(tallies: Tallies) -> None:
    tally = tallies.take()
    tally.add(REQUESTS)
    tally.values[tally.place(Series(REQUESTS)) + 1 : SIZE // 8] = memoryview(
        b"\xff" * (SIZE - 8 * (tally.place(Series(REQUESTS)) + 1))
    ).cast("q")
    assert counts(tallies) == {REQUESTS: [1]}
    tally.place(OPEN)
    assert counts(tallies) == {REQUESTS: [1], OPEN.key: [0]}


# When the room ends


def test_what_finds_no_room_counts_under_other_and_that_is_told(tallies: Tallies) -> None:
    tally = tallies.take()
    long = "x" * 65_000
    number = 0
    while not tally.overflows:
        tally.add(("requests", f"{long}{number}", "200"))
        number += 1
    tally.add(("requests", "b", long))
    found = counts(tallies)
    assert found["requests", "other", "other"] == [2]
    assert tallies.overflows == 2
    assert len(found) == number
    assert sum(values[0] for values in found.values()) == number + 1


# An upgrade in place


def test_after_an_upgrade_in_place_the_figures_go_on(tallies: Tallies) -> None:
    survivor, ended_one = tallies.take(), tallies.take()
    survivor.add(REQUESTS, 2)
    ended_one.add(REQUESTS, 3)
    tallies.release(ended_one)
    adopted = Tallies.adopt(tallies.descriptor)
    adopted.take().add(REQUESTS, 4)
    assert len(list(adopted)) == 2
    survivor.add(REQUESTS, 5)
    assert counts(adopted) == {REQUESTS: [14]}


def test_figures_of_another_layout_are_not_adopted(tallies: Tallies) -> None:
    tallies.take().values[0] += 1
    with pytest.raises(ValueError, match="laid out in another way"):
        Tallies.adopt(tallies.descriptor)


def test_without_files_in_memory_a_nameless_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    tallies = Tallies()
    tallies.take().add(REQUESTS)
    assert counts(Tallies(tallies.descriptor)) == {REQUESTS: [1]}
    assert os.fstat(tallies.descriptor).st_nlink == 0
    os.close(tallies.descriptor)


def test_a_tally_may_stand_alone() -> None:
    tally = Tally.alone()
    tally.add(REQUESTS)
    assert tally.values[tally.place(Series(REQUESTS))] == 1


def test_a_series_that_comes_while_figures_are_read_is_in_the_next_reading(
    tallies: Tallies,
) -> None:
    tally = tallies.take()
    for number in range(600):
        tally.add(("many", str(number)))
    steps = tallies.reading()
    next(steps)
    tally.add(("late",))
    found = {series.key: values for series, values in at_once(steps)}
    assert all(found["many", str(number)] == [1] for number in range(600))
    assert counts(tallies)[("late",)] == [1]
