"""What a method answers, checked: an answer that is wrong is one line that names the method."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.methods.protocol import RULES, Method, TopK
from dipsim.model import ModelSpec
from dipsim.model.groups import SITES, Group, site_width
from dipsim.registry import blaming, ships_with_dipsim


def groups_of(masking: Method, model: ModelSpec) -> tuple[Group, ...]:
    """The groups of every layer.

    Raises:
        DipsimError: none, not groups, a name twice, or columns, weights or bytes that cannot be.
    """
    who = f"method '{masking.name}': groups"
    with blaming(masking, lambda: who):
        answer: object = masking.groups(model)
    if not isinstance(answer, tuple | list) or not answer or not all(isinstance(one, Group) for one in answer):
        raise DipsimError(f"{who}: got {answer!r}; must be a tuple of groups, at least one, see dipsim.mlp_group")
    names = [group.name for group in answer]
    for group in answer:
        if names.count(group.name) > 1:
            raise DipsimError(f"{who}: got '{group.name}' twice; each name once")
        _check_group(f"{who}: '{group.name}'", group, model)
    return tuple(answer)


def _check_group(who: str, group: Group, model: ModelSpec) -> None:
    if group.site is not None and group.site not in SITES:
        raise DipsimError(f"{who}: got site '{group.site}'; must be None (dense) or one of {', '.join(SITES)}")
    if not isinstance(group.n_columns, int) or group.n_columns < 1:
        raise DipsimError(f"{who}: got {group.n_columns!r} columns; must be a whole number, at least 1")
    if group.site is not None and group.n_columns != (width := site_width(model, group.site)):
        raise DipsimError(
            f"{who}: got {group.n_columns} columns; site '{group.site}' has {width} scores, one for each column"
        )
    if not isinstance(group.n_matrices, int) or group.n_matrices < 1:
        raise DipsimError(f"{who}: got {group.n_matrices!r} matrices; must be a whole number, at least 1")
    for name in ("column_weights", "column_bytes"):
        value = getattr(group, name)
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise DipsimError(f"{who}: got {name} {value!r}; must be above 0 and finite")
    layers = range(model.n_layers)
    if group.layers is not None and (not group.layers or not {*group.layers} <= {*layers}):
        raise DipsimError(f"{who}: got layers {group.layers!r}; must be some of those below {model.n_layers}")
    if group.layer_bytes is not None and (
        len(group.layer_bytes) != model.n_layers
        or any(not 0 < group.bytes_in(layer) <= group.column_bytes for layer in layers if group.columns_in(layer))
    ):
        raise DipsimError(
            f"{who}: got layer_bytes {group.layer_bytes!r}; must be one for each of {model.n_layers} layers, above 0 "
            "and at most column_bytes where the group is"
        )


def in_layer(masking: Method, layer: int) -> Method:
    """The method as it is in one layer."""
    with blaming(masking, lambda: f"method '{masking.name}': in_layer"):
        own: object = masking.in_layer(layer)
    if not isinstance(own, Method):
        raise DipsimError(f"method '{masking.name}': in_layer: got {own!r}; must be a method")
    return own


def added_weights(masking: Method, model: ModelSpec) -> float:
    """Weights that a method adds to each layer, which every token uses.

    Raises:
        DipsimError: no number, negative or infinite.
    """
    who = f"method '{masking.name}': added_weights"
    with blaming(masking, lambda: who):
        n_weights: object = masking.added_weights(model)
    if not isinstance(n_weights, int | float) or not 0 <= n_weights < math.inf:
        raise DipsimError(f"{who}: got {n_weights!r}; must be a number of weights, at least 0")
    return n_weights


def top_k_of(masking: Method, layer: int, group: Group) -> TopK | None:
    """The mask of a group of one layer in the form that is compiled, where the method offers it.

    Raises:
        DipsimError: no top-k of the group's columns.
    """
    own = in_layer(masking, layer)
    if not _holds(own, "as_top_k"):
        return None
    who = f"method '{masking.name}': as_top_k"
    with blaming(own, lambda: who):
        top_k: object = own.as_top_k(group)
    if top_k is None:
        return None
    if not isinstance(top_k, TopK):
        raise DipsimError(f"{who}: got {top_k!r}; must be a dipsim.TopK or None")
    k = _kept(who, top_k.k, group)
    if ships_with_dipsim(own):
        return top_k
    if top_k.rule not in RULES:
        raise DipsimError(f"{who}: rule: got {top_k.rule!r}; must be one of {', '.join(RULES)}")
    for name in ("exempt", "m"):
        n = getattr(top_k, name)
        if not isinstance(n, int) or not 0 <= n <= group.n_columns:
            raise DipsimError(f"{who}: {name}: got {n!r}; must be a whole number from 0 to {group.n_columns}")
    return replace(top_k, k=k, gamma_at=_checked(own, who, top_k.gamma_at))


def _checked(masking: Method, who: str, gamma_at: Callable[[int], float]) -> Callable[[int], float]:
    def checked(token: int) -> float:
        with blaming(masking, lambda: who):
            gamma = float(gamma_at(token))
        if not 0 <= gamma <= 1:
            raise DipsimError(f"{who}: gamma at token {token}: got {gamma}; must be in [0, 1]")
        return gamma

    return checked


def n_kept_by(masking: Method, layer: int, group: Group) -> int | None:
    """Columns of a group of one layer that every token keeps; None where that may vary, or is not known.

    Raises:
        DipsimError: no number of the group's columns.
    """
    if group.site is None:
        return group.n_columns
    own = in_layer(masking, layer)
    if _holds(own, "n_kept"):
        who = f"method '{masking.name}': n_kept"
        with blaming(own, lambda: who):
            n_kept: object = own.n_kept(group)
        if n_kept is not None:
            return _kept(who, n_kept, group)
    top_k = top_k_of(masking, layer, group)
    return None if top_k is None or top_k.rule == "drop" else top_k.k


def _kept(who: str, n: object, group: Group) -> int:
    try:
        kept = operator.index(n)  # type: ignore[arg-type]
    except TypeError:
        kept = 0
    if not 1 <= kept <= group.n_columns:
        raise DipsimError(
            f"{who}: got {n!r} columns of group '{group.name}'; must be a whole number from 1 to {group.n_columns}"
        )
    return kept


def _holds(masking: Method, hook: str) -> bool:
    """Whether what the hook says is still so: no class below the one that defines it does anything of its own, but to
    check its options. Whoever changes what `select` does, or anything that it may call, has to say it anew."""
    below = next(i for i, kind in enumerate(type(masking).__mro__) if hook in vars(kind))
    return not any(
        hasattr(value, "__get__") and not key.startswith("__")
        for kind in type(masking).__mro__[:below]
        for key, value in vars(kind).items()
    )


def choose(
    masking: Method, group: Group, scores: Uint16Array, first_token: int, resident: BoolArray | None = None
) -> BoolArray:
    """bool [token, column]: what a method makes of scores [token, column] where the same columns are always resident.

    Args:
        masking: the method.
        group: one of its groups.
        scores: float16 bit patterns.
        first_token: index of the first token in its sequence.
        resident: bool [column]; None for a method that does not look at it.

    Raises:
        DipsimError: a mask is empty.
    """
    active: BoolArray = np.zeros(scores.shape, np.bool_)
    held: BoolArray = np.zeros(group.n_columns, np.bool_) if resident is None else resident
    for t, own in enumerate(scores):
        select(masking, group, own, held, first_token + t, active[t])
    return active


def select(
    masking: Method, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray
) -> None:
    """Fills `mask`, False until then: see `Method.select`.

    Raises:
        DipsimError: it stays empty, or a mask is returned instead.
    """
    with blaming(masking, lambda: f"method '{masking.name}': select"):
        returned: object = masking.select(group, scores, resident, token, mask)  # type: ignore[func-returns-value]
    if returned is not None:
        raise DipsimError(
            f"method '{masking.name}': select: got {type(returned).__name__} back; must fill 'mask', and return nothing"
        )
    check_mask(masking, group, mask)


def check_mask(masking: Method, group: Group, active: BoolArray) -> None:
    """Refuses a mask [column] of no column.

    Raises:
        DipsimError: it is empty.
    """
    if not active.any():
        raise DipsimError(f"method '{masking.name}': mask of group '{group.name}' is empty; keep a column")
