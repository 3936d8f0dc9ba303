"""What describes the parts of a model that not every model has: experts, and attention that heads do not tell."""

from __future__ import annotations

from typing import Annotated, Self

import pydantic

from dipsim.model.refusals import MOST_LAYERS
from dipsim.schema import PerLayer, Record

Width = Annotated[int, pydantic.Field(gt=0, le=2**20)]
_Experts = Annotated[int, pydantic.Field(gt=0, le=2**14)]
_SomeLayers = Annotated[list[int], pydantic.Field(max_length=MOST_LAYERS)]


class Mixture(Record):
    """Experts in place of one MLP: gated MLPs of which a router chooses some for each token.

    Attributes:
        n_experts: experts of a layer that has them.
        experts_per_token: how many of them a token uses by the model's own rule.
        expert_size: width of one.
        shared_expert_size: width of all shared experts together, a gated MLP that every token uses beside the others.
        dense_layers: layers with a plain MLP of `intermediate_size` instead, ascending.
        expert_bytes: bytes of one whole expert in each layer as a file stores it, 0 in dense layers; None where they
            follow from the bits.
    """

    n_experts: _Experts
    experts_per_token: _Experts
    expert_size: Width
    shared_expert_size: Annotated[int, pydantic.Field(ge=0, le=2**20)] = 0
    dense_layers: _SomeLayers = pydantic.Field(default_factory=list)
    expert_bytes: PerLayer[Annotated[float, pydantic.Field(ge=0, le=2**50)]] | None = None

    @pydantic.model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.experts_per_token > self.n_experts:
            raise ValueError(
                f"experts_per_token ({self.experts_per_token}) must be at most n_experts ({self.n_experts})"
            )
        if self.dense_layers != sorted({*self.dense_layers}) or any(layer < 0 for layer in self.dense_layers):
            raise ValueError("dense_layers must ascend from 0, each layer once")
        return self

    def check_layers(self, n_layers: int) -> None:
        """Refuses what does not fit so many layers.

        Raises:
            ValueError: a layer beyond them, none with experts, or bytes that are not one number for each.
        """
        if any(layer >= n_layers for layer in self.dense_layers) or len(self.dense_layers) == n_layers:
            raise ValueError(f"mixture.dense_layers must be below n_layers ({n_layers}), and not all of them")
        if self.expert_bytes is not None:
            with_experts = [layer not in self.dense_layers for layer in range(n_layers)]
            if [n_bytes > 0 for n_bytes in self.expert_bytes] != with_experts:
                raise ValueError(
                    f"mixture.expert_bytes must be one for each of {n_layers} layers, 0 in dense ones alone"
                )


class AttentionShape(Record):
    """Attention of one layer whose sizes do not follow from its heads.

    Attributes:
        weights: of all of its matrices.
        kv_width: numbers that it keeps of each position.
    """

    weights: Annotated[int, pydantic.Field(ge=0, le=2**45)]
    kv_width: Annotated[int, pydantic.Field(ge=0, le=2**30)]
