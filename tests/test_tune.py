"""A search finds what a full sweep finds, keeps its bound, goes on as if it had not stopped, and survives failures."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import tight_slots
from test_cli import COMMAND, SILENT_COMMAND, complaint, run

import dipsim as ds
from dipsim.description import Description
from dipsim.errors import DipsimError
from dipsim.installation import how_to_add
from dipsim.policies import policies
from dipsim.sweeps import read_results, read_specs
from dipsim.tuning import Bound, Tuned, tuning
from dipsim.tuning.search import Interval, propose
from dipsim.tuning.space import first_points, space_of

pytestmark = tight_slots
HELD: dict[str, Any] = {"trace": "tiny", "profile": "a18-paper", "dram": "0.6x", "tokens": 64}
# All but density and gamma.
PLAIN = HELD | {"policy": "lfu", "admission": "always", "budget": "by-bytes", "layout": "column"}


def table(folder: Path) -> bytes:
    return (folder / "results.parquet").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuned]:
    """A search of 14 trials that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole") / "tuned"
    return folder, ds.tune(HELD, folder, max_error=0.3, n_trials=14, seed=1)


# --- what is found ---


@pytest.mark.slow
def test_it_finds_what_a_full_sweep_finds() -> None:
    """Density and gamma are numbers for the search, and a grid for the sweep."""
    grid = {"density": {"start": 0.1, "stop": 1.0, "step": 0.05}, "gamma": [0.05, 0.2, 0.4, 0.6, 0.8, 1.0]}
    swept = ds.sweep(PLAIN | grid, workers=1)
    best = swept[swept["mlp_error"] <= 0.3]["tok_per_s"].max()
    assert best > 1.02 * swept[swept["density"] == 1.0]["tok_per_s"].max()  # there is something to be found
    for seed in (0, 1):
        found = ds.tune(PLAIN, max_error=0.3, n_trials=40, seed=seed)
        assert found.best is not None
        assert found.best["tok_per_s"] > 0.9 * best, seed
        assert len(found.rows) == 40 < len(swept) / 2
        late = [row["mlp_error"] for row in found.rows[20:]]
        assert abs(float(np.median(late)) - 0.3) < 0.05  # the bound is where it looks


def test_the_very_best_of_a_few_is_found() -> None:
    choices = {"density": [0.4, 0.5, 0.6, 0.7], "policy": ["lru", "lfu"], "budget": ["uniform", "by-bytes"]}
    given = HELD | choices | {"gamma": 0.5, "admission": "always", "layout": "column"}
    swept = ds.sweep(given, workers=1)
    enough = swept[swept["mlp_error"] <= 0.25]
    assert 0 < len(enough) < len(swept) == 16
    found = ds.tune(given, max_error=0.25, n_trials=16)
    assert len(found.rows) == 16  # no point is tried twice before all were
    assert found.best is not None
    assert found.best["tok_per_s"] == enough["tok_per_s"].max()
    assert len(found.feasible) == len(enough)


def test_the_best_meets_the_bound_in_a_run_of_its_own(whole: tuple[Path, Tuned]) -> None:
    _, found = whole
    best = found.best
    assert best is not None
    profile, trace = ds.HardwareProfile.load("a18-paper"), ds.Trace.open("tiny")
    sim = ds.Simulation(
        profile,
        trace,
        ds.DipCa(density=best["density"], gamma=best["gamma"]),
        best["policy"],
        admission=best["admission"],
        budget=best["budget"],
        layout=best["layout"],
        dram="0.6x",
        tokens=64,
    )
    numbers = sim.run().to_dict()
    assert numbers["mlp_error"] <= 0.3
    assert numbers["tok_per_s"] == best["tok_per_s"]
    better = [row for row in found.rows if row["tok_per_s"] > best["tok_per_s"]]
    assert better
    assert all(row["mlp_error"] > 0.3 for row in better)
    default = ds.Simulation(profile, trace, ds.DipCa(density=0.7, gamma=0.2), "lfu", dram="0.6x", tokens=64)
    assert found.default["tok_per_s"] == default.run().to_dict()["tok_per_s"]


