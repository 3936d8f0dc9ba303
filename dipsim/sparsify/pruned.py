"""A model without its smallest MLP weights, for as long as it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dipsim.methods import MagnitudePruning, Method
from dipsim.sparsify.gated_mlp import GatedMlp, find_gated_mlps
from dipsim.sparsify.loading import LoadedModel


@contextmanager
def pruned(loaded: LoadedModel, masking: Method) -> Iterator[None]:
    """While the body runs, the MLP weights that magnitude pruning leaves out are 0; any other method changes nothing.

    The weights come back even when the body raises. Each matrix keeps its `density` share of largest magnitudes.
    """
    if not isinstance(masking, MagnitudePruning):
        yield
        return
    mlps = find_gated_mlps(loaded.model, loaded.spec.n_layers)
    weights = [matrix for mlp in mlps for matrix in _matrices(mlp)]
    kept = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            for weight in weights:
                weight.mul_(largest(weight, masking.density))
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)


def _matrices(mlp: GatedMlp) -> tuple[Tensor, ...]:
    """W_gate, W_up and W_down; the first two are halves of one where the model stores them so."""
    factors = mlp.gate.weight.chunk(2) if mlp.gate is mlp.up else (mlp.gate.weight, mlp.up.weight)
    return *factors, mlp.down.weight


def largest(weight: Tensor, share: float) -> Tensor:
    """bool, the shape of the weight: its share of largest magnitudes, at least one; of equal ones the first."""
    magnitude, n_kept = weight.abs().flatten(), max(1, int(share * weight.numel()))
    border = magnitude.kthvalue(magnitude.numel() - n_kept + 1).values
    kept = magnitude > border
    ties = (magnitude == border).nonzero().flatten()
    kept[ties[: n_kept - int(kept.sum())]] = True
    return kept.view_as(weight)
