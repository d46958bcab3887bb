"""How the micro benchmarks are timed: CPU time of one unit, the least of several rounds.

Law: whatever disturbs makes a figure more and never less, so the least is nearest to the truth.
"""

from collections.abc import Callable, Mapping

ROUNDS, UNITS = 15, 2000

Task = Callable[[int], float]
"""Does so many units; returns CPU seconds for each."""


def least(task: Task) -> float:
    """CPU seconds of one unit."""
    return min(task(UNITS) for _ in range(ROUNDS))


def show(tasks: Mapping[str, Task]) -> None:
    """Measure and print."""
    for name, task in tasks.items():
        print(f"{name}: {least(task) * 1e6:.2f} µs")
