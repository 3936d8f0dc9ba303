"""Is this the model that it was: some of its very weights, compared as closely as any precision allows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dipsim.sparsify.gated_mlp import find_gated_mlps
from dipsim.sparsify.loading import LoadedModel

_N_WEIGHTS = 16  # of each matrix


def fingerprint(loaded: LoadedModel) -> list[list[float]]:
    """Weights of gate, up and down at equal distances, a list for each layer."""

    def some(weight: Tensor) -> list[float]:
        flat = weight.detach().reshape(-1)
        places = torch.linspace(0, flat.numel() - 1, _N_WEIGHTS, dtype=torch.float64).long()
        picked: list[float] = flat[places.to(flat.device)].double().tolist()
        return picked

    mlps = find_gated_mlps(loaded.model, loaded.spec.n_layers)
    return [[value for layer in (mlp.gate, mlp.up, mlp.down) for value in some(layer.weight)] for mlp in mlps]


def is_same(one: list[list[float]], other: list[list[float]]) -> bool:
    """Whether two fingerprints are of one model, which may be loaded in different precisions."""
    if [len(layer) for layer in one] != [len(layer) for layer in other]:
        return False
    # bfloat16 keeps eight bits of a weight.
    return all(
        np.allclose(a, b, rtol=1e-2, atol=1e-4 * float(np.abs(a).max())) for a, b in zip(one, other, strict=True)
    )
