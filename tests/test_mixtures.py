"""Mixtures of experts: their groups, bytes and runs, by hand and in both engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import device, random_scores, small_mixture, small_model, write_trace
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import complaint, run
from test_hardware import profiles
from test_processes import COUNTS, LAYOUTS, UNITS, check_equal, options

from dipsim import (
    Dense,
    Dip,
    DipsimError,
    Experts,
    ExpertsCa,
    HardwareProfile,
    ModelSpec,
    Simulation,
    Trace,
    sweep,
    trace_statistics,
)
from dipsim.methods import Method, groups_of
from dipsim.plots import hit_rate_by_layer

pytestmark = pytest.mark.filterwarnings("ignore::dipsim.errors.DipsimWarning")  # small DRAM, on purpose
# One layer in three has an MLP, experts of the others differ in bytes, and something is used by every token.
MIXED: dict[str, Any] = {"n_layers": 3, "dense_layers": [1], "expert_bytes": [96, 0, 72.5], "shared_expert_size": 3}
METHODS = [
    *(Experts(), Experts(1), Experts(6), ExpertsCa(), ExpertsCa(3, gamma=0.5, exempt_top=1)),
    *(ExpertsCa(rule="blend"), ExpertsCa(rule="top-m"), ExpertsCa(4, rule="drop", threshold=0.2)),
]


def routes(model: ModelSpec, n_tokens: int, seed: int = 0, n_levels: int = 0) -> dict[str, Any]:
    """Scores of the router, which layers without one have none of."""
    scores = random_scores(model, n_tokens, seed, n_levels)
    scores["router"][:, [i for i in range(model.n_layers) if i not in model.layers_with_experts]] = 0
    return scores


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> list[Trace]:
    """Two sequences with a prompt and without; more tokens than a block has; layers that differ."""
    folder, plain, mixed = tmp_path_factory.mktemp("mixtures"), small_mixture(), small_mixture(**MIXED)
    return [
        write_trace(folder / "two.zarr", plain, routes(plain, 9), [6, 3], [3, 0]),
        write_trace(folder / "long.zarr", mixed, routes(mixed, 133, seed=1)),
        write_trace(folder / "equal.zarr", mixed, routes(mixed, 7, seed=2, n_levels=3), [4, 3], [0, 2]),
    ]


def test_groups_and_bytes_by_hand() -> None:
    spec = small_mixture(**MIXED)
    experts, shared, dense = groups_of(Experts(), spec)
    assert (experts.name, experts.site, experts.n_columns, experts.n_matrices) == ("experts", "router", 6, 3)
    assert [experts.columns_in(layer) for layer in range(3)] == [6, 0, 6]
    assert [experts.bytes_in(layer) for layer in range(3)] == [96, 0, 72.5]
    # Of 8 columns at the input each: three matrices of 3 and of 12 rows, a byte a weight.
    assert [(own.name, own.site, own.n_columns, own.column_bytes) for own in (shared, dense)] == [
        ("shared_experts", None, 8, 9),
        ("dense_mlp", None, 8, 36),
    ]
    assert (shared.layers, dense.layers) == ((0, 2), (1,))
    assert spec.mlp_weights == 2 * (6 * 96 + 72) + 3 * 8 * 12
    assert spec.mlp_bytes == 6 * 96 + 6 * 72.5 + 2 * 72 + 3 * 8 * 12
    # Query, key, value and output of 2 heads and 1 of 4, a router of 6 rows in two layers, and the LM head.
    assert spec.pinned_bytes == 3 * 8 * 4 * 6 + 2 * 8 * 6 + 16 * 8


def test_written_and_read_back_and_models_of_mlps_are_written_as_ever() -> None:
    for spec in (small_mixture(**MIXED), small_mixture(), small_model(), ModelSpec.load("gemma-4-26b-a4b")):
        assert ModelSpec.parse(json.loads(spec.model_dump_json()), "m") == spec
    assert not {"mixture", "attention"} & small_model().model_dump().keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experts_per_token": 7}, r"experts_per_token \(7\) must be at most n_experts \(6\)"),
        ({"dense_layers": [1, 0]}, "dense_layers must ascend from 0"),
        ({"dense_layers": [0, 1]}, "must be below n_layers \\(2\\), and not all"),
        ({"expert_bytes": [1.0]}, "expert_bytes must be one for each of 2 layers"),
        ({"expert_bytes": [1.0, 0.0]}, "0 in dense ones alone"),
        ({"expert_bytes": [float("nan"), 1.0]}, "mixture.expert_bytes.0: got nan"),
        ({"attention": [{"weights": 1, "kv_width": 2}]}, "attention must be given for each of 2 layers"),
        ({"n_expert": 3}, "unknown key"),
    ],
)
def test_what_is_no_mixture_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError, match=message) as caught:
        small_mixture(**changes)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=40)
@given(st.data(), st.integers(0, 2), profiles(), st.sampled_from(METHODS))
def test_both_engines_tell_the_same(
    traces: list[Trace], data: st.DataObject, which: int, profile: HardwareProfile, masking: Method
) -> None:
    given = data.draw(options(masking))
    if given["layout"] in LAYOUTS[-2:] and masking.groups(traces[which].model)[0].layer_bytes is not None:
        given["layout"] = "column"  # slices side by side are all of the same bytes
    if "prefetch" in given:
        given["prefetch_bytes"] = data.draw(st.sampled_from([160, 250]))
        given["prefetch_layers"] = data.draw(st.sampled_from([1, 2])) if given["dram"] == "1.2x" else 1
    profile = profile.with_values({"dram.capacity_bytes": 1e9, "compute.units": UNITS})
    fast, slow = (
        Simulation(profile, traces[which], masking, engine=engine, **given).run()
        for engine in ("compiled", "processes")
    )
    for name in COUNTS:
        assert fast.tokens[name].equals(slow.tokens[name]), name
    assert fast.layers.equals(slow.layers)
    assert slow.tokens["token_s"].to_numpy() == pytest.approx(fast.tokens["token_s"].to_numpy(), rel=1e-9)
    told, its = fast.to_dict(), slow.to_dict()
    for key in ("hit_rate", "byte_hit_rate", "hit_rate_by_group", "bytes_per_token", "slots", "mlp_density", "ttft_s"):
        check_equal(told[key], its[key], key)


@pytest.mark.usefixtures("both_engines")
def test_bytes_of_each_layer_are_its_own(tmp_path: Path) -> None:
    """Nothing is kept, Flash is ideal: each token reads its two experts of both layers, and the rest of the MLPs."""
    spec = small_mixture(**MIXED)
    trace = write_trace(tmp_path / "t.zarr", spec, routes(spec, 5))
    result = Simulation(device(), trace, Experts(), policy="none", dram=spec.pinned_bytes + 1000).run()
    pinned = result.to_dict()["slots"]
    assert pinned["experts"] == [0, 0, 0]
    rest = 8 * 9 * 2 + 8 * 36 - 9 * sum(pinned["shared_experts"]) - 36 * sum(pinned["dense_mlp"])
    read = result.tokens["flash_bytes"] - spec.embedding_row_bytes
    assert read.tolist() == [2 * (96 + 72.5) + rest] * 5
    layers = result.layers
    assert layers[layers["group"] == "experts"]["layer"].tolist() == [0, 2]
    assert layers[layers["group"] == "experts"]["active_columns"].tolist() == [10, 10]
    assert layers[layers["group"] == "dense_mlp"]["layer"].tolist() == [1]


@pytest.mark.parametrize("budget", ["uniform", "by-bytes", "marginal"])
def test_budgets_give_slots_where_the_experts_are_and_no_more_bytes_than_there_are(
    traces: list[Trace], budget: str
) -> None:
    spec = traces[1].model
    for share in (0.3, 0.6, 0.9, 1.1):
        result = Simulation(device(), traces[1], Experts(), dram=f"mlp:{share}", budget=budget, tokens=20).run()
        told = result.to_dict()
        slots, groups = told["slots"], groups_of(Experts(), spec)
        used = sum(n * own.bytes_in(layer) for own in groups for layer, n in enumerate(slots[own.name]))
        assert used <= told["dram"]["cache_bytes"] + 1e-6
        assert all(n <= own.columns_in(layer) for own in groups for layer, n in enumerate(slots[own.name]))
    assert slots == {"experts": [6, 0, 6], "shared_experts": [8, 0, 8], "dense_mlp": [0, 8, 0]}  # all of it fits


def test_hits_of_lru_by_hand(tmp_path: Path) -> None:
    """Two slots; 0 1 | 1 2 | 0 1 | 1 0: misses 2, then 1 (0 goes), 1 (2 goes), none."""
    spec = small_mixture(n_layers=1)
    scores = np.zeros((4, 1, 6), np.float16)
    for token, chosen in enumerate(([0, 1], [1, 2], [0, 1], [1, 0])):
        scores[token, 0, chosen] = 0.5, 0.25
    trace = write_trace(tmp_path / "t.zarr", spec, {"router": scores})
    kv = float(spec.kv_bytes(4).sum())
    result = Simulation(device(), trace, Experts(), policy="lru", dram=spec.pinned_bytes + kv + 2 * 96).run()
    assert result.to_dict()["slots"] == {"experts": [2]}
    assert result.tokens["hits"].tolist() == [0, 1, 1, 2]


@pytest.mark.usefixtures("both_engines")
def test_each_token_of_a_prompt_uses_no_more_experts_than_another(tmp_path: Path) -> None:
    """With a unit of an operation a second and all else for nothing: two operations for each weight that is used."""
    spec = small_mixture(n_layers=1)
    trace = write_trace(tmp_path / "t.zarr", spec, routes(spec, 2), prompt_lengths=[5])
    profile = device(1e30, 1e30, compute={"ops_per_s": 1.0})
    for k in (2, 3):
        result = Simulation(profile, trace, Experts(k)).run().to_dict()
        every = 8 * 4 * 6 + 8 * 6 + 16 * 8 + k * 96  # attention, router, LM head, experts
        assert result["tpot_s"]["mean"] == pytest.approx(2 * every)
        assert result["ttft_s"] == pytest.approx(5 * 2 * every)


def test_gamma_of_one_and_a_threshold_of_none_are_plain_routing(traces: list[Trace]) -> None:
    plain, *same = (
        Simulation(device(), traces[1], masking, dram="0.6x").run().tokens["flash_bytes"].tolist()
        for masking in (Experts(), ExpertsCa(gamma=1), ExpertsCa(rule="drop", threshold=0))
    )
    assert same == [plain, plain]


def test_methods_and_models_that_do_not_go_together(tmp_path: Path, traces: list[Trace]) -> None:
    plain = write_trace(tmp_path / "t.zarr", small_model(), random_scores(small_model(), 3))
    for masking, trace, message in (
        (Dip(density=0.5), traces[0], "'small' is a mixture of experts, .*choose method 'experts' or 'experts-ca'"),
        (Dense(), traces[0], "is a mixture of experts"),
        (Experts(), plain, "'small' has no experts, .*choose 'dip' or 'dip-ca'"),
        (Experts(7), traces[0], "per_token: got 7; 'small' has 6 experts in a layer"),
    ):
        with pytest.raises(DipsimError, match=message):
            Simulation(device(), trace, masking)
    with pytest.raises(DipsimError, match="an oracle needs the masks of the future"):
        Simulation(device(), traces[0], ExpertsCa(), policy="belady")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"per_token": 0}, "per_token: got 0; must be a number of experts, at least 1"),
        ({"gamma": 2}, "gamma: got 2; must be in"),
        ({"rule": "drop", "threshold": -1}, "threshold: got -1; must be in"),
        ({"threshold": 0.3}, "threshold: got 0.3 with rule 'reweight'; only 'drop' has it"),
        ({"rule": "best"}, "rule: .*got 'best'"),
        ({"exempt_top": -1}, "exempt_top: got -1"),
        ({"rule": "top-m", "top_m": 0.5}, "top_m: got 0.5"),
    ],
)
def test_options_out_of_range(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError, match=message):
        ExpertsCa(**given)


def test_another_model_of_the_same_shape(traces: list[Trace]) -> None:
    spec = traces[0].model
    heavier = spec.model_copy(update={"bits": spec.bits.model_copy(update={"mlp": 16})})
    one, two = (Simulation(device(), traces[0], Experts(), policy="none", model=own).run() for own in (spec, heavier))
    row = spec.embedding_row_bytes
    assert ((two.tokens["flash_bytes"] - row) == 2 * (one.tokens["flash_bytes"] - row)).all()
    other = small_mixture(n_experts=5)
    with pytest.raises(DipsimError, match="model: experts: got 5 for 'small'; the trace was recorded with 6"):
        Simulation(device(), traces[0], Experts(), model=other)


def test_from_the_command_line(traces: list[Trace], tmp_path: Path) -> None:
    path, out = str(traces[0].path), tmp_path / "r.json"
    given = ["--profile", "oneplus-12-ufs4", "--dram", "0.8x"]
    done = run("simulate", path, *given, "--method", "experts", "--experts-per-token", "3", "--json", str(out))
    assert done.returncode == 0, done.stderr
    told = json.loads(out.read_text())
    assert told["config"]["per_token"] == 3
    again = Simulation.from_config(told["config"]).run().to_dict()
    assert again["tok_per_s"] == told["tok_per_s"]
    ca = ["--method", "experts-ca", "--rule", "drop", "--method-option", "threshold=0.3"]
    assert run("simulate", path, *given, *ca).returncode == 0
    assert "choose method 'experts' or 'experts-ca'" in complaint(run("simulate", path, *given))
    assert "8 of 128" in run("list", "models").stdout


def test_headroom_explain_and_timeline(traces: list[Trace], tmp_path: Path) -> None:
    path = str(traces[1].path)
    given = ["--profile", "oneplus-12-ufs4", "--dram", "0.6x", "--method", "experts", "--tokens", "20"]
    for command in ("headroom", "explain"):
        done = run(command, path, *given)
        assert done.returncode == 0, done.stderr
        assert "tok/s" in done.stdout
    assert run("simulate", path, *given, "--timeline", str(tmp_path / "t.json")).returncode == 0
    names = {event.get("name") for event in json.loads((tmp_path / "t.json").read_text())["traceEvents"]}
    assert {"experts", "shared_experts", "dense_mlp"} <= names


def test_sweeps_figures_and_statistics_know_which_layers_have_experts(traces: list[Trace]) -> None:
    spec = {"trace": str(traces[1].path), "method": "experts", "dram": "mlp:0.6", "tokens": 20}
    frame = sweep(spec | {"experts_per_token": [1, 2]}, workers=1)
    assert frame["error"].isna().all()
    for rates in frame["hit_rate_by_layer.experts"]:
        assert [rate is not None and not np.isnan(rate) for rate in rates] == [True, False, True]
    drawn = hit_rate_by_layer(frame, x="experts_per_token").data
    own = drawn[drawn["group"] == "experts"].dropna(subset="hit_rate")
    assert sorted(own["layer"]) == [0, 0, 2, 2]
    found = trace_statistics(traces[1], keep=0.4)
    assert found["layer"].tolist() == [0, 2]
