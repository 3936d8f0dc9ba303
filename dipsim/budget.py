"""How is DRAM divided: pinned weights, KV cache, and slots of the weight cache per layer and group."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from dipsim.errors import DipsimError, DipsimWarning
from dipsim.groups import Group
from dipsim.model import ModelSpec
from dipsim.registry import Registry
from dipsim.units import scaled


@dataclass(frozen=True)
class DramPlan:
    """Bytes of DRAM by use: `capacity_bytes` is what this model may use in all, and `streamed_pinned_bytes` of the
    pinned weights do not fit and come from Flash each token."""

    capacity_bytes: float
    pinned_bytes: float
    kv_bytes: float
    cache_bytes: float
    streamed_pinned_bytes: float


def plan_dram(model: ModelSpec, capacity_bytes: float, n_positions: int, stream_pinned: bool = True) -> DramPlan:
    """Cache bytes = capacity - pinned weights - KV cache at full context.

    Args:
        model: the model.
        capacity_bytes: DRAM that this model may use.
        n_positions: positions of the KV cache at full context.
        stream_pinned: read what does not fit of the pinned weights from Flash each token, instead of refusing.

    Raises:
        DipsimError: the KV cache does not fit, or the pinned weights do not and may not be streamed.
    """
    kv_bytes = model.kv_bytes_per_position * n_positions
    cache_bytes = capacity_bytes - model.pinned_bytes - kv_bytes
    if kv_bytes > capacity_bytes:
        raise DipsimError(
            f"dram: KV cache of {n_positions} positions, got {scaled(capacity_bytes, 'B')}; "
            f"it alone needs {scaled(kv_bytes, 'B')}"
        )
    overflow = max(0.0, -cache_bytes)
    if overflow and not stream_pinned:
        raise DipsimError(
            f"dram: too small for attention, LM head and KV cache, got {scaled(capacity_bytes, 'B')}; they need "
            f"{scaled(capacity_bytes + overflow, 'B')} (or let the overflow be streamed)"
        )
    if overflow:
        warnings.warn(
            f"attention and LM head do not fit into DRAM: {scaled(overflow, 'B')} of them are streamed from Flash "
            "every token, and no MLP column is cached",
            DipsimWarning,
            stacklevel=3,
        )
    return DramPlan(capacity_bytes, model.pinned_bytes, kv_bytes, max(0.0, cache_bytes), overflow)


Budget = Callable[[ModelSpec, Sequence[Group], float], dict[str, list[int]]]
budgets: Registry[Budget] = Registry("budget")


@budgets.register("uniform")
def uniform(model: ModelSpec, groups: Sequence[Group], cache_bytes: float) -> dict[str, list[int]]:
    """Slots of each group in every layer: the same bytes for each masked matrix.

    Dense groups beside masked ones come first: as much of them as fits is pinned, and the masked ones share the rest.
    A method without masked groups shares all of it among its dense ones.

    Returns:
        Group name -> slots per layer, at most the group's columns.
    """
    masked = [group for group in groups if group.site is not None] or list(groups)
    layer_bytes = Fraction(cache_bytes) / model.n_layers
    slots: dict[str, list[int]] = {}
    for group in groups:
        if group not in masked:
            fitting = min(group.n_columns, math.floor(layer_bytes / Fraction(group.column_bytes)))
            layer_bytes -= fitting * Fraction(group.column_bytes)
            slots[group.name] = [fitting] * model.n_layers
    n_matrices = sum(group.n_matrices for group in masked)
    for group in masked:
        share = layer_bytes * group.n_matrices / n_matrices
        fitting = min(group.n_columns, math.floor(share / Fraction(group.column_bytes)))
        slots[group.name] = [fitting] * model.n_layers
    return {group.name: slots[group.name] for group in groups}
