"""Studies of real models: what is watched beside an evaluation, and what becomes of its blocks."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
from conftest import device, tight_slots
from random_models import IDS, as_scores, random_model

from benchmarks.models import gammas, tradeoff
from benchmarks.models.runs import Place, Run, estimate, summary
from benchmarks.models.watching import Watch
from dipsim import Dense, Dip, MagnitudePruning, Simulation
from dipsim.evaluation import evaluate
from dipsim.methods import Method

pytestmark = tight_slots


def watched(family: str, masking: Method) -> tuple[Any, dict[str, list[float]]]:
    loaded = random_model(family)
    with Watch(loaded, masking, is_on=True) as watch:
        found = evaluate(loaded, IDS, lambda trace: watch.around(Simulation(device(), trace, masking)))
    hooks = [module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules()]
    assert not any(hooks)
    return found, watch.seen


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_errors_of_the_first_layer_equal_those_by_hand(family: str) -> None:
    loaded, inputs = random_model(family), []
    mlp = loaded.model.model.layers[0].mlp
    handle = mlp.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with torch.no_grad():
        for ids in torch.from_numpy(IDS):
            loaded.model(ids[None])
        handle.remove()
        x = torch.cat(inputs).flatten(0, 1)
        mask = np.stack([reference.top_k(row, 8) for row in as_scores(x.abs())])
        masked, whole = mlp(x * torch.from_numpy(mask)), mlp(x)
    squares = x.numpy() ** 2
    _, seen = watched(family, Dip(keep_input=0.5, keep_glu=1.0))
    expected = ((masked - whole).norm(dim=-1) / whole.norm(dim=-1)).mean()
    assert seen["error"][0] == pytest.approx(float(expected), rel=1e-3)
    assert seen["energy.mlp_input"][0] == pytest.approx(((squares * mask).sum(1) / squares.sum(1)).mean(), rel=1e-3)
    assert seen["energy.glu"] == [1.0, 1.0]


def test_weights_that_are_left_out_show_too() -> None:
    _, dense = watched("llama", Dense())
    assert dense["error"] == [0.0, 0.0]
    _, pruned = watched("llama", MagnitudePruning(0.5))
    assert 0.1 < pruned["error"][0] < 1


def test_the_estimate_of_a_run_is_dipsims_own() -> None:
    found, seen = watched("llama", Dip(density=0.5))
    row = found.to_dict() | seen
    # Means of shares are multiplied here, there shares: the same where they hardly vary.
    assert estimate(row) == pytest.approx(row["mlp_error"], rel=0.05)
    assert math.isnan(estimate({"retained_magnitude": None}))
    assert estimate({"retained_magnitude": 1.0}) == 0


def block(losses: list[list[float]], tok_per_s: float, **options: Any) -> dict[str, Any]:
    flat = {
        "window": [window for window, own in enumerate(losses) for _ in own],
        "loss": [loss for own in losses for loss in own],
    }
    numbers = {"n_tokens": 100, "tok_per_s": tok_per_s, "hit_rate": 0.5, "retained_magnitude": 1.0, "error": [0.3, 0.4]}
    return {"options": options, "losses": flat, **numbers}


def test_blocks_become_one_row_beside_dense_ones_of_the_same_windows() -> None:
    dense = [block([[1, 3], [2, 2]], 9), block([[2, 2], [2, 2]], 9), block([[5, 5], [5, 5]], 9)]
    row = summary([block([[2, 3], [3, 3]], 10, density=0.5), block([[2, 3], [2, 2]], 30)], dense)
    gained = np.array([0.5, 1, 0.5, 0])  # by window
    assert row["density"] == 0.5
    assert row["tokens"] == 8
    assert row["perplexity"] == pytest.approx(math.exp(2.5))
    assert row["perplexity_se"] == pytest.approx(math.exp(2.5) * np.std([2.5, 3, 2.5, 2], ddof=1) / 2)
    assert (row["lost"], row["lost_se"]) == pytest.approx((gained.mean(), gained.std(ddof=1) / 2))
    assert row["tok_per_s"] == pytest.approx(200 / (100 / 10 + 100 / 30))
    assert row["output_error"] == pytest.approx(math.sqrt(0.125))


def test_what_is_kept_is_not_run_again(tmp_path: Path) -> None:
    given = argparse.Namespace(
        threads=1, model=Path("some/model"), text=Path("none"), results=tmp_path, blocks=2, kept=True
    )
    place, options = Place(given), {"method": "dip", "density": 0.5}
    for own in ({"method": "dense"}, options):
        kept = block([[2.0], [3.0]], 10, **own) | {"block": 0}
        (tmp_path / "model" / Run(own, 0).name).write_text(json.dumps(kept))
    (row,) = place.rows([options, {"method": "dip", "density": 0.6}])
    assert (row["method"], row["tokens"], row["lost"]) == ("dip", 2, 0)


def test_every_run_has_a_file_of_its_own() -> None:
    cases = [*tradeoff.cases(), *(case for case in gammas.cases() if case not in list(tradeoff.cases()))]
    names = [Run(case, 0).name for case in cases]
    assert len(set(names)) == len(names)
    cats = {"method": "cats", "density": 0.5, "calibration": "cats.zarr"}
    assert Run(cats, 3).name == "cats_density0.5_calibrationcats.3.json"
