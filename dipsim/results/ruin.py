"""Is so much left out that models of this size are known to break?"""

from __future__ import annotations

import warnings

from dipsim.errors import DipsimWarning
from dipsim.model import ModelSpec

# Measured on models of 0.135 to 1.5 billion weights: benchmarks/models/README.md, "How far to trust a proxy".
_FEWEST_WEIGHTS, _MOST_WEIGHTS = 0.1e9, 2e9
_MOST_ERROR = 0.3


def warn_of_ruin(model: ModelSpec, mlp_error: float | None) -> None:
    """Says so where perplexity suffers; of other sizes nothing is known."""
    n_weights = model.mlp_weights + model.pinned_weights.sum() + model.lm_head_weights
    if mlp_error is None or mlp_error <= _MOST_ERROR or not _FEWEST_WEIGHTS <= n_weights <= _MOST_WEIGHTS:
        return
    warnings.warn(
        f"mlp_error: {mlp_error:.2f}; above {_MOST_ERROR}, perplexity of models of this size was found to rise by 15 "
        "to 45 % and soon far more: a higher density, or a higher gamma, loses less",
        DipsimWarning,
        stacklevel=4,
    )