@pytest.mark.slow
def test_a_bound_on_perplexity() -> None:
    from dipsim.evaluation import evaluate
    from dipsim.sparsify.loading import load_model, read_text, windows

    text = {"evaluate.model": "tiny", "evaluate.text": "held-out", "evaluate.tokens": 128, "evaluate.window_tokens": 64}
    given = text | {"dram": "0.6x", "policy": "lfu", "layout": "column", "gamma": [0.2, 1.0], "density": [0.3, 0.5, 1]}
    found = ds.tune(given, max_perplexity=13.0, n_trials=5)
    assert found.best is not None
    assert 0 < len(found.feasible) < len(found.rows) == 5
    assert found.default["perplexity"] > 13 >= found.best["perplexity"]
    model = load_model("tiny")
    ids = windows(model.tokenizer, read_text("held-out"), 64, n_tokens=128)
    config = {name: found.best[name] for name in ("admission", "budget")}
    masking, profile = ds.DipCa(found.best["density"], gamma=found.best["gamma"]), ds.HardwareProfile.load("a18-paper")
    again = evaluate(model, ids, lambda trace: ds.Simulation(profile, trace, masking, "lfu", dram="0.6x", **config))
    assert found.best["perplexity"] == pytest.approx(again.perplexity, rel=1e-5)


# --- what is searched ---


def test_what_is_given_is_held_and_the_defaults_come_first() -> None:
    space = space_of({"trace": "tiny"})
    assert first_points(space)[0] == {
        name: {"density": 0.7, "gamma": 0.2}.get(name, Description.model_fields[name].default) for name in space
    }
    assert list(space) == ["density", "gamma", "policy", "admission", "budget", "layout"]
    for given, gone in (
        ({"density": 0.3}, {"density"}),
        ({"keep_input": 0.3, "keep_glu": 0.2}, {"density"}),
        ({"keeps": "keeps.json"}, {"density"}),
        ({"method": "dip"}, {"gamma"}),
        ({"method": "dense"}, {"density", "gamma"}),
        ({"rule": "top-m"}, {"gamma"}),
        ({"policy_option.half_life": 8}, {"policy"}),
        ({"layout": "column", "budget": "uniform"}, {"layout", "budget"}),
    ):
        assert space.keys() - space_of({"trace": "tiny"} | given).keys() == gone, given
    glu = space_of({"trace": "tiny", "method": "glu"})  # up and gate, two thirds, are dense
    assert glu["density"] == Interval(0.67, 1.0, 0.005)
    assert [point["density"] for point in first_points(glu)] == [0.7, 1.0]
    assert space["density"] == space_of({"method": "predictor"})["density"] == Interval(0.1, 1.0, 0.005)
    assert space_of({"policy": ["lru", "arc"]})["policy"] == ("lru", "arc")
    assert "marginal" not in space_of({"evaluate.model": "tiny"})["budget"]


def test_proposals_are_in_the_space_and_new() -> None:
    space = {"x": Interval(0.1, 1.0, 0.3), "kind": ("a", "b")}
    tried: list[tuple[dict[str, Any], float]] = []
    for _ in range(8):
        tried.append((propose(tried, space, 5), float(len(tried))))
    points = [(point["x"], point["kind"]) for point, _ in tried]
    assert sorted(points) == [(x, kind) for x in (0.1, 0.4, 0.7, 1.0) for kind in ("a", "b")]
    assert propose(tried, space, 5) in [point for point, _ in tried]


def test_proposals_go_where_values_are_low_though_some_are_infinite() -> None:
    space = {"x": Interval(0.0, 1.0)}
    rng = np.random.default_rng(0)
    tried = [({"x": x}, float("inf") if x > 0.5 else -x) for x in rng.random(60).tolist()]
    found = [propose(tried[: 40 + i], space, i)["x"] for i in range(20)]
    assert 0.35 < float(np.median(found)) <= 0.55


