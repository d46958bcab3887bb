"""A worker that shows no sign of life is found, one that was merely not seen is not."""

from __future__ import annotations

from proxy.vigil import LOOKS, Vigil


def test_a_worker_that_beats_is_never_stuck() -> None:
    vigil = Vigil()
    assert not any(vigil.stuck({7: float(beat)}) for beat in range(10 * LOOKS))


def test_a_worker_without_a_sign_of_life_is_stuck_after_so_many_looks() -> None:
    vigil = Vigil()
    looks = [vigil.stuck({7: 1.0}) for _ in range(LOOKS + 1)]
    assert looks == [*[[]] * LOOKS, [7]]


def test_a_single_beat_begins_the_count_anew() -> None:
    vigil = Vigil()
    for _ in range(LOOKS):
        vigil.stuck({7: 1.0})
    assert vigil.stuck({7: 2.0}) == []
    assert vigil.stuck({7: 2.0}) == []


def test_each_worker_is_counted_for_itself() -> None:
    vigil = Vigil()
    for beat in range(LOOKS):
        vigil.stuck({7: 1.0, 8: float(beat)})
    assert vigil.stuck({7: 1.0, 8: float(LOOKS)}) == [7]


def test_a_pause_of_the_whole_machine_is_one_look() -> None:
    """The beats then differ from the clock by hours, and nobody is to blame."""
    vigil = Vigil()
    vigil.stuck({7: 1.0})
    assert vigil.stuck({7: 1.0}) == []
    assert vigil.stuck({7: 10_000.0}) == []
