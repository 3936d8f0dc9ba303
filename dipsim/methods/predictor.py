"""Neurons chosen by a small network that sees the MLP's input (Deja Vu, arXiv 2310.17157)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.methods.protocol import Method, TopK, check_share, in_full, register_method
from dipsim.model import ModelSpec
from dipsim.model.groups import Group, mlp_group, n_kept


@register_method("predictor")
@dataclass(frozen=True)
class Predictor(Method):
    """All three matrices by a predictor of which neurons matter; its own weights are pinned and read every token.

    Source: Deja Vu, arXiv 2310.17157.

    Example: dipsim train-predictor tiny held-out -o predictor.safetensors --tokens 4096 --epochs 1 &&
        dipsim evaluate tiny held-out --method predictor --density 0.7 --predictor predictor.safetensors --tokens 512

    Args:
        density: active share of the three matrices.
        rank: width of the predictor's hidden layer.
    """

    density: float
    rank: int
    looks_at_residency: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_share("density", self.density)
        if self.rank < 1:
            raise DipsimError(f"rank: got {self.rank}; must be at least 1, the width of the predictor's hidden layer")

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """`up_gate_down` by `predictor`."""
        return (mlp_group(model, "up_gate_down", "predictor"),)

    def added_weights(self, model: ModelSpec) -> int:
        """Weights of one layer's predictor: d to rank, rank to f; stored with the bits of the MLP."""
        return self.rank * (model.hidden_size + model.intermediate_size)

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """The top-k of what is predicted."""
        k = n_kept(self.density, group.n_columns)
        kernels.reweighted_top_k(scores, resident, np.float32(1), k, kernels.ANY_THRESHOLD, mask)

    def as_top_k(self, group: Group) -> TopK:
        """What `select` does."""
        return TopK(n_kept(self.density, group.n_columns), in_full)
