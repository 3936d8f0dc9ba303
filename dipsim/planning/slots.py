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
from dipsim.layouts import pieces_of, reads_of
from dipsim.methods import n_kept_by
from dipsim.model.groups import Group
from dipsim.planning.hit_curves import active_columns, measure_hit_curves
from dipsim.planning.setup import Setup
from dipsim.policies import Fifo, Lru, Window
from dipsim.units import scaled


def slots_of(setup: Setup, budget: str, on_tokens: Callable[[int], None]) -> dict[str, list[int]]:
    """Group name -> slots per layer; none where the policy keeps nothing, and the most that could be there where all
    layers share a cache, which no budget divides.

    Args:
        setup: the run; its slots are not looked at.
        budget: the budget's name.
        on_tokens: called with the tokens of each block of each pass over the trace that the budget asks for.

    Raises:
        DipsimError: the budget broke the rules, or the trace turns out to be damaged.
    """
    cache_bytes = Fraction(setup.dram.cache_bytes)
    if setup.keeps_nothing or setup.shares:
        pinned, left_bytes = pin_dense(setup.model, setup.groups, cache_bytes)
        left_bytes = Fraction(0) if setup.keeps_nothing else left_bytes
        request, layers = BudgetRequest(setup.model, setup.groups, left_bytes), range(setup.model.n_layers)
        most = {own.name: [request.fitting(own, left_bytes, layer) for layer in layers] for own in setup.groups}
        return most | pinned

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
    flash, dram = Flash(setup.profile.flash, setup.io_depth), Dram(setup.profile.dram, setup.unit)
    shares = reads_of(setup.layout, group)
    sizes = [n / group.n_matrices for n in pieces_of(setup.layout, group)]
    parts = [(1 / len(shares), share) for share in shares] or [(size, 1.0) for size in sizes]
    reads = [(share, *flash.one_of_many(group.column_bytes * size)) for size, share in parts]
    moved_bytes, flash_s = (sum(share * own[i] for share, *own in reads) for i in range(2))
    # What costs DRAM its time: a column that it holds, and one that Flash delivers.
    held, delivered = np.array([group.column_bytes, 0.0]), np.array([0.0, moved_bytes])
    _, (hit_s, miss_s) = dram.transfers(held, delivered, setup.reach(group).bytes_per_s)
    return float(max(flash_s + miss_s - hit_s, 0.0))


def warn_where_policies_agree(setup: Setup) -> None:
    """Says where there is no room for anything but what each token uses, so that it does not matter who would leave."""
    if setup.admission != "always" or setup.keeps_nothing or not setup.dram.cache_bytes or setup.shares:
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
            stacklevel=5,
        )


def warn_of_cliff(setup: Setup) -> None:
    """Says where all layers share a cache that has no room for what one token uses."""
    if not setup.shares or setup.keeps_nothing:
        return
    n_active = active_columns(setup)
    parts = [float(n_active[own.name][layer]) * own.bytes_in(layer) for layer, own in setup.cached_stages]
    if (room_bytes := float(setup.competed_bytes)) >= sum(parts):
        return
    # What the other layers use, which is as much for every token, is all that there is room for.
    is_flushed = room_bytes <= sum(parts) - max(parts) and setup.admission == "always"
    is_flushed &= all(n_kept_by(setup.masking, layer, own) is not None for layer, own in setup.cached_stages)
    outcome = "most columns have left when their layer's turn comes again"
    if is_flushed and type(setup.new_policy()) in (Lru, Fifo, Window):
        outcome = "every column has left when its layer's turn comes again, so that nothing is hit"
    warnings.warn(
        f"cache_scope: a token uses {scaled(sum(parts), 'B')} of columns, the cache that all layers share holds "
        f"{scaled(room_bytes, 'B')}: {outcome}; choose cache_scope 'layer', another policy or more memory",
        DipsimWarning,
        stacklevel=5,
    )


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" + (f" to {high:,}" if high > low else "")
