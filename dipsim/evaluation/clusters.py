"""How sure is a ratio of sums over windows of a text, or over sequences of a trace? Tokens of one window are alike, so
that windows count, not tokens: each is a cluster.

With window w's sum of losses S_w and its n_w scored tokens, and m windows, L = sum S_w / sum n_w has the standard error

    se(L) = sqrt( m / (m - 1) * sum (S_w - L n_w)^2 ) / sum n_w

Source: the ratio estimator of cluster samples, W. G. Cochran, Sampling Techniques, 3rd ed., 1977, section 6.3, without
the correction for finite populations. Where all n_w are equal it is std(mean of a window) / sqrt(m).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from dipsim.kernels import Float64Array

_CONFIDENCE = 0.95


def ratio(tops: ArrayLike, bottoms: ArrayLike) -> tuple[float, Float64Array]:
    """A ratio of sums, and what each cluster adds to it, to first order.

    Args:
        tops, bottoms: what is summed above and below the line, [cluster].
    """
    above, below = np.asarray(tops, np.float64), np.asarray(bottoms, np.float64)
    found = float(above.sum() / below.sum())
    return found, (above - found * below) / below.mean()


def standard_error(added: Float64Array) -> float | None:
    """Of a ratio, from what each cluster adds to it; None for a single cluster."""
    n = len(added)
    return float(added.std(ddof=1)) / math.sqrt(n) if n > 1 else None


def reach(added: Float64Array) -> float | None:
    """Half the width of the 95 % confidence interval (Student's t, clusters - 1 degrees of freedom); None for a single
    cluster."""
    error = standard_error(added)
    if error is None:
        return None
    from scipy import stats  # type: ignore[import-untyped]

    return float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(added) - 1)) * error
