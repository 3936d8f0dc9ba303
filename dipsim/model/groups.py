"""Which weights move together: the groups of MLP columns that are masked, cached and read as one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dipsim.errors import DipsimError
from dipsim.model.spec import ModelSpec

Site = Literal["mlp_input", "glu", "gate", "up", "predictor", "router"]
SITES: tuple[Site, ...] = ("mlp_input", "glu", "gate", "up", "predictor", "router")


@dataclass(frozen=True)
class Group:
    """Weights of one layer that are masked, cached and moved by the same columns.

    Attributes:
        name: which matrices it holds, for example `up_gate`.
        site: the scores that mask it; None where it is dense.
        n_columns: columns of the group.
        n_matrices: how many of the three MLP matrices it holds.
        column_weights: weights of one column; a mean where each matrix keeps only some of them.
        column_bytes: bytes of one column, where layers differ of the largest; may be fractional.
        layers: the layers that have the group at all, ascending; None for all of them.
        layer_bytes: bytes of one column in each layer of the model, where they differ; see `bytes_in`.
        per_token: columns that a token uses by the model's own rule, where it has one.
    """

    name: str
    site: Site | None
    n_columns: int
    n_matrices: int
    column_weights: float
    column_bytes: float
    layers: tuple[int, ...] | None = None
    layer_bytes: tuple[float, ...] | None = None
    per_token: int | None = None

    @property
    def skips_columns(self) -> bool:
        """Whether products leave single columns out; an expert is used whole."""
        return self.site not in (None, "router")

    def columns_in(self, layer: int) -> int:
        """Columns of the group in a layer: none where it is absent."""
        return self.n_columns if self.layers is None or layer in self.layers else 0

    def bytes_in(self, layer: int) -> float:
        """Bytes of one column in a layer; 0 where the group is absent."""
        if not self.columns_in(layer):
            return 0.0
        return self.column_bytes if self.layer_bytes is None else self.layer_bytes[layer]


def mlp_group(model: ModelSpec, name: str, site: Site | None) -> Group:
    """One group of the method table: matrices that see x have d columns of f weights, those that see h the reverse,
    but a matrix masked by its own output (`up_down`, `gate_down`, `up_gate_down`) is stored by output column.

    Args:
        model: the model.
        name: which matrices, of up, gate and down, joined by `_`.
        site: the scores that mask them; None where the group is dense.

    Raises:
        DipsimError: other matrices, or a model of experts, whose columns are these.
    """
    if model.mixture is not None:
        raise DipsimError(
            f"model '{model.name}' is a mixture of experts, whose MLPs are not masked inside; choose method 'experts' "
            "or 'experts-ca'"
        )
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


def expert_groups(model: ModelSpec) -> tuple[Group, ...]:
    """The groups of a mixture: experts by the router, then what every token uses, shared experts and whole MLPs of
    layers without experts.

    Raises:
        DipsimError: the model is no mixture.
    """
    own, d = model.mixture, model.hidden_size
    if own is None:
        raise DipsimError(
            f"model '{model.name}' has no experts, got a method that chooses some; choose 'dip' or 'dip-ca'"
        )
    mixed, n_bytes = model.layers_with_experts, own.expert_bytes
    layers = mixed if own.dense_layers else None
    weights = 3 * d * own.expert_size
    column_bytes = weights * model.mlp_weight_bytes if n_bytes is None else max(n_bytes)
    layer_bytes = None if n_bytes is None or {*n_bytes} == {column_bytes} else tuple(n_bytes)
    groups = [
        Group("experts", "router", own.n_experts, 3, weights, column_bytes, layers, layer_bytes, own.experts_per_token)
    ]
    for name, width, where in (
        ("shared_experts", own.shared_expert_size, layers),
        ("dense_mlp", model.intermediate_size if own.dense_layers else 0, tuple(own.dense_layers)),
    ):
        if width:
            groups.append(Group(name, None, d, 3, 3 * width, 3 * width * model.mlp_weight_bytes, where))
    return tuple(groups)


def site_width(model: ModelSpec, site: str) -> int:
    """Scores of one token and layer at a site; 0 of a router that the model does not have."""
    if site == "router":
        return 0 if model.mixture is None else model.mixture.n_experts
    return model.hidden_size if site == "mlp_input" else model.intermediate_size


def n_kept(keep: float, n_columns: int) -> int:
    """Columns a top-k keeps: max(1, floor(keep * n))."""
    return min(n_columns, max(1, math.floor(keep * n_columns)))
