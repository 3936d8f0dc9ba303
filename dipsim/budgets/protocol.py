"""What a budget is asked and must answer, the rules that hold for all of them, and how one is found by name.

A budget is a function of one `BudgetRequest`. It divides cache bytes among groups whose columns compete for them; that
dense groups beside masked ones come first is settled before it is asked, and what it answers is checked.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TypeVar

from dipsim.errors import DipsimError
from dipsim.kernels import Float64Array, Int64Array
from dipsim.model import ModelSpec
from dipsim.model.groups import Group
from dipsim.registry import Registry, blaming

Slots = dict[str, list[int]]
# Of bytes that are no whole numbers, such as those of 4.8 bits a weight, at most this share.
LOST_IN_FLOATS = Fraction(1, 10**12)


@dataclass(frozen=True)
class HitCurve:
    """What one cache would hit with so many slots.

    Attributes:
        slots: int64 [point], ascending from 0; between two points hits are taken to be on the line.
        hits: float64 [point], over all counted tokens.
    """

    slots: Int64Array
    hits: Float64Array


def _unmeasured() -> dict[str, Float64Array]:
    raise DipsimError("budget: it measures a trace, and was asked without one")


def _uncounted() -> dict[str, list[HitCurve]]:
    raise DipsimError("budget: it measures a trace, and was asked without one")


@dataclass(frozen=True)
class BudgetRequest:
    """What a budget divides, and what it may know to do so.

    Attributes:
        model: the model.
        groups: the groups that share the bytes: the masked ones, or all of a method that masks none.
        cache_bytes: bytes to divide over all layers, as an exact number, never to be exceeded; `fitting` turns a share
            of them into slots.
        saved_s_per_hit: group name -> seconds that a hit saves: a column's read from Flash less that from DRAM.
        active_bytes: measures, when called, group name -> bytes per token, float64 [layer]; reads little of the trace.
        hit_curves: measures, when called, group name -> a curve for each layer; a pass over the trace.
    """

    model: ModelSpec
    groups: tuple[Group, ...]
    cache_bytes: Fraction
    saved_s_per_hit: dict[str, float] = field(default_factory=dict)
    active_bytes: Callable[[], dict[str, Float64Array]] = _unmeasured
    hit_curves: Callable[[], dict[str, list[HitCurve]]] = _uncounted

    def fitting(self, group: Group, n_bytes: Fraction | float, layer: int | None = None) -> int:
        """Columns of the group that fit into so many bytes of a layer, at most all of them; without a layer, of the
        largest. Where bytes are fractions, what floats have lost of a share keeps no column out."""
        n_columns = group.n_columns if layer is None else group.columns_in(layer)
        return min(n_columns, _fitting(n_bytes, _bytes(group, layer))) if n_columns else 0

    def bytes_of(self, group: Group, slots: int, layer: int | None = None) -> Fraction:
        """Exact bytes of so many columns of the group in a layer; without one, of the largest."""
        return slots * _bytes(group, layer)


def _fitting(n_bytes: Fraction | float, column_bytes: Fraction) -> int:
    return math.floor(Fraction(n_bytes) / column_bytes * (1 + LOST_IN_FLOATS))


def _bytes(group: Group, layer: int | None) -> Fraction:
    return Fraction(group.column_bytes if layer is None else group.bytes_in(layer))


Budget = Callable[[BudgetRequest], Slots]
budgets: Registry[Budget] = Registry("budget", entry_point_group="dipsim.budgets")
B = TypeVar("B", bound=Budget)


def register_budget(name: str) -> Callable[[B], B]:
    """Decorator: the function is found under this name from now on. It is given a `BudgetRequest` and returns group
    name -> slots per layer.

    Raises:
        DipsimError: the name is taken.
    """
    return budgets.register(name)  # type: ignore[return-value]


def pin_dense(model: ModelSpec, groups: Sequence[Group], cache_bytes: Fraction) -> tuple[Slots, Fraction]:
    """Dense groups beside masked ones: pinned first, as much as fits, the same in every layer that
    has them.

    Every token uses all of their columns, so that no byte can serve better anywhere else.

    Returns:
        Their slots, and the bytes that are left.
    """
    slots: Slots = {}
    if any(group.site is not None for group in groups):
        for group in groups:
            if group.site is None:
                layers = [layer for layer in range(model.n_layers) if group.columns_in(layer)]
                layer_bytes = cache_bytes / len(layers)
                n_pinned = min(group.n_columns, _fitting(layer_bytes, Fraction(group.column_bytes)))
                slots[group.name] = [n_pinned if layer in layers else 0 for layer in range(model.n_layers)]
                cache_bytes -= len(layers) * n_pinned * Fraction(group.column_bytes)
    return slots, cache_bytes


def allot(name: str, request: BudgetRequest) -> Slots:
    """Slots of every group in every layer by the budget of that name, dense groups beside masked ones first.

    Args:
        name: the budget.
        request: all groups of the method, and all cache bytes.

    Returns:
        Group name -> slots per layer, at most the group's columns.

    Raises:
        DipsimError: unknown budget, or one that broke the rules.
    """
    budget = budgets[name]
    slots, cache_bytes = pin_dense(request.model, request.groups, request.cache_bytes)
    sharing = tuple(group for group in request.groups if group.name not in slots)
    own = replace(request, groups=sharing, cache_bytes=cache_bytes)
    with blaming(budget, lambda: f"budget '{name}'"):
        answer = budget(own)
    slots |= _checked(name, own, answer)
    return {group.name: slots[group.name] for group in request.groups}


def _checked(name: str, request: BudgetRequest, answer: object) -> Slots:
    names = [group.name for group in request.groups]
    if not isinstance(answer, dict) or sorted(answer) != sorted(names):
        got = list(answer) if isinstance(answer, dict) else answer
        raise DipsimError(f"budget '{name}': got slots for {got!r}; must be a dict of the groups {', '.join(names)}")
    slots: Slots = {}
    for group in request.groups:
        try:
            slots[group.name] = [operator.index(n) for n in answer[group.name]]
        except TypeError:
            raise DipsimError(
                f"budget '{name}': group '{group.name}': got {answer[group.name]!r}; must be whole numbers, one for "
                "each layer"
            ) from None
        if len(slots[group.name]) != request.model.n_layers or not all(
            0 <= n <= group.columns_in(layer) for layer, n in enumerate(slots[group.name])
        ):
            raise DipsimError(
                f"budget '{name}': group '{group.name}': got slots {slots[group.name]}; must be from 0 to its "
                f"{group.n_columns} columns, one for each of {request.model.n_layers} layers"
            )
    n_bytes = sum(
        request.bytes_of(group, n, layer) for group in request.groups for layer, n in enumerate(slots[group.name])
    )
    if n_bytes > request.cache_bytes * (1 + LOST_IN_FLOATS):
        raise DipsimError(
            f"budget '{name}': got slots of {float(n_bytes):,} bytes; there are {float(request.cache_bytes):,}"
        )
    return slots
