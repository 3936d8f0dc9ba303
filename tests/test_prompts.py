"""What does a prompt wait for, and what is in memory before it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import MakeTrace, device, random_scores, small_model

from dipsim import Dense, Dip, Simulation

PINNED = 2 * 8 * 4 * 6 + 16 * 8
KV = 2 * 1 * 4 * 2  # bytes per position over both layers
MLP = 2 * 3 * 8 * 12


@pytest.mark.parametrize("fits", [True, False])
@pytest.mark.parametrize("overlap", ["none", "io", "pipelined"])
@pytest.mark.parametrize("n_tokens", [1, 2, 50])
@pytest.mark.parametrize("engine", ["compiled", "processes"])
def test_what_a_prompt_is_bound_by(make_trace: MakeTrace, fits: bool, overlap: str, n_tokens: int, engine: str) -> None:
    """Weights are read once, operations are as many as tokens: a long prompt takes as long as these, a short one as
    the weights. An MLP that fits is in DRAM before the prompt; with one byte less Flash reads it."""
    flash, dram, ops = 1e6, 3e6, 1.2e7  # a byte of DRAM takes as long as two tokens' operations on it, of Flash six
    trace = make_trace(small_model(), random_scores(small_model(), 4), lengths=[2, 2], prompt_lengths=[n_tokens, 0])
    bytes_for_all = PINNED + (2 + n_tokens) * KV + MLP
    profile, masking = device(flash, dram, compute={"ops_per_s": ops}), Dip(density=0.5)
    memory = bytes_for_all if fits else bytes_for_all - 1
    result = Simulation(profile, trace, masking, "lru", dram=memory, overlap=overlap, engine=engine).run()
    together = max if overlap == "pipelined" else float.__add__
    of_weight_s = 2 * n_tokens / ops
    expected = 8 * n_tokens / flash + PINNED * together(1 / dram, of_weight_s)
    expected += MLP * together(1 / dram if fits else 1 / flash, of_weight_s)
    assert result.to_dict()["ttft_s"] == pytest.approx(expected, rel=1e-9)
    tokens = result.tokens
    assert (tokens["hits"] == tokens["active_columns"]).tolist() == ([True] * 4 if fits else [False] * 4)
    assert result.to_dict()["hit_rate"] == 1 if fits else result.to_dict()["hit_rate"] < 1


@pytest.mark.parametrize("engine", ["compiled", "processes"])
@pytest.mark.parametrize("scope", ["layer", "shared"])
@pytest.mark.filterwarnings("ignore:cache_scope")
def test_what_fits_is_loaded_whoever_shares_it(make_trace: MakeTrace, scope: str, engine: str) -> None:
    """A shared cache counts as all of them; a dense model reads nothing but rows of the embedding table."""
    trace = make_trace(small_model(), random_scores(small_model(), 4), lengths=[4], prompt_lengths=[3])
    for missing_bytes in (0, 1):
        run = Simulation(
            device(),
            trace,
            Dense(),
            "lru",
            dram=PINNED + 7 * KV + MLP - missing_bytes,
            cache_scope=scope,
            engine=engine,
        ).run()
        assert (run.tokens["flash_bytes"] == 8).tolist() == [not missing_bytes] * 4


@pytest.mark.parametrize("engine", ["compiled", "processes"])
def test_who_says_otherwise_loads_nothing(make_trace: MakeTrace, engine: str) -> None:
    """Policies that keep nothing or give columns up by themselves, and a given hit rate, where all would fit."""
    trace = make_trace(small_model(), random_scores(small_model(), 4), lengths=[4], prompt_lengths=[3])
    of: dict[str, dict[str, Any]] = {"none": {}, "window": {}, "lru": {"given_hit_rate": 0.5}}
    for policy, options in of.items():
        run = Simulation(device(1e6, 3e6), trace, Dip(density=0.5), policy, dram="2x", engine=engine, **options).run()
        assert run.tokens["hits"][0] < run.tokens["active_columns"][0]
        assert run.to_dict()["ttft_s"] > MLP / 1e6


@pytest.mark.parametrize("scope", ["layer", "shared"])
@pytest.mark.parametrize("bits", [4.8, 4.5, 3.3, 6.56])
def test_all_of_a_model_fits_into_all_of_its_bytes(make_trace: MakeTrace, bits: float, scope: str) -> None:
    """However floats round the bytes of its columns, of all of them, and what is left beside the rest."""
    sizes = {"hidden_size": 24, "intermediate_size": 56}
    model = small_model(**sizes, bits={"mlp": bits, "attention": 4.8, "lm_head": 6.56, "embedding": 8, "kv": 8})
    trace = make_trace(model, random_scores(model, 4), lengths=[4], prompt_lengths=[3])
    for method in (Dense(), Dip(density=0.5)):
        for dram in ("1x", "mlp:1"):
            run = Simulation(device(), trace, method, "lru", dram=dram, cache_scope=scope).run()
            assert run.to_dict()["hit_rate"] == 1


@pytest.mark.parametrize("overlap", ["none", "pipelined"])
@pytest.mark.parametrize("engine", ["compiled", "processes"])
def test_a_unit_has_a_rate_of_its_own_for_prompts(make_trace: MakeTrace, overlap: str, engine: str) -> None:
    """Tokens are not touched; a prompt of one token is one, too."""
    trace = make_trace(small_model(), random_scores(small_model(), 4), lengths=[4], prompt_lengths=[5])
    runs = [
        Simulation(device(1e6, 1e30, compute=compute), trace, Dense(), "lru", overlap=overlap, engine=engine).run()
        for compute in ({"ops_per_s": 1e6}, {"ops_per_s": 1e6, "prompt_ops_per_s": 5e5}, {"prompt_ops_per_s": 5e5})
    ]
    row_s, n_ops = 8 * 5 / 1e6, 2 * 5 * (PINNED + MLP)
    assert [run.ttft_s[0] - row_s for run in runs] == pytest.approx([n_ops / 1e6, n_ops / 5e5, n_ops / 5e5])
    assert runs[0].tokens["token_s"].to_numpy() == pytest.approx(runs[1].tokens["token_s"].to_numpy(), rel=1e-9)
