"""Bytes in proportion to those that a token uses."""

from __future__ import annotations

from fractions import Fraction

from dipsim.budgets.protocol import BudgetRequest, register_budget


@register_budget("by-bytes")
def by_bytes(request: BudgetRequest) -> dict[str, list[int]]:
    """Bytes in proportion to those that a token uses, for each group of each layer; what exceeds a group's columns is
    shared again among the others.

    Bytes used are exact where the method keeps a fixed number of columns, else the mean over the trace's first tokens.
    """
    active_bytes = request.active_bytes()
    places = [(group, layer) for group in request.groups for layer in range(request.model.n_layers)]
    needs = [Fraction(float(active_bytes[group.name][layer])) for group, layer in places]
    if not any(needs):
        needs = [Fraction(bool(group.columns_in(layer))) for group, layer in places]
    most = [request.bytes_of(group, group.columns_in(layer), layer) for group, layer in places]
    shares = _shared(request.cache_bytes, needs, most)
    slots: dict[str, list[int]] = {group.name: [] for group in request.groups}
    for (group, layer), share in zip(places, shares, strict=True):
        slots[group.name].append(request.fitting(group, share, layer))
    return slots


def _shared(total: Fraction, needs: list[Fraction], most: list[Fraction]) -> list[Fraction]:
    """The total in proportion to needs, but nobody gets more than his most."""
    shares = list(most)
    hungry = [i for i, need in enumerate(needs) if need]
    for i, need in enumerate(needs):
        if not need:
            shares[i] = Fraction(0)
    while hungry:
        rate = total / sum(needs[i] for i in hungry)
        full = {i for i in hungry if rate * needs[i] >= most[i]}
        if not full:
            for i in hungry:
                shares[i] = rate * needs[i]
            break
        total -= sum(most[i] for i in full)
        hungry = [i for i in hungry if i not in full]
    return shares
