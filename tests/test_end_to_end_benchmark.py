"""Targets of the end-to-end benchmark: each has what a reader needs to judge it and can be set up, and the methods
that are only theirs do what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import small_model, tight_slots

from benchmarks.published import end_to_end
from benchmarks.published.neurons import EveryLinear, LowestIndices, Neurons
from benchmarks.published.targets import Run, Target, Workload, same_bits
from benchmarks.published.targets_dense import OPT_6_7B
from benchmarks.published.targets_sparse import OPT_RUN
from dipsim import HardwareProfile, ModelSpec, Trace
from dipsim.cache import WeightCache
from dipsim.policies import Place
from dipsim.trace.reading import Sequence

BY_NAME = {target.name: target for target in end_to_end.TARGETS}
every_target = pytest.mark.parametrize("target", end_to_end.TARGETS, ids=list(BY_NAME))
streams_attention = pytest.mark.filterwarnings("ignore:attention and LM head do not fit:dipsim.errors.DipsimWarning")


def without_scores(load: Workload) -> Trace:
    """A trace that says it has the scores, which is all that setting a simulation up looks at."""
    sequences = (Sequence(0, load.tokens, load.prompt),)
    ids = np.zeros(load.tokens, np.int32)
    return Trace(Path("nowhere"), load.model, None, None, load.sites, sequences, ids, {})


def test_many_targets_of_many_devices() -> None:
    assert len(BY_NAME) == len(end_to_end.TARGETS) >= 8
    assert len({target.run.profile for target in end_to_end.TARGETS}) >= 4


@every_target
def test_a_reader_can_judge_it(target: Target) -> None:
    assert any(mark in target.source for mark in ("arXiv ", "GitHub ", "blog."))
    assert len(target.assumptions) >= 3
    assert all(len(assumption) > 20 for assumption in target.assumptions)
    assert target.published > 0
    assert target.hit_rate is None or 0 < target.hit_rate < 1


@streams_attention
@tight_slots
@every_target
def test_can_be_set_up(target: Target) -> None:
    """Within the memory that the device has for a model: else a warning fails this test."""
    for run in (target.run, target.baseline):
        if run is None:
            continue
        assert run.workload.model.name in end_to_end.simulation(run, without_scores(run.workload)).title
        if run.dram_bytes is None:
            dram = HardwareProfile.load(run.profile).with_values(run.changes).dram
            assert run.bytes_beside + run.masked_bytes < dram.capacity_bytes - dram.reserved_bytes


@pytest.mark.parametrize(
    ("name", "weights_bytes", "row_bytes", "kv_bytes", "bytes_per_s"),
    [
        # layers x (three matrices of the MLP, query and output, key and value) + output matrix, which is the embedding
        (
            "orin-qwen3-4b-w16",
            2 * (36 * (3 * 2560 * 9728 + 2 * 2560 * 4096 + 2 * 2560 * 1024) + 151936 * 2560),
            2 * 2560,
            2 * 36 * 2 * 1024,
            162e9,
        ),
        (
            "orin-qwen2.5-3b-w8",
            36 * (3 * 2048 * 11008 + 2 * 2048 * 2048 + 2 * 2048 * 256) + 2 * 151936 * 2048,
            2 * 2048,
            2 * 36 * 2 * 256,
            162e9,
        ),
    ],
)
def test_dense_in_dram_is_bytes_over_bandwidth(
    tmp_path: Path, name: str, weights_bytes: float, row_bytes: float, kv_bytes: float, bytes_per_s: float
) -> None:
    """Of four tokens the first is not counted; the others read keys and values of 1, 2 and 3 positions."""
    result = end_to_end.simulate(BY_NAME[name].run, end_to_end.Traces(tmp_path))
    expected = bytes_per_s / (weights_bytes + row_bytes + 2 * kv_bytes)
    assert result.to_dict()["tok_per_s"] == pytest.approx(expected, rel=1e-9)


def test_opt_has_two_matrices_of_rows_and_columns() -> None:
    """A row and a column of 4096 weights at 2 bytes, in one read of 16 KiB (LLM in a Flash, Table 2)."""
    (group,) = OPT_RUN.masking.groups(OPT_6_7B)
    assert (group.n_columns, group.column_weights, group.column_bytes) == (16384, 8192, 16384)
    assert OPT_RUN.masked_bytes == 32 * 2 * 4096 * 16384 * 2


def test_every_linear_covers_attention_and_mlp() -> None:
    model = ModelSpec.load("llama-3-8b").model_copy(update={"bits": same_bits(8)})
    weights = sum(group.n_columns * group.column_weights for group in EveryLinear(keep=0.5).groups(model))
    assert weights == model.attention_weights + 3 * 4096 * 14336


def test_neurons_are_the_best_the_hot_and_at_first_all() -> None:
    method = Neurons(keep=0.25, hot_share=0.25, fills_cache=True)
    model = small_model()
    scores = np.array([0, 0, 0, 9, 8, 0, 7, 0, 0, 0, 0, 0], np.float16).view(np.uint16)
    (group,) = method.groups(model)
    mask = np.zeros(12, np.bool_)
    method.select(group, scores, mask, 1, mask)
    assert np.flatnonzero(mask).tolist() == [0, 1, 2, 3, 4, 6]
    method.select(group, scores, mask, 0, mask)
    assert mask.all()


def test_lowest_indices_stay() -> None:
    cache = WeightCache(Place(8, 4), LowestIndices(), "priority")
    for token, active in enumerate([range(8), [5, 6, 7], [0, 7]]):
        cache.update(np.isin(np.arange(8), list(active)), None, token)
        assert np.flatnonzero(cache.resident).tolist() == [0, 1, 2, 3]


def small_run() -> Run:
    """One that is quick: sixteen times fewer columns than a phone's model."""
    model = small_model(hidden_size=64, intermediate_size=1024)
    load = Workload(model, ("glu",), "high", tokens=64, warmup=32)
    return Run("a18-paper", load, Neurons(keep=0.2, fills_cache=True)).holding(0.3)


