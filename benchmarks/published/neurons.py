"""Methods and a policy that published systems use and dipsim does not ship."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dipsim import Method, ModelSpec, ScorePolicy, kernels
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.model.groups import Group, mlp_group, n_kept
from dipsim.policies import Place


@dataclass(frozen=True)
class Neurons(Method):
    """Whole neurons, the rows and columns of all matrices together, as a perfect predictor would choose them.

    Args:
        keep: share of neurons with the highest scores that a token uses.
        n_matrices: 3 of a gated MLP, 2 of one without a gate.
        column_bytes: a neuron's bytes where they are padded; None for its weights' bytes.
        hot_share: neurons of lowest index that every token uses whatever their scores.
        fills_cache: token 0 uses all neurons, as a prompt does that is worked on as a whole.
    """

    keep: float
    n_matrices: int = 3
    column_bytes: float | None = None
    hot_share: float = 0.0
    fills_cache: bool = False
    looks_at_residency: ClassVar[bool] = False

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        weights = self.n_matrices * model.hidden_size
        n_bytes = self.column_bytes or weights * model.mlp_weight_bytes
        return (Group("neurons", "glu", model.intermediate_size, self.n_matrices, weights, n_bytes),)

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        kernels.top_k(scores, n_kept(self.keep, group.n_columns), mask)
        n_always = group.n_columns if self.fills_cache and token == 0 else int(self.hot_share * group.n_columns)
        mask[:n_always] = True


@dataclass(frozen=True)
class EveryLinear(Method):
    """Top-k inputs of every matrix, attention's included, which is then cached and streamed like the MLP.

    The trace has no scores at attention's inputs: those at the MLP's stand in for them.
    """

    keep: float
    looks_at_residency: ClassVar[bool] = False

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        d, b = model.hidden_size, model.mlp_weight_bytes
        heads = model.head_dim * (model.n_heads + 2 * model.n_kv_heads)
        attention = Group("q_k_v", "mlp_input", d, 3, heads, heads * b), Group("o", "mlp_input", d, 1, d, d * b)
        return *attention, mlp_group(model, "up_gate", "mlp_input"), mlp_group(model, "down", "glu")

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        kernels.top_k(scores, n_kept(self.keep, group.n_columns), mask)


class LowestIndices(ScorePolicy):
    """With admission `priority`, the columns of lowest index stay: a part of the file that was loaded once."""

    def start(self, place: Place) -> None:
        self.priority = -np.arange(place.n_columns, dtype=np.float64)
