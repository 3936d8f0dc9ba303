"""Targets of the end-to-end benchmark: each has what a reader needs to judge it and can be set up, and the methods
that are only theirs do what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import small_model, tight_slots

from benchmarks.published import end_to_end
from benchmarks.published.bands import Band, count_rows, draw
from benchmarks.published.neurons import EveryLinear, LowestIndices, Neurons
from benchmarks.published.targets import Run, Target, Workload, same_bits
from benchmarks.published.targets_dense import OPT_6_7B
from benchmarks.published.targets_sparse import OPT_RUN
from dipsim import Experts, HardwareProfile, ModelSpec, Trace
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
    for run in (target.run, target.baseline, *(replace(target.run, **own) for own in target.flash)):
        if run is None:
            continue
        assert run.workload.model.name in end_to_end.simulation(run, without_scores(run.workload)).title
        if run.dram_bytes is None and run.workload.model.mixture is None:
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


def of_small_run(**values: Any) -> Target:
    """On a device with real Flash, and a faster one to be a band with."""
    run = replace(small_run(), profile="oneplus-12-ufs4", policy="lru", io_depth=4, overlap="none", unit="cpu")
    return Target("small", "a", "b", 100.0, run, "GitHub c", (), flash=({}, {"io_depth": 32}), **values)


def test_a_band_reaches_over_presets_and_flash(tmp_path: Path) -> None:
    """Its ends are two of the six runs, each simulated by hand here; its own is one."""
    target, traces = of_small_run(), end_to_end.Traces(tmp_path)
    found = end_to_end.band(target, end_to_end.PRESETS, traces)
    rates = [
        end_to_end.simulate(
            replace(target.run, io_depth=depth, workload=replace(target.run.workload, preset=preset)), traces
        ).to_dict()["tok_per_s"]
        for preset in end_to_end.PRESETS
        for depth in (4, 32)
    ]
    assert (found.low, found.high) == (min(rates), max(rates))
    assert found.own == rates[4]  # preset high, depth 4
    assert found.low <= found.own < found.high


def test_a_published_hit_rate_is_given(tmp_path: Path) -> None:
    row = end_to_end.row(of_small_run(hit_rate=0.5), end_to_end.Traces(tmp_path))
    assert row["given hit rate"] == pytest.approx(0.5, abs=0.002)
    assert row["hit rate"] != pytest.approx(0.5, abs=0.05)
    assert row["given low"] == row["given own"] < row["given high"]


@pytest.mark.parametrize(
    ("low", "high", "published", "explained"),
    [(1, 2.9, 1, True), (1, 2.9, 2.9, True), (1, 2.9, 0.99, False), (1, 2.9, 3, False), (1, 3, 2, False)],
)
def test_a_narrow_band_around_a_number_explains_it(low: float, high: float, published: float, explained: bool) -> None:
    assert Band(low, 1.5, high, 0.5).explains(published) is explained


def counted(target: str, kind: str, own: Band, given: Band | None = None, chosen_on: str = "") -> dict[str, Any]:
    """A row as the benchmark's, of a target whose published number is 1."""
    shown = {"target": target, "kind": kind, "unit": "tok/s", "published": 1.0, "chosen on it": chosen_on}
    return shown | own.columns("", 1) | (given.columns("given ", 1) if given else Band.empty_columns("given "))


ROWS = [
    counted("a", "dense", Band(1.1, 1.1, 1.1, 1)),
    counted("b", "dense", Band(1.3, 1.3, 1.3, 1)),
    counted("c", "sparse", Band(0.5, 2, 4, 0.5), Band(0.9, 1.6, 1.7, 0.5)),  # in the given band, not near
    counted("d", "sparse", Band(0.9, 1.4, 1.5, 0.5), chosen_on="a constant"),
    counted("e", "mixture", Band(0.1, 0.2, 0.3, 0.5)),
]


def test_explained_and_near_are_counted() -> None:
    found = {row["targets"]: (row["of"], row["are near"], row["explained by a band"]) for row in count_rows(ROWS)}
    assert list(found.values()) == [(2, 1, 0), (3, 1, 1), (3, 1, 2), (1, 0, 1), (2, 0, 1), (1, 0, 0)]
    assert [row["neither"] for row in count_rows(ROWS)] == ["b", "c, e", "e", "", "e", "e"]


def test_published_against_simulated_is_drawn() -> None:
    plot = draw([*ROWS, counted("f", "sparse", Band(2, 4, 5, 0.5)) | {"unit": "ms of Flash per token"}])
    assert plot.data["target"].tolist() == ["a", "b", "c", "c", "d", "e", "f"]
    inverse = plot.data.iloc[-1]
    assert (inverse["published"], inverse["low"], inverse["simulated"], inverse["high"]) == (1000, 200, 250, 500)
    assert [axes.get_xscale() for axes in plot.figure.axes] == ["log"] * 3


def test_computation_that_was_measured_is_given(tmp_path: Path) -> None:
    """A mixture that hits always, without DRAM's time: operations alone, a quarter of a second of them."""
    load = Workload(ModelSpec.load("olmoe-1b-7b"), ("router",), tokens=4, warmup=1)
    run = Run("a18-paper", load, Experts(), overlap="none", compute_s=0.25, given_hit_rate=1.0)
    run = replace(run, cache_bytes=4e9, changes={"dram.read_bytes_per_s": 1e15, "flash.read_bytes_per_s": 1e15})
    tok_per_s = end_to_end.simulate(run, end_to_end.Traces(tmp_path)).to_dict()["tok_per_s"]
    assert tok_per_s == pytest.approx(4, rel=1e-5)


def test_hottest_columns_come_first(tmp_path: Path) -> None:
    load = replace(small_run().workload, hottest_first=True)
    trace = end_to_end.Traces(tmp_path).of(load)
    means = trace.read("glu", 0, load.warmup, 1).view(np.float16).mean(axis=0, dtype=np.float64)
    assert (np.diff(means) <= 1e-3).all()
    assert means[0] > 4 * means[-1]


def test_another_preset_changes_scores_alone() -> None:
    target = BY_NAME["dip"]
    other = end_to_end.at_preset(target, "low")
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
