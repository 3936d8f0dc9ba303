"""How long do operations take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dipsim.kernels import Float64Array
from dipsim.profile import ComputeUnit


class Reach(NamedTuple):
    """What is reached by those who work on a step, all that it has divided by the time until the last of them is done.

    Attributes:
        ops_per_s: operations; infinite where compute takes no time.
        launch_s: fixed cost.
        bytes_per_s: what they read from DRAM, if the bus carries as much.
    """

    ops_per_s: float
    launch_s: float
    bytes_per_s: float


def reach_of(
    units: Sequence[tuple[ComputeUnit, float]],
    counted_by: ComputeUnit,
    weight_bits: float,
    skips_columns: bool,
    bus_bytes_per_s: float,
) -> Reach:
    """Of units that work at once.

    Args:
        units: each with its share of the operations, and of what is read for them.
        counted_by: the unit by whose precision operations are counted.
        weight_bits: of the weights.
        skips_columns: whether products leave columns out.
        bus_bytes_per_s: what a unit reads alone that has no rate of its own.
    """
    counted = Compute(counted_by).operations(1, weight_bits)
    parts = []
    for unit, share in units:
        factor = Compute(unit).operations(1, weight_bits) / counted
        efficiency = unit.sparse_efficiency if skips_columns else 1.0
        bytes_per_s = min(unit.dram_bytes_per_s or bus_bytes_per_s, bus_bytes_per_s)
        ops_per_s = (unit.ops_per_s or np.inf) * efficiency / (share * factor)
        parts.append((ops_per_s, unit.launch_s, bytes_per_s * efficiency / share))
    ops, launches, n_bytes = zip(*parts, strict=True)
    return Reach(min(ops), max(launches), min(n_bytes))


class Compute:
    """One compute unit; without a spec it is infinitely fast."""

    def __init__(self, spec: ComputeUnit | None) -> None:
        self._spec = spec or ComputeUnit()
        self.select_s_per_column = self._spec.select_s_per_column

    def operations(self, n_weights: float, weight_bits: float) -> float:
        """Operations of a product with so many weights: two each, and more in proportion where a weight is wider than
        what the unit's rate is for."""
        precision_bits = self._spec.precision_bits or weight_bits
        return 2.0 * n_weights * max(1.0, weight_bits / precision_bits)

    def seconds(
        self,
        n_ops: Float64Array,
        ops_per_s: Float64Array | float | None = None,
        launch_s: Float64Array | float | None = None,
    ) -> Float64Array:
        """Time of each launch: its fixed cost and its operations, by the unit's own numbers or by those given; without
        operations nothing is launched."""
        rate = (self._spec.ops_per_s or np.inf) if ops_per_s is None else ops_per_s
        fixed_s = self._spec.launch_s if launch_s is None else launch_s
        return np.where(n_ops > 0, fixed_s + n_ops / rate, 0.0)

    def launch(self, n_ops: float, reach: Reach) -> float:
        """Time of one launch, in plain numbers."""
        return reach.launch_s + n_ops / reach.ops_per_s if n_ops > 0 else 0.0

    def select_seconds(self, n_columns: Float64Array) -> Float64Array:
        """Time to choose a mask from the scores of that many columns."""
        return self._spec.select_s_per_column * n_columns
