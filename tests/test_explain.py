"""One token taken apart, against the run's own table; and each what-if against a run that was built by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import MakeTrace, device, random_scores, small_model, tight_slots, write_trace
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import complaint, run
from test_hardware import AHEAD, HOT_TWO, profiles
from test_simulation import ATTENTION, HEAD, KV

from dipsim import Dense, Dip, DipCa, DipsimError, Gate, HardwareProfile, Simulation, Trace
from dipsim.methods import Method
from dipsim.results import Explanation

pytestmark = tight_slots
REAL = {"latency_s": 20e-6, "queue_depth": 2, "page_bytes": 16, "read_curve": [[16, 1e6], [64, 3e6]]}
COMPUTE = {"ops_per_s": 1e7, "launch_s": 1e-6, "select_s_per_column": 1e-7}
PARTS = ("flash_latency_s", "flash_bandwidth_s", "waiting_s", "dram_s", "compute_s", "selection_s")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    path = tmp_path_factory.mktemp("explain") / "trace.zarr"
    return write_trace(path, small_model(), random_scores(small_model(), 40), [30, 10], [3, 0])


def names(found: Explanation) -> list[str]:
    return found.what_ifs["what_if"].tolist()


@settings(deadline=None, max_examples=40)
@given(
    profiles(),
    st.sampled_from([Dense(), Dip(density=0.5), DipCa(density=0.4), Gate(keep=0.4)]),
    st.sampled_from(["none", "previous-token", "oracle"]),
    st.sampled_from(["none", "io", "pipelined"]),
    st.integers(0, 39),
)
def test_the_stages_add_up_to_the_token(
    trace: Trace, profile: HardwareProfile, masking: Method, prefetch: str, overlap: str, token: int
) -> None:
    more = {"overlap": overlap} if prefetch == "none" else {"prefetch": prefetch, **AHEAD}
    simulation = Simulation(profile, trace, masking, "lru", dram=1400, warmup=2, **more)
    found, row = simulation.explain(token), simulation.run().tokens.iloc[token]
    assert found.stages["seconds"].sum() == pytest.approx(row["token_s"], rel=1e-9)
    assert found.stages[list(PARTS)].sum(axis=1).to_numpy() == pytest.approx(found.stages["seconds"].to_numpy())
    assert found.token_s == row["token_s"]
    for part in PARTS:
        assert found.stages[part].sum() == pytest.approx(row[part.replace("_s", "_on_path_s")], rel=1e-9, abs=1e-15)
    for name in ("flash_reads", "flash_bytes", "active_columns"):
        assert found.stages[name].sum() == pytest.approx(row[name])
    assert found.stages["missed_columns"].sum() == row["active_columns"] - row["hits"]


@pytest.mark.parametrize("warmup", [0, 3])
def test_without_a_token_the_slowest_that_counts(trace: Trace, warmup: int) -> None:
    simulation = Simulation(device(), trace, Dip(density=0.4), "lru", dram="0.9x", warmup=warmup)
    tokens = simulation.run().tokens
    counted = tokens[~tokens["warm_up"]]
    found = simulation.explain()
    assert found.token == counted["token_s"].idxmax()
    assert found.token_s == counted["token_s"].max()
    assert found.median_s == counted["token_s"].median()
    given_one = simulation.explain(found.token)
    pd.testing.assert_frame_equal(given_one.stages, found.stages)
    assert simulation.explain(1).token_s == tokens["token_s"].iloc[1]  # one that does not count may be asked for


@pytest.mark.parametrize(("budget", "prefetch"), [("uniform", "none"), ("marginal", "none"), ("uniform", "oracle")])
def test_what_ifs_are_runs_built_by_hand(trace: Trace, budget: str, prefetch: str) -> None:
    profile = device(2e6, 8e6, flash_more=REAL | {"queue_depth": 1, "latency_s": 2e-4}, compute=COMPUTE)
    options: dict[str, Any] = {"policy": "lfu", "dram": 1250, "budget": budget, "prefetch": prefetch}
    options |= AHEAD | {"dram": 1450} if prefetch != "none" else {}
    masking = DipCa(density=0.4, gamma=0.3, exempt_top=1)
    found = Simulation(profile, trace, masking, **options).explain(7)
    deeper, instant = (profile.with_values({f"flash.{key}": n}) for key, n in (("queue_depth", 2), ("latency_s", 0)))
    plain = DipCa(density=0.4, gamma=1, exempt_top=1)
    by_hand = {
        "as it is": Simulation(profile, trace, masking, **options),
        "queue depth 2 instead of 1": Simulation(deeper, trace, masking, **options),
        "Flash latency 0": Simulation(instant, trace, masking, **options),
        "gamma 1 instead of 0.3": Simulation(profile, trace, plain, **options),
    }
    rows = found.what_ifs.set_index("what_if")
    assert [name for name in rows.index if "resident" not in name] == list(by_hand)
    for name, simulation in by_hand.items():
        result = simulation.run()
        assert rows.loc[name, "token_s"] == result.tokens["token_s"][7], name
        for key in ("tok_per_s", "hit_rate", "retained_magnitude", "mlp_error"):
            assert rows.loc[name, key] == result.to_dict()[key], name
    assert rows["tok_per_s"].nunique() == len(rows)


def test_a_resident_layer_in_closed_form(make_trace: MakeTrace) -> None:
    """Two columns of 24 and of 8 bytes in each layer, all from Flash; one layer's from DRAM instead."""
    model = small_model()
    scores = {"mlp_input": np.zeros((3, 2, 8), np.float16), "glu": np.zeros((3, 2, 12), np.float16)}
    for site in scores.values():
        site[:, :, :2] = 1
    trace = make_trace(model, scores)
    found = Simulation(device(1e6, 4e6), trace, HOT_TWO, "none", dram=2000, overlap="none").explain(2)
    pinned_s = (2 * ATTENTION + HEAD + 2 * KV) / 4e6
    row_s, columns = 8 / 1e6, 2 * (24 + 8)
    seconds = {
        "as it is": row_s + pinned_s + 2 * columns / 1e6,
        "layer 0 resident": row_s + pinned_s + columns / 1e6 + columns / 4e6,
        "everything resident": row_s + pinned_s + 2 * columns / 4e6,
    }
    assert names(found) == list(seconds)
    assert found.what_ifs["token_s"].tolist() == pytest.approx(list(seconds.values()), rel=1e-9)
    assert found.what_ifs["hit_rate"].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("masking", [DipCa(density=0.4, gamma=0.2), DipCa(density=0.4, rule="blend"), Gate(keep=0.4)])
