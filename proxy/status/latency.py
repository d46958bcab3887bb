"""How long requests take, from a histogram's buckets. Pure.

Theory. A bucket says how many requests ended between its bounds, not when; within it they are taken
to be spread evenly, as Prometheus' histogram_quantile does. So a quantile is off by less than the
width of its bucket, and one beyond the last bound is told as that bound.
"""

from collections.abc import Sequence
from itertools import pairwise

from ..metrics import SECONDS

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def quantiles(counts: Sequence[int]) -> dict[str, float] | None:
    """The QUANTILES in seconds; None where nothing was counted.

    `counts` has one number for each bucket of SECONDS, and that of the rest.
    """
    if not any(counts):
        return None
    return {name: _quantile(counts, share) for name, share in QUANTILES.items()}


def _quantile(counts: Sequence[int], share: float) -> float:
    rank, below = share * sum(counts), 0
    for count, (lower, upper) in zip(counts, pairwise((0.0, *SECONDS)), strict=False):
        if count and below + count >= rank:
            return round(lower + (upper - lower) * (rank - below) / count, 6)
        below += count
    return float(SECONDS[-1])
