"""Which weights move together: the groups of MLP columns that are masked, cached and read as one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dipsim.errors import DipsimError
from dipsim.model.spec import ModelSpec

Site = Literal["mlp_input", "glu", "gate", "up", "predictor"]
SITES: tuple[Site, ...] = ("mlp_input", "glu", "gate", "up", "predictor")


@dataclass(frozen=True)
class Group:
    """Weights of one layer that are masked, cached and moved by the same columns.

    Attributes:
        name: which matrices it holds, for example `up_gate`.
        site: the scores that mask it; None where it is dense.
        n_columns: columns of the group.
        n_matrices: how many of the three MLP matrices it holds.
        column_weights: weights of one column; a mean where each matrix keeps only some of them.
        column_bytes: bytes of one column; may be fractional.
    """

    name: str
    site: Site | None
    n_columns: int
    n_matrices: int
    column_weights: float
    column_bytes: float


def mlp_group(model: ModelSpec, name: str, site: Site | None) -> Group:
    """One group of the method table: matrices that see x have d columns of f weights, those that see h the reverse,
    but a matrix masked by its own output (`up_down`, `gate_down`, `up_gate_down`) is stored by output column.

    Args:
        model: the model.
        name: which matrices, of up, gate and down, joined by `_`.
        site: the scores that mask them; None where the group is dense.

    Raises:
        DipsimError: other matrices.
    """
    d, f = model.hidden_size, model.intermediate_size
    matrices = name.split("_")
    if len({*matrices}) != len(matrices) or not {*matrices} <= {"up", "gate", "down"}:
        raise DipsimError(f"group: got '{name}'; must be up, gate and down joined by '_', each once at most")
    n_columns = d if site == "mlp_input" or (site is None and name != "down") else f
    weights = len(matrices) * d * f // n_columns
    return Group(name, site, n_columns, len(matrices), weights, weights * model.mlp_weight_bytes)


def competing(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """The groups whose columns compete for the cache: the masked ones, or all of a method that masks none."""
    all_dense = all(group.site is None for group in groups)
    return tuple(group for group in groups if all_dense or group.site is not None)


def site_width(model: ModelSpec, site: Site) -> int:
    """Scores of one token and layer at a site."""
    return model.hidden_size if site == "mlp_input" else model.intermediate_size


def n_kept(keep: float, n_columns: int) -> int:
    """Columns a top-k keeps: max(1, floor(keep * n))."""
    return min(n_columns, max(1, math.floor(keep * n_columns)))