def test_a_resident_layer_hits_all_and_leaves_the_others_alone(trace: Trace, masking: Method) -> None:
    """A cache sees its own layer alone, so that hits elsewhere stay what they were."""
    simulation = Simulation(device(), trace, masking, "lfu", dram=1250)
    found, layers = simulation.explain(20), simulation.run().layers
    layer = int(next(name for name in names(found) if name.startswith("layer")).split()[1])
    hits = np.where(layers["layer"] == layer, layers["active_columns"], layers["hits"])
    rows = found.what_ifs.set_index("what_if")
    expected = hits.sum() / layers["active_columns"].sum()
    assert rows.loc[f"layer {layer} resident", "hit_rate"] == pytest.approx(expected, rel=1e-12)
    by_layer = found.stages.dropna(subset="layer").groupby("layer")["seconds"].sum()
    assert by_layer[layer] == by_layer.max()


@pytest.mark.parametrize("gamma", [0.0, 0.2])
def test_where_everything_is_resident_the_mask_is_that_of_dip(trace: Trace, gamma: float) -> None:
    """No column needs favour where all are there; the seconds are those of the last step but one of dip's waterfall."""
    methods = DipCa(density=0.4, gamma=gamma), Dip(density=0.4)
    aware, plain = (Simulation(device(), trace, masking, "lfu", dram="0.9x") for masking in methods)
    row = aware.explain(20).what_ifs.set_index("what_if").loc["everything resident"]
    steps = plain.headroom().steps.set_index("step")
    assert row["hit_rate"] == 1
    assert row["retained_magnitude"] == plain.run().to_dict()["retained_magnitude"]
    assert row["tok_per_s"] == pytest.approx(steps.loc["everything resident", "tok_per_s"], rel=1e-12)


def test_more_reads_in_flight_are_asked_for_where_these_are_the_limit(trace: Trace) -> None:
    profile = device(2e6, 8e6, flash_more=REAL | {"queue_depth": 4, "latency_s": 2e-4})
    options: dict[str, Any] = {"policy": "lru", "dram": "0.9x"}
    found = Simulation(profile, trace, HOT_TWO, **options, io_depth=1).explain(7).what_ifs.set_index("what_if")
    assert [name for name in found.index if "instead" in name] == ["2 reads in flight instead of 1"]
    by_hand = Simulation(profile, trace, HOT_TWO, **options, io_depth=2).run()
    assert found.loc["2 reads in flight instead of 1", "tok_per_s"] == by_hand.to_dict()["tok_per_s"]
    assert "queue depth 8 instead of 4" in names(Simulation(profile, trace, HOT_TWO, **options, io_depth=4).explain(7))


