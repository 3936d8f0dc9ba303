"""Twenty settings whose results an independent plain rendering gives: counts exact, times to 1e-9."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import device, tight_slots, write_trace

from dipsim import ModelSpec, Simulation, Trace
from dipsim.methods import make

FOLDER = Path(__file__).parent / "conformance"
CASES = json.loads((FOLDER / "cases.json").read_text())


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    """The two traces of the cases."""
    made = {}
    for case in CASES:
        if case["trace"] not in made:
            with np.load(FOLDER / f"trace-{case['trace']}.npz") as arrays:
                scores = {site: arrays[site] for site in ("mlp_input", "glu")}
            path = tmp_path_factory.mktemp("traces") / f"{case['trace']}.zarr.zip"
            model = ModelSpec.parse(case["model"], "case")
            made[case["trace"]] = write_trace(path, model, scores, case["lengths"], case["prompt_lengths"])
    return made


@tight_slots
@pytest.mark.usefixtures("both_engines")
@pytest.mark.parametrize("number", range(len(CASES)))
def test_case(number: int, traces: dict[str, Trace]) -> None:
    case = CASES[number]
    options = {"density": case["density"], "gamma": case["gamma"] if case["method"] == "dip-ca" else None}
    simulation = Simulation(
        device(case["flash_read_bytes_per_s"], case["dram_read_bytes_per_s"]),
        traces[case["trace"]],
        make(case["method"], **options),
        case["policy"],
        admission=case["admission"],
        dram=case["dram_bytes"],
        overlap=case["overlap"],
    )
    result = simulation.run()
    got, expected = result.to_dict(), case["expected"]
    for name in ("hit_rate", "byte_hit_rate", "mlp_density", "retained_magnitude", "tok_per_s"):
        assert math.isclose(got[name], expected[name], rel_tol=1e-9, abs_tol=1e-15), name
    assert got["bytes_per_token"] == pytest.approx(expected["bytes_per_token"], rel=1e-12)
    assert got["hit_rate_by_group"] == pytest.approx(expected["hit_rate_by_group"], rel=1e-12)
    np.testing.assert_allclose(result.tokens["token_s"], expected["token_s"], rtol=1e-9)
