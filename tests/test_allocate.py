"""Allocation: the density is held, the search is no worse than its start and goes on where it was, files go round."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import device
from hypothesis import given
from hypothesis import strategies as st
from test_cli import SILENT_COMMAND, complaint, run

from dipsim import Dip, DipCa, DipsimError, Glu, Simulation, Trace
from dipsim.evaluation import Evaluation, evaluate
from dipsim.installation import how_to_add
from dipsim.methods import Keeps, split_density
from dipsim.sparsify.loading import load_model, read_text, windows
from dipsim.tuning import allocate
from dipsim.tuning.allocate import Splits
from dipsim.tuning.search import search

Keep = float | tuple[float, ...]


@given(st.floats(0.02, 0.98), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
def test_density_is_held_at_every_point(density: float, places: list[tuple[float, float]]) -> None:
    """Each coordinate anywhere in its range; with layers, the mean over them counts."""
    for splits in (Splits(density), Splits(density, len(places))):
        point = {}
        for (name, (low, high)), share in zip(
            splits.ranges.items(), [share for pair in zip(*places, strict=True) for share in pair], strict=False
        ):
            point[name] = low + share * (high - low)
        keep_input, keep_glu = splits.at(point)
        inputs = keep_input if isinstance(keep_input, tuple) else (keep_input,)
        glus = keep_glu if isinstance(keep_glu, tuple) else (keep_glu,)
        assert all(0 < keep <= 1 for keep in (*inputs, *glus))
        total = sum(2 * own + glu for own, glu in zip(inputs, glus, strict=True))
        assert total / (3 * len(inputs)) == pytest.approx(density, rel=1e-12)


@pytest.mark.parametrize("density", [0.1, 0.3, 0.5, 0.8, 0.95])
def test_zeros_are_the_papers_rule(density: float) -> None:
    assert Splits(density).at({"shift": 0.0}) == split_density(density)
    layered = Splits(density, 4)
    inputs, glus = layered.at(dict.fromkeys(layered.ranges, 0.0))
    assert inputs == pytest.approx([split_density(density)[0]] * 4, rel=1e-12)
    assert glus == pytest.approx([split_density(density)[1]] * 4, rel=1e-12)


def test_a_shift_moves_keep_input_by_its_logits() -> None:
    (before, _), (after, _) = (Splits(0.5).at({"shift": shift}) for shift in (0.0, 0.4))
    assert math.log(after / (1 - after)) - math.log(before / (1 - before)) == pytest.approx(0.4)
    offsets = {"shift_0": 0.0, "shift_1": 0.0, "offset_0": 0.1, "offset_1": 0.0}
    assert Splits(0.5, 2).at(offsets)[0] == pytest.approx([split_density(0.55)[0], split_density(0.45)[0]])


@pytest.mark.parametrize("density", [0.0, 1.0, -1.0, math.nan])
def test_densities_that_cannot_be_split(density: float) -> None:
    with pytest.raises(DipsimError, match="to be split it must be above 0 and below 1"):
        Splits(density)


RANGES = {"x": (-2.0, 2.0), "y": (-1.0, 1.0)}


def bowl(point: dict[str, float]) -> float:
    """Lowest, 1, at x = 0.8, y = -0.5."""
    return 1 + (point["x"] - 0.8) ** 2 + (point["y"] + 0.5) ** 2


def test_the_optimum_of_a_bowl_is_found(tmp_path: Path) -> None:
    tried = search(bowl, RANGES, 80, 3, tmp_path / "j", "bowl")
    assert tried[0] == ({"x": 0.0, "y": 0.0}, bowl({"x": 0.0, "y": 0.0}))
    assert all(value == bowl(point) for point, value in tried)
    best, lowest = min(tried, key=lambda trial: trial[1])
    assert lowest < 1.02
    assert (best["x"], best["y"]) == pytest.approx((0.8, -0.5), abs=0.15)


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    unbroken = search(bowl, RANGES, 25, 3, tmp_path / "whole", "bowl")
    n_calls = 0

    def broken(point: dict[str, float]) -> float:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 14:
            raise KeyboardInterrupt
        return bowl(point)

    with pytest.raises(KeyboardInterrupt):
        search(broken, RANGES, 25, 3, tmp_path / "parts", "bowl")
    assert search(broken, RANGES, 18, 3, tmp_path / "parts", "bowl") == unbroken[:18]
    assert search(broken, RANGES, 25, 3, tmp_path / "parts", "bowl") == unbroken
    assert n_calls == 25 + 1
    assert search(broken, RANGES, 10, 3, tmp_path / "parts", "bowl") == unbroken[:10]
    assert search(bowl, RANGES, 25, 4, tmp_path / "seed", "bowl")[5:] != unbroken[5:]
    # Another search in the same file knows nothing of this one.
    assert len(search(bowl, RANGES, 2, 3, tmp_path / "parts", "other")) == 2


def test_refusals_of_the_search(tmp_path: Path) -> None:
    for n_trials, seed in ((0, 0), (1, -1)):
        with pytest.raises(DipsimError, match=f"trials: got {n_trials} with seed {seed}"):
            search(bowl, RANGES, n_trials, seed, tmp_path / "j", "bowl")
    with pytest.raises(DipsimError, match="loss: got nan"):
        search(lambda point: math.nan, RANGES, 2, 0, tmp_path / "j", "bowl")


def described(kind: Callable[..., Dip]) -> Callable[[Trace, Keep, Keep], Simulation]:
    return lambda trace, keep_input, keep_glu: Simulation(
        device(), trace, kind(keep_input=keep_input, keep_glu=keep_glu), "lfu", dram="0.8x"
    )


@pytest.mark.parametrize(("kind", "per_layer"), [(Dip, False), (DipCa, True)])
def test_it_is_no_worse_than_the_papers_rule(tmp_path: Path, kind: Callable[..., Dip], per_layer: bool) -> None:
    tiny = load_model("tiny", dtype="float32")
    ids, density = windows(tiny.tokenizer, read_text("held-out"), 24, 2), 0.3
    options: dict[str, Any] = {"journal": tmp_path / "j", "per_layer": per_layer, "n_trials": 5}
    found = allocate(tiny, ids, described(kind), density, **options)

    def evaluated(masking: Dip) -> Evaluation:
        return evaluate(tiny, ids, lambda trace: Simulation(device(), trace, masking, "lfu", dram="0.8x"))

    def loss_of(masking: Dip) -> float:
        return evaluated(masking).loss

    assert found.loss_of_paper_rule == pytest.approx(loss_of(kind(density=density)), rel=1e-12)
    assert found.loss <= found.loss_of_paper_rule
    assert found.loss == loss_of(kind(keep_input=found.keep_input, keep_glu=found.keep_glu))
    best, paper = (
        np.array(evaluated(masking).to_dict()["loss_by_window"])
        for masking in (kind(keep_input=found.keep_input, keep_glu=found.keep_glu), kind(density=density))
    )
    if found.loss == found.loss_of_paper_rule:
        assert per_layer  # five trials of six numbers find nothing better
        assert found.loss_interval is None
    else:
        reach = 12.7062047 * abs(best[0] - paper[0] - best[1] + paper[1]) / 2  # of two windows
        mean = float(np.mean(best - paper))
        assert found.loss_interval == pytest.approx([mean - reach, mean + reach], rel=1e-6)
    kept = tmp_path / "keeps.json"
    kept.write_text(json.dumps(found.model_dump()))
    assert Keeps.load(kept) == found
    assert isinstance(found.keep_input, list) == per_layer
    assert found == allocate(tiny, ids, described(kind), density, **options | {"journal": tmp_path / "again"})
    assert (found.trials, found.model, found.method["name"]) == (5, "tiny", kind(density=density).name)


def test_trials_of_other_weights_are_not_taken_for_this_models(tmp_path: Path) -> None:
    tiny = load_model("tiny", dtype="float32")
    ids = windows(tiny.tokenizer, read_text("held-out"), 24, 1)
    before = allocate(tiny, ids, described(Dip), 0.4, journal=tmp_path / "j", n_trials=1)
    for parameter in tiny.model.parameters():
        parameter.data *= 1.5
    after = allocate(tiny, ids, described(Dip), 0.4, journal=tmp_path / "j", n_trials=1)
    assert after.loss != before.loss
    assert after == allocate(tiny, ids, described(Dip), 0.4, journal=tmp_path / "new", n_trials=1)


def test_a_method_without_two_keeps_is_refused(tmp_path: Path) -> None:
    tiny = load_model("tiny", dtype="float32")
    ids = windows(tiny.tokenizer, read_text("held-out"), 24, 1)
    with pytest.raises(DipsimError, match="method 'glu': has no two keeps"):
        allocate(
            tiny,
            ids,
            lambda trace, keep_input, keep_glu: Simulation(device(), trace, Glu(keep=0.5), "lfu"),
            0.5,
            journal=tmp_path / "j",
        )


def written(path: Path, **changes: object) -> Path:
    data: dict[str, object] = {"keep_input": 0.5, "keep_glu": 0.2, "density": 0.4, "loss": 2.0}
    data |= {"loss_of_paper_rule": 2.1, "trials": 3, "model": "tiny", "method": {"name": "dip"}, "text": None}
    path.write_text(json.dumps(data | {"dipsim_version": "0.1.0"} | changes))
    return path


@pytest.mark.slow
def test_the_command_and_its_file(tmp_path: Path) -> None:
    few = ("--method", "dip", "--density", "0.4", "--tokens", "24", "--window-tokens", "24", "--trials", "3")
    done = run("allocate", "tiny", "held-out", *few, "--per-layer", "-o", "keeps.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "by the paper's rule" in done.stdout
    assert done.stderr.splitlines() == ["dipsim: 3 trials in keeps.json.trials; use the split by --keeps keeps.json"]
    keeps = Keeps.load(tmp_path / "keeps.json")
    assert isinstance(keeps.keep_input, list)
    assert isinstance(keeps.keep_glu, list)
    assert keeps.text is not None
    assert keeps.text["name"] == "held-out"
    out, own = tmp_path / "r.json", str(tmp_path / "keeps.json")
    simulated = run("simulate", "tiny", "--method", "dip", "--keeps", own, "--tokens", "40", "--json", str(out))
    assert simulated.returncode == 0, simulated.stderr
    numbers = json.loads(out.read_text())
    assert (numbers["config"]["keep_input"], numbers["config"]["keep_glu"]) == (keeps.keep_input, keeps.keep_glu)
    assert numbers["config"]["density"] is None
    assert numbers["mlp_density"] == pytest.approx(0.4, abs=0.01)  # less what is below a whole column
    assert "exists already" in complaint(run("allocate", "tiny", "held-out", *few, "-o", own))


@pytest.mark.slow
def test_refusals_of_files(tmp_path: Path) -> None:
    simulate = ("simulate", "tiny", "--method", "dip", "--keeps")
    good = str(written(tmp_path / "good.json"))
    assert run(*simulate, good, "--tokens", "4").returncode == 0
    assert "beside density; give one of the two" in complaint(run(*simulate, good, "--density", "0.5"))
    assert "method 'glu' has no such option" in complaint(run("simulate", "tiny", "--method", "glu", "--keeps", good))
    four = written(tmp_path / "four.json", keep_input=[0.5] * 4, keep_glu=[0.2] * 4)
    assert "keep_input: got 4 values; 'tiny' has 3 layers" in complaint(run(*simulate, str(four)))
    for path, message in (
        (written(tmp_path / "typo.json", keep_inptu=0.5), "keep_inptu: unknown key; did you mean 'keep_input'"),
        (tmp_path / "none.json", "cannot be read"),
    ):
        with pytest.raises(DipsimError, match=message):
            Keeps.load(path)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DipsimError, match="not JSON"):
        Keeps.load(tmp_path / "bad.json")


def test_without_optuna_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "optuna.py").write_text("raise ModuleNotFoundError('No module named optuna')\n")
    places = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [*SILENT_COMMAND, "allocate", "tiny", "held-out", "--density", "0.4", "-o", str(tmp_path / "k.json")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": places}, check=False)
    assert f"search: optuna is not installed; {how_to_add('tune')}" in complaint(done)
