"""Do two evaluations of one text differ by more than noise? What is hard in a text is hard for both, so that the
differences of their losses, window by window, tell more than two standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from dipsim.errors import DipsimError
from dipsim.evaluation.clusters import ratio, reach, standard_error
from dipsim.kernels import Float64Array

_LARGEST = 700.0  # a loss whose perplexity is finite


@dataclass(frozen=True)
class Paired:
    """The second evaluation less the first, over the same windows.

    Attributes:
        loss: difference in nats a token.
        loss_se: its standard error, windows as clusters; None for one window.
        loss_interval: its 95 % confidence interval (Student's t); None for one window.
        perplexity: difference of the perplexities.
        perplexity_se: its standard error, to first order; None for one window.
        n_windows: how many there are.
    """

    loss: float
    loss_se: float | None
    loss_interval: tuple[float, float] | None
    perplexity: float
    perplexity_se: float | None
    n_windows: int

    @classmethod
    def of(cls, first: Mapping[str, Any], second: Mapping[str, Any]) -> Self:
        """From the numbers of two evaluations, as `Evaluation.quality()`, their JSON or a sweep's row has them.

        Raises:
            DipsimError: one has no losses by window, or they are of other tokens.
        """
        (own, counts), (other, other_counts) = _windows(first, "the first"), _windows(second, "the second")
        if first["tokens_sha256"] != second["tokens_sha256"] or not np.array_equal(counts, other_counts):
            raise DipsimError("they scored other tokens: text, windows, prompt, stride or BOS differ")
        sums = (own * counts, other * counts)
        (before, added_before), (after, added_after) = (ratio(own, counts) for own in sums)
        difference, added = ratio(sums[1] - sums[0], counts)
        half = reach(added)
        exp_before, exp_after = np.exp(np.minimum([before, after], _LARGEST))
        return cls(
            loss=difference,
            loss_se=standard_error(added),
            loss_interval=None if half is None else (difference - half, difference + half),
            perplexity=float(exp_after - exp_before),
            perplexity_se=standard_error(exp_after * added_after - exp_before * added_before),
            n_windows=len(counts),
        )

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out 0; what no error is known of does not."""
        return self.loss_interval is not None and not self.loss_interval[0] <= 0 <= self.loss_interval[1]

    def __str__(self) -> str:
        """`+20.4 % (95 % interval +12.1 to +29.3 %, paired over 8 windows)`, of the perplexity."""
        if self.loss_interval is None:
            return f"{_percent(self.loss)} (one window tells no error)"
        low, high = self.loss_interval
        interval = f"{_percent(low)} to {_percent(high)}"
        return f"{_percent(self.loss)} (95 % interval {interval}, paired over {self.n_windows} windows)"


def _percent(loss: float) -> str:
    """What a difference of losses is for the perplexity."""
    return f"{100 * math.expm1(min(loss, _LARGEST)):+.3g} %"


def _windows(numbers: Mapping[str, Any], which: str) -> tuple[Float64Array, Float64Array]:
    """Mean loss and scored tokens of each window."""
    given = [numbers.get(name) for name in ("loss_by_window", "scored_by_window")]
    if any(values is None for values in (*given, numbers.get("tokens_sha256"))):
        raise DipsimError(f"{which} has no losses by window")
    try:
        losses, counts = (np.array(values, np.float64) for values in given)
    except (TypeError, ValueError):
        losses = counts = np.zeros(0)
    is_right = losses.ndim == 1 and losses.shape == counts.shape and losses.size > 0
    if not (is_right and np.isfinite([losses, counts]).all() and (counts > 0).all()):
        raise DipsimError(f"{which}: loss_by_window, scored_by_window: must be a finite loss and a count a window")
    return losses, counts
