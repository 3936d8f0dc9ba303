"""How little DRAM leaves a slot for each group, and is there as much?"""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

from dipsim.budgets import BudgetRequest, allot
from dipsim.errors import DipsimWarning
from dipsim.planning.dram import bytes_meant
from dipsim.planning.setup import Setup
from dipsim.units import scaled, typed


def warn_of_empty_caches(setup: Setup, budget: str, n_positions: int) -> None:
    """Says where a group gets no slot at all, and which DRAM would do.

    Args:
        setup: the run; its slots are not looked at.
        budget: its budget's name; what others than `uniform` do with some bytes is theirs to say.
        n_positions: positions of the KV cache.
    """
    cache_bytes = setup.dram.cache_bytes
    if setup.keeps_nothing or setup.shares or (cache_bytes and budget != "uniform") or _is_ample(setup):
        return
    slots = allot("uniform", BudgetRequest(setup.model, setup.groups, Fraction(cache_bytes)))
    empty = [f"'{group.name}'" for group in setup.cached_groups if not any(slots[group.name])]
    if empty:
        model = setup.model
        half, half_mlp = (typed(bytes_meant(said, model, n_positions)) for said in ("0.5x", "mlp:0.5"))
        warnings.warn(
            f"slots: no column of group{'s' * (len(empty) > 1)} {', '.join(empty)} fits into its share of the cache's "
            f"{scaled(cache_bytes, 'B')}; from dram {typed(least_dram_bytes(setup))} on each group has a slot in every "
            f"layer (0.5x is {half}, mlp:0.5 is {half_mlp})",
            DipsimWarning,
            stacklevel=3,
        )


def _is_ample(setup: Setup) -> bool:
    """Whether every group surely has a slot in every layer: what a sweep need not work out exactly for each run."""
    cached = setup.cached_groups
    dense_bytes = sum(own.n_columns * own.column_bytes for own in setup.groups if own not in cached)
    matrix_bytes = max(group.column_bytes / group.n_matrices for group in cached)
    layer_bytes = dense_bytes + matrix_bytes * sum(group.n_matrices for group in cached)
    return setup.dram.cache_bytes > 1.01 * setup.model.n_layers * layer_bytes


def least_dram_bytes(setup: Setup) -> int:
    """DRAM from which on the budget `uniform` gives each group a slot in every layer, dense groups beside masked ones
    all of theirs."""
    cached = setup.cached_groups
    layers = range(setup.model.n_layers)
    dense = [own for own in setup.groups if own not in cached]
    dense_bytes = sum(own.columns_in(layer) * Fraction(own.bytes_in(layer)) for own in dense for layer in layers)
    matrix_bytes = max(Fraction(group.column_bytes) / group.n_matrices for group in cached)
    n_matrices = sum(group.n_matrices for group in cached for layer in layers if group.columns_in(layer))
    beside_cache = setup.dram.pinned_bytes + setup.dram.kv_bytes + setup.dram.prefetch_bytes
    least_bytes = Fraction(beside_cache) + dense_bytes + matrix_bytes * n_matrices
    return 1 + math.ceil(least_bytes)  # one for bytes lost in floats
