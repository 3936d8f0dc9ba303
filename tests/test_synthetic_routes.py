"""Synthetic scores of routers: what they are, what presets do to them, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dipsim import DipsimError, Experts, HardwareProfile, Mixture, ModelSpec, Simulation, Trace, synthesize
from dipsim.synthetic import ROUTER, parameters

N_TOKENS, K = 200, 6
MODEL = ModelSpec(
    name="mix",
    n_layers=6,
    hidden_size=16,
    intermediate_size=40,
    n_heads=2,
    n_kv_heads=1,
    head_dim=8,
    vocab_size=32,
    mixture=Mixture(n_experts=128, experts_per_token=K, expert_size=10, dense_layers=[1]),
)


def probabilities(trace: Trace, layer: int) -> np.ndarray:
    return trace.read(ROUTER, 0, trace.n_tokens, layer).view(np.float16).astype(np.float64)


def masks(trace: Trace, layer: int) -> np.ndarray:
    scores = probabilities(trace, layer)
    made = np.zeros(scores.shape, np.bool_)
    np.put_along_axis(made, np.argsort(-scores, axis=1, kind="stable")[:, :K], True, axis=1)
    return made


def overlap(trace: Trace, layer: int, lag: int) -> float:
    """Share of a token's experts that are used so many tokens later."""
    made = masks(trace, layer)
    return float((made[lag:] & made[:-lag]).sum() / made[lag:].sum())


def test_scores_are_shares_and_dense_layers_have_none(tmp_path: Path) -> None:
    trace = synthesize(tmp_path / "a.zarr", MODEL, N_TOKENS)
    assert trace.sites == (ROUTER,)
    assert trace.chosen_per_token is None
    for layer in range(MODEL.n_layers):
        sums = probabilities(trace, layer).sum(axis=1)
        np.testing.assert_allclose(sums, 0 if layer == 1 else 1, atol=2e-3)


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed, workers in (("a", 3, 1), ("b", 3, 4), ("c", 4, 1)):
        synthesize(tmp_path / f"{name}.zarr.zip", MODEL, 20, seed=seed, workers=workers)
    first, again, other = ((tmp_path / f"{name}.zarr.zip").read_bytes() for name in "abc")
    assert first == again != other


def test_near_tokens_share_more_and_the_first_layer_least(tmp_path: Path) -> None:
    trace = synthesize(tmp_path / "a.zarr", MODEL, N_TOKENS)
    for layer in (2, 3, 4, 5):
        assert overlap(trace, layer, 1) > overlap(trace, layer, 10) > overlap(trace, layer, 100) > K / 128
        assert overlap(trace, 0, 1) < overlap(trace, layer, 1)


def test_presets_order_hit_rates(tmp_path: Path) -> None:
    profile = HardwareProfile.load("oneplus-12-ufs4")
    hits = []
    for preset in ("low", "default", "high"):
        trace = synthesize(tmp_path / f"{preset}.zarr", MODEL, N_TOKENS, preset=preset)
        result = Simulation(profile, trace, Experts(), "lru", dram="mlp:0.3").run().to_dict()
        hits.append(result["hit_rate_by_group"]["experts"])
    assert all(more - less > 0.02 for less, more in pairwise(hits))


def test_parameters_of_the_router_have_presets_of_their_own() -> None:
    low, default, high = (parameters(ROUTER, 0.5, preset) for preset in ("low", "default", "high"))
    assert low.spread < default.spread < high.spread
    assert low.document_share < default.document_share < high.document_share
    assert low.tau_tokens == default.tau_tokens == high.tau_tokens


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (MODEL, {"sites": ["glu"]}, "sites: got 'glu'; 'mix' is a mixture of experts, choose router"),
        ("tiny", {"sites": ["router"]}, "'tiny' is no mixture of experts, choose mlp_input or glu"),
        (MODEL, {"like": "smollm2-135m"}, "like: got 'smollm2-135m' for the mixture 'mix'; choose a preset"),
    ],
)
def test_what_does_not_go_together(
    tmp_path: Path, model: ModelSpec | str, options: dict[str, object], message: str
) -> None:
    spec = ModelSpec.load(model) if isinstance(model, str) else model
    with pytest.raises(DipsimError, match=message):
        synthesize(tmp_path / "a.zarr", spec, 4, **options)
    assert not list(tmp_path.iterdir())
