"""Trend of a short series of floors: a cautious slope, and whether there is a trend at all.

Both figures come from the slopes of all pairs, so one pass serves them: Theil-Sen takes a
quantile of these slopes, Mann-Kendall counts their signs. Sort of 630 slopes (36 points):
0.1 ms; 120 points are the most anyone should ask for.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

POINTS_MAX: Final = 120


@dataclass(frozen=True, slots=True)
class Trend:
    """What the slopes of all pairs say."""

    slope_low: float
    """Lower quantile of the slopes, per unit of x: growth that can be relied on."""
    z: float
    """Mann-Kendall's statistic with tie correction; above 2.33 a rise with 99 % confidence,
    if the points were independent, which memory never quite is.
    """


def trend_of(xs: Sequence[int], ys: Sequence[int], quantile: float) -> Trend:
    """Judge points in rising order of x; fewer than three show no trend.

    `quantile` is the share of slopes below `slope_low`; 0.5 would be plain Theil-Sen.
    """
    count = len(ys)
    assert count == len(xs), (count, len(xs))
    assert count <= POINTS_MAX, count
    if count < 3:  # noqa: PLR2004 - two points make a line of anything
        return Trend(0.0, 0.0)
    slopes = sorted(
        [(ys[j] - ys[i]) / (xs[j] - xs[i]) for i in range(count - 1) for j in range(i + 1, count)]
    )
    score = len(slopes) - bisect_right(slopes, 0.0) - bisect_left(slopes, 0.0)
    return Trend(slopes[int(quantile * (len(slopes) - 1))], _z(score, ys))


def _z(score: int, ys: Sequence[int]) -> float:
    """Normalise Mann-Kendall's score; equal values lower the variance, not the count."""
    count = len(ys)
    variance = count * (count - 1) * (2 * count + 5)
    for ties in Counter(ys).values():
        variance -= ties * (ties - 1) * (2 * ties + 5)
    if variance == 0 or score == 0:
        return 0.0
    towards_zero = 1 if score > 0 else -1
    return (score - towards_zero) / math.sqrt(variance / 18)
