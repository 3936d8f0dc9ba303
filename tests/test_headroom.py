"""The waterfall against runs of the same kind, closed forms, and oracles that look at every column."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from conftest import MakeTrace, device, random_scores, small_model, tight_slots
from hypothesis import given, settings
from hypothesis import strategies as st

from dipsim import Dip, DipCa, DipsimError, Glu, Simulation, Trace, kernels
from dipsim.results.headroom import STEPS, Headroom

NEVER = np.iinfo(np.int32).max
pytestmark = tight_slots


@pytest.fixture
def trace(make_trace: MakeTrace) -> Trace:
    return make_trace(small_model(), random_scores(small_model(), 60), lengths=[40, 20])


def test_steps_are_what_runs_of_their_own_give(trace: Trace) -> None:
    """dip's masks do not look at the cache, so that oracles can run without a recording."""
    options: dict[str, Any] = {"masking": Dip(density=0.4), "dram": "0.9x"}
    result = Simulation(device(), trace, policy="lru", warmup=2, **options).run()
    steps = result.headroom().steps.set_index("step")
    for name, run in {
        "policy": result,
        "forced oracle": Simulation(device(), trace, policy="belady", warmup=2, **options).run(),
        "oracle with bypass": Simulation(
            device(), trace, policy="belady", admission="priority", warmup=2, **options
        ).run(),
    }.items():
        numbers = run.to_dict()
        for key in ("tok_per_s", "hit_rate", "byte_hit_rate"):
            assert steps.loc[name, key] == pytest.approx(numbers[key], rel=1e-12), (name, key)
    assert steps["tok_per_s"].is_monotonic_increasing
    assert steps["tpot_s"].iloc[0] - steps["saved_s"].sum() == pytest.approx(steps["tpot_s"].iloc[-1])


def test_the_masks_of_a_cache_aware_run_are_replayed(trace: Trace) -> None:
    """Under dip-ca an oracle of its own would see other masks; the very masks keep the density and the magnitude."""
    simulation = Simulation(device(), trace, DipCa(density=0.4, gamma=0.2), "lfu", dram="0.9x")
    steps = simulation.headroom().steps
    assert steps["hit_rate"].iloc[0] == simulation.run().to_dict()["hit_rate"]
    assert steps["byte_hit_rate"].is_monotonic_increasing
    assert (steps[["hit_rate", "byte_hit_rate"]].iloc[-2:] == 1).all(axis=None)


def test_the_end_of_the_waterfall_by_hand(make_trace: MakeTrace) -> None:
    """All from DRAM but the embedding's row; then all of it at DRAM's bandwidth."""
    model = small_model(n_layers=1)
    trace = make_trace(model, random_scores(model, 5))
    steps = Simulation(device(), trace, Glu(keep=0.5), "lru", dram="1x", overlap="none").headroom().steps
    # Up and gate: 8 columns of 24 bytes; down: 6 of 12 columns of 8 bytes; KV: 2 x 1 x 4 bytes a position.
    n_bytes = 8 * 24 + 6 * 8 + model.pinned_bytes + 8 * (0 + 1 + 2 + 3 + 4) / 5
    assert steps["tpot_s"].iloc[-1] == pytest.approx(n_bytes / 20e9)
    assert steps["tpot_s"].iloc[-2] == pytest.approx(n_bytes / 20e9 + 8 / 1e9)


def test_one_shared_cache_serves_no_less_than_a_split_one(make_trace: MakeTrace) -> None:
    """Layers of unlike skew with columns of one size, so that columns and bytes agree."""
    model = small_model(n_layers=3)
    rng = np.random.default_rng(0)
    popular = np.stack([np.ones(12), np.linspace(0.1, 3, 12), np.exp(np.linspace(-3, 3, 12))])
    glu = (np.abs(rng.standard_normal((80, 3, 12))) * popular).astype(np.float16)
    trace = make_trace(model, {"glu": glu})
    dense = model.pinned_bytes + 80 * model.kv_bytes_per_position + 2 / 3 * model.mlp_bytes
    for slots in (2, 4, 8):  # of 12 columns of 8 bytes in each of three layers
        steps = (
            Simulation(device(), trace, Glu(keep=0.3), "lru", dram=dense + 3 * 8 * slots)
            .headroom()
            .steps.set_index("step")
        )
        assert steps.loc["shared by all layers", "hit_rate"] > steps.loc["oracle with bypass", "hit_rate"]


def next_uses(masks: np.ndarray) -> np.ndarray:
    uses = np.full(masks.shape, NEVER, np.int32)
    for t, c in itertools.product(range(len(masks)), range(masks.shape[1])):
        later = np.flatnonzero(masks[t + 1 :, c])
        if later.size:
            uses[t, c] = t + 1 + later[0]
    return uses


