"""How many slots does each cache get: a budget, and what it may ask to be measured."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache

import numpy as np

from dipsim.budgets import BudgetRequest, HitCurve, allot, pin_dense
from dipsim.devices import Dram, Flash
from dipsim.errors import DipsimWarning
from dipsim.kernels import Float64Array
from dipsim.methods import n_kept_by
from dipsim.model.groups import Group
from dipsim.planning.hit_curves import active_columns, measure_hit_curves
from dipsim.planning.setup import Setup


def slots_of(setup: Setup, budget: str, on_tokens: Callable[[int], None]) -> dict[str, list[int]]:
    """Group name -> slots per layer; none where the policy keeps nothing.

    Args:
        setup: the run; its slots are not looked at.
        budget: the budget's name.
        on_tokens: called with the tokens of each block of each pass over the trace that the budget asks for.

    Raises:
        DipsimError: the budget broke the rules, or the trace turns out to be damaged.
    """
    cache_bytes = Fraction(setup.dram.cache_bytes)
    if setup.keeps_nothing:
        pinned, _ = pin_dense(setup.model, setup.groups, cache_bytes)
        return {group.name: pinned.get(group.name, [0] * setup.model.n_layers) for group in setup.groups}

    @cache
    def active_bytes() -> dict[str, Float64Array]:
        n_active = active_columns(setup)
        return {
            group.name: n_active[group.name] * [group.bytes_in(layer) for layer in range(setup.model.n_layers)]
            for group in setup.cached_groups
        }

    @cache  # a pass over the trace, however often it is asked for
    def hit_curves() -> dict[str, list[HitCurve]]:
        return measure_hit_curves(setup, on_tokens)

    saved_s = {group.name: saved_s_per_hit(setup, group) for group in setup.groups}
    return allot(budget, BudgetRequest(setup.model, setup.groups, cache_bytes, saved_s, active_bytes, hit_curves))


def saved_s_per_hit(setup: Setup, group: Group) -> float:
    """Seconds that a hit saves, at least 0: the column's read among many from Flash, with what that costs DRAM, less
    its read from DRAM."""
    flash, dram = Flash(setup.profile.flash), Dram(setup.profile.dram, setup.unit)
    n_regions = 1 if setup.layout.bundled else group.n_matrices
    moved_bytes, flash_s = flash.one_of_many(group.column_bytes / n_regions)
    # What costs DRAM its time: a column that it holds, and one that Flash delivers.
    held, delivered = np.array([group.column_bytes, 0.0]), np.array([0.0, n_regions * moved_bytes])
    _, (hit_s, miss_s) = dram.transfers(held, delivered)
    return float(max(n_regions * flash_s + miss_s - hit_s, 0.0))


def warn_where_policies_agree(setup: Setup) -> None:
    """Says where there is no room for anything but what each token uses, so that it does not matter who would leave."""
    if setup.admission != "always" or setup.keeps_nothing or not setup.dram.cache_bytes:
        return
    said = []
    for group in setup.cached_groups:
        if group.site is None:
            continue
        layers = [layer for layer in range(setup.model.n_layers) if group.columns_in(layer)]
        pairs = [(setup.slots[group.name][layer], n_kept_by(setup.masking, layer, group)) for layer in layers]
        tight = [(slots, kept) for slots, kept in pairs if kept is not None and slots <= kept]
        if 2 * len(tight) > len(layers):
            slots, kept = (_range(numbers) for numbers in zip(*tight, strict=True))
            where = f"{len(tight)} of {len(layers)} layers"
            said.append(f"group '{group.name}' has {slots} in {where} for {kept} active columns")
    if said:
        warnings.warn(
            f"slots: {', '.join(said)}: under admission 'always' every policy does the same there",
            DipsimWarning,
            stacklevel=4,
        )


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" + (f" to {high:,}" if high > low else "")
