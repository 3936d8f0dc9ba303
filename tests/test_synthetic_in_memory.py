"""Scores in memory are those on disk of a shallow model; a deep one has those of its depths, turned round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import small_model
from numpy.typing import NDArray

import dipsim as ds
from dipsim.model.groups import site_width
from dipsim.synthetic import synthesize_in_memory
from dipsim.synthetic.in_memory import N_DEPTHS

MIXTURE = small_model(
    n_layers=3, mixture=ds.Mixture(n_experts=8, experts_per_token=2, expert_size=32, dense_layers=[0])
)
DEEP = small_model(n_layers=2 * N_DEPTHS + 5, hidden_size=96, intermediate_size=192)


def bits(trace: ds.Trace, site: str) -> NDArray[np.uint16]:
    return trace.read(site, 0, trace.n_tokens)


@pytest.mark.parametrize("preset", ["low", "default", "high"])
def test_a_shallow_models_are_those_that_would_be_written(tmp_path: Path, preset: str) -> None:
    model = small_model(n_layers=N_DEPTHS)
    held = synthesize_in_memory(model, 9, preset=preset, prompt_tokens=4)
    written = ds.synthesize(tmp_path / "a.zarr", model, 9, preset=preset, prompt_tokens=4)
    assert held.sites == ("mlp_input", "glu")
    assert sorted(held.sites) == sorted(written.sites)
    assert held.sequences == written.sequences
    for site in held.sites:
        np.testing.assert_array_equal(bits(held, site), bits(written, site))
        np.testing.assert_array_equal(held.read(site, 2, 5, 3), written.read(site, 2, 5, 3))


def test_of_a_mixture_they_are_shares_and_none_without_a_router(tmp_path: Path) -> None:
    held = synthesize_in_memory(MIXTURE, 9)
    np.testing.assert_array_equal(bits(held, "router"), bits(ds.synthesize(tmp_path / "a.zarr", MIXTURE, 9), "router"))


def test_a_deep_models_layers_are_turned_round_copies_of_few() -> None:
    scores = bits(synthesize_in_memory(DEEP, 9), "glu")
    width = site_width(DEEP, "glu")
    patterns = {tuple(np.sort(scores[:, layer], axis=1).reshape(-1)) for layer in range(DEEP.n_layers)}
    assert len(patterns) == N_DEPTHS
    assert len({scores[:, layer].tobytes() for layer in range(DEEP.n_layers)}) == DEEP.n_layers
    first, second = scores[:, 0], scores[:, 1]
    assert any((np.roll(first, turn, axis=1) == second).all() for turn in range(width))


def test_what_is_read_is_a_copy() -> None:
    trace = synthesize_in_memory(DEEP, 3)
    trace.read("glu", 0, 3)[:] = 0
    assert bits(trace, "glu").any()
