"""A hit rate that is given: masks are as without it, shares of hits as said, and caches without a say."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_scores, small_model, write_trace

import dipsim as ds
from dipsim.cache import GivenHits, Tokens
from dipsim.cache.given import drawn
from dipsim.errors import DipsimError


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> ds.Trace:
    model = small_model()
    return write_trace(tmp_path_factory.mktemp("given") / "t.zarr", model, random_scores(model, 40))


def run(trace: ds.Trace, **options: object) -> ds.Result:
    profile = ds.HardwareProfile.load("a18-paper").with_values({"dram.capacity_bytes": 1e9})
    return ds.Simulation(profile, trace, ds.Dip(density=0.5), "lru", **options).run()


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.77, 1.0])
def test_each_group_hits_as_said(trace: ds.Trace, rate: float) -> None:
    """No group of any layer is more than half a column away."""
    layers = run(trace, given_hit_rate=rate, dram="0.9x").layers
    assert (abs(layers["hits"] - rate * layers["active_columns"]) <= 0.5 + 1e-9).all()
    assert (layers["active_columns"] > 0).all()


def test_masks_are_those_of_the_method_and_caches_have_no_say(trace: ds.Trace) -> None:
    as_usual = run(trace, dram="0.9x").to_dict()
    results = [run(trace, dram=dram, given_hit_rate=0.6).to_dict() for dram in ("0.9x", "0.95x")]
    for result in results:
        assert result["retained_magnitude"] == as_usual["retained_magnitude"]
        assert result["hit_rate"] == pytest.approx(0.6, abs=0.01)
    assert results[0]["tok_per_s"] == results[1]["tok_per_s"]


def test_draws_are_those_of_splitmix64() -> None:
    """State 1 of the counter is the first output for seed 0 (Steele, Lea, Flood 2014; Vigna's C code)."""
    assert int(drawn(0, np.array([0]), 2)[0, 0]) == 0xE220A8397B1DCDAF
    assert int(drawn(0, np.array([0]), 2)[0, 1]) == 0x6E789E6AA1B965F4


def test_tokens_one_by_one_are_tokens_together() -> None:
    (group, _) = ds.Dip(density=0.5).groups(small_model())
    scores = np.random.default_rng(0).random((9, group.n_columns)).astype(np.float16).view(np.uint16)
    together = GivenHits(1, ds.Dip(density=0.5), group, 0.7)
    whole = together.run(Tokens(9, 0, scores)).missed
    alone = GivenHits(1, ds.Dip(density=0.5), group, 0.7)
    parts = [alone.run(Tokens(1, t, scores[t : t + 1])).missed[0] for t in range(9)]
    assert (np.array(parts) == whole).all()


def test_what_looks_at_caches_is_refused(trace: ds.Trace) -> None:
    profile = ds.HardwareProfile.load("a18-paper")
    with pytest.raises(DipsimError, match="method 'dip-ca', whose masks depend"):
        ds.Simulation(profile, trace, ds.DipCa(density=0.5), given_hit_rate=0.5)
    simulation = ds.Simulation(profile, trace, ds.Dip(density=0.5), given_hit_rate=0.5)
    with pytest.raises(DipsimError, match="headroom: given_hit_rate stands in"):
        simulation.headroom()