def test_dram_is_found_for_a_hit_rate(tmp_path: Path) -> None:
    run, traces = small_run(), end_to_end.Traces(tmp_path)
    given = end_to_end.simulate(run, traces).to_dict()["hit_rate"]
    found = end_to_end.at_hit_rate(replace(run, dram_bytes=None), given, traces)
    assert found.to_dict()["hit_rate"] == pytest.approx(given, abs=0.01)
    share = (found.dram.capacity_bytes - run.bytes_beside) / run.masked_bytes
    assert share == pytest.approx(0.3, abs=2**-6)


def test_hottest_columns_come_first(tmp_path: Path) -> None:
    load = replace(small_run().workload, hottest_first=True)
    trace = end_to_end.Traces(tmp_path).of(load)
    means = trace.read("glu", 0, load.warmup, 1).view(np.float16).mean(axis=0, dtype=np.float64)
    assert (np.diff(means) <= 1e-3).all()
    assert means[0] > 4 * means[-1]


def test_another_preset_changes_scores_alone() -> None:
    target = BY_NAME["dip"]
    (other,) = end_to_end.chosen(["dip"], "low")
    assert other.baseline is not None
    assert (other.run.workload.preset, other.baseline.workload.preset) == ("low", "low")
    back = end_to_end.at_preset(other, target.run.workload.preset)
    assert back == target


def test_profile_values_are_changed() -> None:
    """The board with 16 GB holds what the profile's own 8 GB would not."""
    run = BY_NAME["pi5-llama-2-13b"].run
    needed = run.bytes_beside + run.masked_bytes
    own = HardwareProfile.load(run.profile).dram
    assert own.capacity_bytes - own.reserved_bytes < needed < run.changes["dram.capacity_bytes"] - own.reserved_bytes


def test_a_bundle_of_two_reads_takes_as_long_as_both() -> None:
    """4 KiB at 0.85 GB/s twice; longer reads are as before where they take longer than that."""
    curve = dict(end_to_end.device(BY_NAME["pi2-bamboo-2-bundle"].run).flash.curves[None])
    assert curve[8192] == pytest.approx(2 * curve[4096], rel=1e-12)
    assert curve[4096] == pytest.approx(4096 / 0.85e9, rel=1e-12)
    assert curve[32768] == pytest.approx(32768 / 1.75e9, rel=1e-12)