def test_what_makes_no_sense_is_left_out(trace: Trace) -> None:
    ideal = Simulation(device(), trace, DipCa(density=0.4, gamma=1), "lru", dram="0.9x")
    assert names(ideal.explain(3)) == ["as it is", "layer 0 resident", "everything resident"]
    curve = device(flash_more={"read_curve": [[16, 1e6]], "queue_depth": 4})  # nothing waits for a place in the queue
    no_gamma = DipCa(density=0.4, rule="top-m")
    assert names(Simulation(curve, trace, no_gamma, "lru", dram="0.9x").explain(3))[1:] == [
        "layer 0 resident", "everything resident",
    ]  # fmt: skip
    roomy = Simulation(device(), trace, Dip(density=0.4), "lru", dram="2x")
    assert names(roomy.explain(3)) == ["as it is"]
    near = Simulation(device(), trace, Dip(density=0.4), "lru", dram="0.99x")
    late = int((near.run().tokens["hit_bytes"] == near.run().tokens["active_bytes"]).idxmax())
    assert names(near.explain(late)) == ["as it is", "everything resident"]  # cold starts, but not of this token
    warm = Simulation(device(), trace, Gate(keep=0.4), "none", dram="2x").explain(3)
    assert warm.what_ifs["retained_magnitude"].notna().all()


def test_the_headline_says_what_is_to_blame(make_trace: MakeTrace) -> None:
    """Two tokens that miss alike: 1 ms of latency for the row and each of four groups, at 1 GB/s beside it."""
    trace = make_trace(small_model(), random_scores(small_model(), 2))
    profile = device(1e9, 1e12, flash_more={"latency_s": 1e-3, "page_bytes": 16})
    headline = Simulation(profile, trace, HOT_TWO, "none", dram=2000).explain(1).headline
    assert headline.startswith(
        "Token 1 took 5.00 ms, 1.00 times the median; 100 % of it waits for Flash latency, most in layer"
    )
    assert "2 of 8 columns missed" not in headline
    assert "up_gate: 2 of 2 columns missed, in " in headline


@pytest.mark.parametrize("token", [-1, 40])
def test_a_token_that_is_not_there(trace: Trace, token: int) -> None:
    simulation = Simulation(device(), trace, Dip(density=0.4), "lru", dram="0.9x")
    with pytest.raises(DipsimError, match=rf"token: got {token}; must be at least 0 and below 40"):
        simulation.explain(token)


def test_progress_ends_where_it_said(trace: Trace) -> None:
    told: list[tuple[int, int]] = []
    Simulation(device(), trace, Dip(density=0.4), "lru", dram="0.9x").explain(3, lambda *now: told.append(now))
    assert told[-1] == (3 * 40, 3 * 40)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_command_prints_what_the_library_gives(tmp_path: Path) -> None:
    out = tmp_path / "explained.json"
    arguments = [
        "--density",
        "0.5",
        "--profile",
        "oneplus-12-ufs4",
        "--dram",
        "0.9x",
        "--tokens",
        "40",
        "--warmup",
        "8",
    ]
    done = run("explain", "tiny", *arguments, "--json", str(out))
    assert done.returncode == 0, done.stderr
    masking = DipCa(density=0.5)
    options: dict[str, Any] = {"dram": "0.9x", "tokens": 40, "warmup": 8}
    profile = HardwareProfile.load("oneplus-12-ufs4")
    found = Simulation(profile, Trace.open("tiny"), masking, "lfu", **options).explain()
    assert f"{found.headline} It is the slowest counted token." in done.stdout
    for name in names(found):
        assert name in done.stdout
    data = json.loads(out.read_text())
    assert list(data) == ["token", "token_s", "median_s", "headline", "stages", "what_ifs", "config", "dipsim_version"]
    assert data["token"] == found.token
    assert data["what_ifs"] == found.what_ifs.to_dict(orient="records")
    assert [row["layer"] for row in data["stages"]][:2] == [None, 0]
    assert sum(row["seconds"] for row in data["stages"]) == pytest.approx(data["token_s"])
    assert Simulation.from_config(data["config"]).explain(found.token).headline == found.headline


def test_mistakes_get_one_line(tmp_path: Path) -> None:
    assert "token: got 512; must be at least 0 and below 512" in complaint(run("explain", "tiny", "--token", "512"))
    (tmp_path / "there.json").write_text("{}")
    assert "exists already" in complaint(run("explain", "tiny", "--json", str(tmp_path / "there.json")))
