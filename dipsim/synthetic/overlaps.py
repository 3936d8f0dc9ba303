"""How much of a mask is left some tokens later: the closed form for columns as in `columns`.

A column is active where |z| > h exp(-spread n), z and n normal. Mehler's formula gives the chance that it is so at two
tokens, for z of correlation r, as a power series in r**2; its coefficients are the squares of those of the indicator
of |z| > h in Hermite polynomials, averaged over n.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from dipsim.kernels import Float64Array

# Spreads at which series are known; between them they are interpolated.
_SPREADS = np.linspace(0, 1.5, 76)
MOST_SPREAD = float(_SPREADS[-1])
# Powers of r**2: enough below a correlation of .95 or so.
_POWERS = 64
# Beyond it no double tells the chance from 0.
_FARTHEST = 25.0


def overlap(keep: float, spread: float, correlations: Float64Array) -> Float64Array:
    """Share of a token's active columns that are active at another token.

    Args:
        keep: active share of all columns.
        spread: of the logarithm of what columns are multiplied by, at most `MOST_SPREAD`.
        correlations: [pair of tokens], of a column's z.
    """
    at = min(spread / _SPREADS[1], _SPREADS.size - 1.001)
    below, rest = int(at), at % 1
    table = _series(keep)
    coefficients = (1 - rest) * table[below] + rest * table[below + 1]
    return np.asarray(np.polynomial.polynomial.polyval(np.square(correlations), coefficients))


def correlation(keep: float, spread: float, left: float) -> float:
    """The inverse: of which correlation it is that so much is left."""
    known = np.linspace(0, 0.99, 400)
    return float(np.interp(left, overlap(keep, spread, known), known))


@cache
def _series(keep: float) -> Float64Array:
    """Coefficients [spread, power of r**2]."""
    from scipy.special import ndtr  # type: ignore[import-untyped]

    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    weights = weights / weights.sum()
    factors = np.exp(-np.outer(_SPREADS, nodes))
    low, high = np.full(_SPREADS.size, 1e-6), np.full(_SPREADS.size, 1e3)
    for _ in range(60):  # the border that so many columns are above
        border = np.sqrt(low * high)
        is_low = 2 * ndtr(-border[:, None] * factors) @ weights > keep
        low, high = np.where(is_low, border, low), np.where(is_low, high, border)
    h = np.minimum(border[:, None] * factors, _FARTHEST)
    density = np.exp(-(h**2) / 2) / np.sqrt(2 * np.pi)
    found = [(2 * ndtr(-h)) ** 2]
    before, now = np.ones_like(h), h  # Hermite polynomials of degrees 0 and 1, normalised
    for power in range(1, _POWERS + 1):
        found.append((2 * density * now) ** 2 / (2 * power))
        for degree in (2 * power - 1, 2 * power):
            before, now = now, (h * now - np.sqrt(degree) * before) / np.sqrt(degree + 1)
    return np.asarray(np.array(found).transpose(1, 0, 2) @ weights / keep)
