"""Bytes go where one more of them saves most seconds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dipsim.budgets.protocol import BudgetRequest, HitCurve, register_budget
from dipsim.budgets.uniform import uniform
from dipsim.model.groups import Group


@register_budget("marginal")
def marginal(request: BudgetRequest) -> dict[str, list[int]]:
    """Slots go where a byte saves most seconds, by hit curves of the very tokens that are simulated.

    That makes it an upper bound for a split that was found on other text. Each curve (one for each group of each layer)
    is made concave; its steps are taken in order of seconds saved per byte until the bytes are spent, equal ones in the
    order of layers. Never worse than `uniform` by the curves' own estimate: where it would be (part of a step may save
    less than its share), it is `uniform`.

    The estimate counts hits, each worth the seconds of one read at a full queue. It does not see that neighbouring
    columns join into one read, that DRAM and Flash work at once, or that a cache-aware mask drops columns to get hits:
    look at `retained_magnitude` too.
    """
    curves = request.hit_curves()
    slots = _greedy(request, curves)
    even = uniform(request)
    return slots if saved_s(request, curves, slots) >= saved_s(request, curves, even) else even


def saved_s(request: BudgetRequest, curves: dict[str, list[HitCurve]], slots: dict[str, list[int]]) -> float:
    """Seconds that the hits of these slots save, by the curves."""
    return sum(
        request.saved_s_per_hit[group.name] * float(np.interp(n, curve.slots, curve.hits))
        for group in request.groups
        for n, curve in zip(slots[group.name], curves[group.name], strict=True)
    )


def _greedy(request: BudgetRequest, curves: dict[str, list[HitCurve]]) -> dict[str, list[int]]:
    slots = {group.name: [0] * request.model.n_layers for group in request.groups}
    steps: list[tuple[float, int, Group, int, int]] = []
    for layer in range(request.model.n_layers):
        for group in request.groups:
            if not group.columns_in(layer):
                continue
            corners = concave(curves[group.name][layer])
            for (n, hits), (more, more_hits) in pairwise(corners):
                saved = (more_hits - hits) * request.saved_s_per_hit[group.name]
                steps.append((-saved / ((more - n) * group.bytes_in(layer)), len(steps), group, layer, more - n))
    left = request.cache_bytes
    for _, _, group, layer, n_wanted in sorted(steps, key=lambda step: step[:2]):
        n_taken = min(n_wanted, request.fitting(group, left, layer))
        slots[group.name][layer] += n_taken
        left -= request.bytes_of(group, n_taken, layer)
    return slots


def concave(curve: HitCurve) -> list[tuple[int, float]]:
    """Corners (slots, hits) of the lowest concave curve that is nowhere below this one, and does not fall."""
    corners: list[tuple[int, float]] = []
    highest = np.maximum.accumulate(curve.hits)
    for n, hits in zip(curve.slots.tolist(), highest.tolist(), strict=True):
        while len(corners) > 1:
            (before, hits_before), (last, last_hits) = corners[-2:]
            if (last_hits - hits_before) * (n - last) > (hits - last_hits) * (last - before):
                break
            corners.pop()
        corners.append((n, hits))
    return corners