def hits_by_sets(masks: np.ndarray, edges: list[int], sizes: list[int], capacity: int) -> list[int]:
    """Bytes hit by each (token, stage): sets of columns, the farthest next use goes first."""
    uses, kept, hits = next_uses(masks), {}, []
    stage_of = {c: s for s in range(len(sizes)) for c in range(edges[s], edges[s + 1])}
    for t, s in itertools.product(range(len(masks)), range(len(sizes))):
        own = [c for c in range(edges[s], edges[s + 1]) if masks[t, c]]
        hits.append(sum(sizes[s] for c in own if kept.pop(c, None) is not None))
        kept |= {c: (int(uses[t, c]), s) for c in own if uses[t, c] < NEVER}
        while sum(sizes[stage_of[c]] for c in kept) > capacity:
            del kept[max(kept, key=lambda c: (kept[c], -c))]
    return hits


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000), st.integers(0, 40), st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(1, 9)
)
def test_sharing_by_counts_equals_sharing_by_columns(seed: int, capacity: int, sizes: list[int], first: int) -> None:
    rng = np.random.default_rng(seed)
    widths = rng.integers(2, 6, len(sizes))
    edges = np.cumsum([0, *widths])
    masks = rng.random((12, edges[-1])) < 0.4
    missed, kept = np.ones_like(masks), np.zeros(edges[-1], np.bool_)
    waiting, state = np.zeros(len(masks) * len(sizes), np.int64), np.zeros(2)
    uses, n_bytes = next_uses(masks), np.array(sizes, np.float64)
    for part in (slice(0, first), slice(first, None)):  # two blocks of one sequence
        kernels.share_tokens(
            masks[part], uses[part], edges, n_bytes, float(capacity), part.start, kept, waiting, state, missed[part]
        )
    assert not (missed & ~masks).any()
    hits = [
        sizes[s] * int((masks & ~missed)[t, edges[s] : edges[s + 1]].sum())
        for t, s in itertools.product(range(len(masks)), range(len(sizes)))
    ]
    assert hits == hits_by_sets(masks, edges.tolist(), sizes, capacity)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ([10, 4, 3, 2, 1.5, 1], "Most is lost to eviction policy: 6.00 s of 10.0 s per token; try other policies"),
        ([10, 9, 3, 2, 1.5, 1], "Most is lost to admission: 6.00 s"),
        ([10, 9, 8, 2, 1.5, 1], "Most is lost to split over layers and groups: 6.00 s"),
        ([10, 9, 8, 7, 1.5, 1], "Most is lost to DRAM size, cold start: 5.50 s of 10.0 s per token; more DRAM"),
        ([10, 9, 8, 7, 6.5, 1], "Most is lost to compute, latency, waiting: 5.50 s"),
        ([10, 9.99, 9.98, 9.97, 9.96, 9.95], "at the limit of its masks"),
    ],
)
def test_the_verdict_names_what_to_blame(seconds: list[float], said: str) -> None:
    headroom = Headroom.of([(1 / s, 0.5, 0.5) for s in seconds], "a run")
    assert said in headroom.verdict
    assert said in repr(headroom)


def test_a_run_that_may_bypass_is_not_blamed_for_its_admission() -> None:
    rates = [(1 / s, 0.5, 0.5) for s in (10, 11, 3, 2, 1.5, 1)]
    headroom = Headroom.of(rates, "a run", bypasses=True)
    assert headroom.steps["changes"].tolist()[:3] == ["", "", "eviction policy"]
    assert headroom.steps["saved_s"].tolist() == pytest.approx([0, 0, 7, 1, 0.5, 0.5])
    assert "Most is lost to eviction policy: 7.00 s of 10.0 s per token; try other policies" in headroom.verdict
    assert "together cost 8.00 s (80.0 %)" in headroom.verdict


def test_the_admission_of_a_run_decides_what_is_compared(trace: Trace) -> None:
    for admission, blamed in (("always", "admission"), ("priority", "eviction policy")):
        simulation = Simulation(device(), trace, Dip(density=0.4), "lfu", dram="0.9x", admission=admission)
        assert simulation.headroom().steps["changes"].iloc[2] == blamed


def test_nothing_to_improve_without_a_cache(trace: Trace) -> None:
    with pytest.raises(DipsimError, match="headroom: policy 'none' keeps nothing"):
        Simulation(device(), trace, Dip(density=0.4), "none", dram="0.9x").headroom()


def test_progress_ends_at_the_end(trace: Trace) -> None:
    for policy in ("lru", "belady"):
        seen: list[tuple[int, int]] = []
        simulation = Simulation(device(), trace, Dip(density=0.4), policy, dram="0.9x")
        simulation.headroom(lambda done, total, seen=seen: seen.append((done, total)))
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert seen[-1][0] == seen[-1][1]


def test_every_step_but_the_first_says_what_to_do() -> None:
    assert all(step.changes and step.advice for step in STEPS[1:])