@pytest.mark.parametrize(
    ("row", "by_error", "by_perplexity"),
    [
        ({"mlp_error": 0.25, "perplexity": 8.0}, 0.05, -2.0),
        ({"mlp_error": 0.1, "perplexity": 12.5}, -0.1, 2.5),
        ({"mlp_error": 0.2, "perplexity": 10.0}, 0.0, 0.0),
        ({"error": "no"}, float("inf"), float("inf")),
        ({"mlp_error": float("nan"), "perplexity": float("inf")}, float("inf"), float("inf")),
    ],
)
def test_by_how_much_a_bound_is_broken(row: dict[str, Any], by_error: float, by_perplexity: float) -> None:
    whole_row = {"error": None} | row
    assert Bound.of(0.2, None).excess(whole_row) == pytest.approx(by_error)
    assert Bound.of(None, 10.0).excess(whole_row) == pytest.approx(by_perplexity)


def test_a_run_without_the_number_is_a_mistake() -> None:
    with pytest.raises(DipsimError, match="bound: method 'dense' has no perplexity"):
        Bound.of(None, 10.0).excess({"error": None, "method": "dense"})


# --- going on ---


class EnoughError(Exception):
    """Stops a search from within."""


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(
    whole: tuple[Path, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out, n_runs = tuning.carry_out, 0

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal n_runs
        n_runs += 1
        return carry_out(*given, **named)

    def stop(done: int, total: int, note: str) -> None:
        if done == 6:
            raise EnoughError

    monkeypatch.setattr(tuning, "carry_out", counted)
    with pytest.raises(EnoughError):
        ds.tune(HELD, tmp_path / "cut", max_error=0.3, n_trials=14, seed=1, on_progress=stop)
    assert n_runs == len(pd.read_parquet(tmp_path / "cut")) == 6
    ds.tune(HELD, tmp_path / "cut", max_error=0.3, n_trials=9, seed=1)
    found = ds.tune(HELD, tmp_path / "cut", max_error=0.3, n_trials=14, seed=1)  # and further
    assert n_runs == 14
    assert table(tmp_path / "cut") == table(whole[0])
    for name in ("key", "density", "tok_per_s"):
        assert found.history[name].tolist() == read_results(whole[0])[name].tolist()
    (_, text) = read_specs(tmp_path / "cut")[0]
    assert read_specs(tmp_path / "cut") == read_specs(whole[0])
    assert tomllib.loads(text)["density"] == {"start": 0.1, "stop": 1.0, "step": 0.005}
    assert tomllib.loads(text)["dram"] == "0.6x"
    other = ds.tune(HELD, max_error=0.3, n_trials=5, seed=2).rows
    assert [row["key"] for row in other[:3]] == [row["key"] for row in found.rows[:3]]
    assert other[4]["key"] != found.rows[4]["key"]


def n_kept(out: Path) -> int:
    """Trials whose runs a folder has, wherever in it."""
    return len(read_results(out)) if (out / "results.parquet").exists() or [*out.glob("_log/[!.]*.json")] else 0


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_by_the_same_command(whole: tuple[Path, Tuned], tmp_path: Path) -> None:
    out = tmp_path / "killed"
    options = ["--profile", "a18-paper", "--dram", "0.6x", "--tokens", "64", "--max-error", "0.3", "--seed", "1"]
    command = [*COMMAND, "tune", "tiny", *options, "--trials", "14", "-o", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while n_kept(out) < 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert n_kept(out) < 14
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert table(out) == table(whole[0])
    best = whole[1].best
    assert best is not None
    for name in ("density", "gamma", "tok_per_s"):
        (line,) = [line.split() for line in done.stdout.splitlines() if line.startswith(f"{name} ")]
        assert float(line[1]) == pytest.approx(best[name], rel=1e-3)
        assert float(line[2]) == pytest.approx(whole[1].default[name], rel=1e-3)
    assert f"14 trials, 14 runs in {out}: {len(whole[1].feasible)} meet the bound" in " ".join(done.stderr.split())


# --- failures ---


class Fails(ds.ScorePolicy):
    """Raises what is no mistake of the user's."""

    def on_access(self, columns: Any, token: int) -> None:
        raise RuntimeError("on purpose")


def test_trials_that_fail_do_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(policies._entries, "fails-in-the-run", Fails)
    given = HELD | {"policy": ["fails-in-the-run", "belady", "lfu"], "budget": "uniform", "layout": "column"}
    found = ds.tune(given, tmp_path / "tuned", max_error=0.3, n_trials=12)
    errors = found.history["error"]
    assert errors.str.startswith("policy Fails: RuntimeError: on purpose (test_tune.py, line ", na=False).any()
    assert errors.str.contains("an oracle needs the masks of the future", na=False).any()
    assert found.best is not None
    assert found.best["policy"] == "lfu"
    assert all(row["policy"] == "lfu" for row in found.feasible)
    before = table(tmp_path / "tuned")
    ds.tune(given, tmp_path / "tuned", max_error=0.3, n_trials=12)
    assert table(tmp_path / "tuned") == before
    none = ds.tune(given | {"policy": "fails-in-the-run"}, max_error=0.3, n_trials=4)
    assert (none.best, none.nearest) == (None, None)


@pytest.mark.slow
def test_where_no_trial_meets_the_bound_the_nearest_is_told(tmp_path: Path) -> None:
    done = run(
        "tune", "tiny", "--density", "0.4", "--dram", "0.6x", "--tokens", "64", "--max-error", "0.01", "--trials", "4",
        "-o", str(tmp_path / "tuned"),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    frame = read_results(tmp_path / "tuned")
    nearest = frame.loc[frame["mlp_error"].idxmin()]
    (line,) = [line for line in done.stderr.splitlines() if "no trial meets" in line]
    assert "no trial meets the bound: mlp_error at most 0.01" in line
    assert f"the nearest has {nearest['mlp_error']:.3f} (gamma {nearest['gamma']:.4g}, " in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "bound: give max-error or max-perplexity, one of the two"),
        (("--max-error", "0.1", "--max-perplexity", "9"), "bound: give max-error or max-perplexity, one of the two"),
        (("--max-error", "1"), "max-error: got 1.0; a share of the MLPs' outputs, at least 0 and below 1"),
        (("--max-error", "nan"), "max-error: got nan"),
        (("--max-perplexity", "9"), "max-perplexity: scores have none; name a model and a text"),
        (("--max-error", "0.1", "--trials", "0"), "trials: got 0 with seed 0"),
        (("--max-error", "0.1", "--seed", "-1"), "trials: got 100 with seed -1"),
        (("--max-error", "0.1", "--policy", "lfuu"), "unknown name, got 'lfuu'; did you mean 'lfu'"),
        (("--max-error", "0.1", "--method", "dipp"), "unknown name, got 'dipp'; did you mean 'dip'"),
        (("--max-error", "0.1", "--profile", "a19"), "a19"),
        (("--max-error", "0.1", "--window-tokens", "8"), "evaluate: model: missing"),
        (("--max-error", "0.1", "--evaluate", "tiny", "--text", "held-out"), "trace: does not go with [evaluate]"),
        (
            ("--max-error", "0.1", "--method", "dense", "--policy", "lfu", "--admission", "always",
             "--budget", "uniform", "--layout", "column"),
            "tune: everything is given, and nothing left to search",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = run("tune", "tiny", "--tokens", "32", "-o", str(tmp_path / "tuned"), *options)
    assert message in complaint(done)


def test_a_folder_of_something_else_is_refused(whole: tuple[Path, Tuned], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("x")
    with pytest.raises(DipsimError, match="holds no sweep"):
        ds.tune(HELD, tmp_path / "mine", max_error=0.3)


def test_without_optuna_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "optuna.py").write_text("raise ModuleNotFoundError('No module named optuna')\n")
    places = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [*SILENT_COMMAND, "tune", "tiny", "--max-error", "0.3", "-o", str(tmp_path / "tuned")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": places}, check=False)
    assert f"search: optuna is not installed; {how_to_add('tune')}" in complaint(done)
