"""Medians, spreads and ratios: all that is computed from samples."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

median = statistics.median


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile, between the values where need be."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def half_span(values: Sequence[float]) -> float:
    """Half of what the middle half of the values spans."""
    low, high = quartiles(values)
    return (high - low) / 2


def spread(values: Sequence[float]) -> float:
    """Half of what the middle half of the values spans, as a share of the median."""
    middle = median(values)
    return half_span(values) / abs(middle) if middle else 0.0


def paired_ratios(values: Sequence[float | None], base: Sequence[float | None]) -> list[float]:
    """Round by round, how many times the base; rounds without both are left out."""
    pairs = zip(values, base, strict=False)
    return [value / other for value, other in pairs if value is not None and other]


def ratio_interval(
    after: Sequence[float], before: Sequence[float], draws: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Where the ratio of the medians lies with the probability given, by bootstrap.

    The same samples give the same interval: chance begins at a fixed number.
    """
    chance = random.Random(0)
    ratios = []
    for _ in range(draws):
        top = median(chance.choices(after, k=len(after)))
        bottom = median(chance.choices(before, k=len(before)))
        ratios.append(top / bottom if bottom else math.inf)
    ratios.sort()
    outside = (1 - level) / 2
    return ratios[int(draws * outside)], ratios[min(int(draws * (1 - outside)), draws - 1)]


def geometric_mean(values: Sequence[float]) -> float:
    """The mean for ratios."""
    return math.exp(sum(map(math.log, values)) / len(values))


def jain(counts: Sequence[float]) -> float:
    """Jain's index of fairness: 1 where all have the same, 1 / n where one of n has everything."""
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if squares else 1.0
