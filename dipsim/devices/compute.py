"""How long do operations take."""

from __future__ import annotations

import numpy as np

from dipsim.kernels import Float64Array
from dipsim.profile import ComputeUnit


class Compute:
    """One compute unit; without a spec it is infinitely fast."""

    def __init__(self, spec: ComputeUnit | None) -> None:
        self._spec = spec or ComputeUnit()
        self.select_s_per_column = self._spec.select_s_per_column
        self.sparse_efficiency = self._spec.sparse_efficiency

    def operations(self, n_weights: float, weight_bits: float) -> float:
        """Operations of a product with so many weights: two each, and more in proportion where a weight is wider than
        what the unit's rate is for."""
        precision_bits = self._spec.precision_bits or weight_bits
        return 2.0 * n_weights * max(1.0, weight_bits / precision_bits)

    def seconds(self, n_ops: Float64Array, shares: Float64Array | float = 1.0, is_prompt: bool = False) -> Float64Array:
        """Time of each launch: its fixed cost and its operations, at a share of the unit's rate; without operations
        nothing is launched.

        Args:
            n_ops: of each launch.
            shares: of the rate.
            is_prompt: whether all tokens of a prompt share the weights.
        """
        rate = self._spec.ops_per_s
        if is_prompt and self._spec.prompt_ops_per_s is not None:
            rate = self._spec.prompt_ops_per_s
        return np.where(n_ops > 0, self._spec.launch_s + (n_ops / (rate * shares) if rate else 0.0), 0.0)

    def launch(self, n_ops: float, share: float = 1.0) -> float:
        """Time of one launch, in plain numbers."""
        if n_ops <= 0:
            return 0.0
        rate = self._spec.ops_per_s
        return self._spec.launch_s + (n_ops / (rate * share) if rate else 0.0)

    def select_seconds(self, n_columns: Float64Array) -> Float64Array:
        """Time to choose a mask from the scores of that many columns."""
        return self._spec.select_s_per_column * n_columns
