"""Who leaves out more than models of a size are known to bear is told so, once the run is done."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import MakeTrace, device, small_model

from dipsim import Dense, Dip, Method, ModelSpec, Simulation
from dipsim.results.ruin import warn_of_ruin


@pytest.mark.parametrize(
    ("name", "error", "is_told"),
    [
        ("qwen3-0.6b", 0.31, True),
        ("qwen3-0.6b", 0.3, False),
        ("qwen3-0.6b", None, False),
        ("smollm2-1.7b", 0.39, True),
        ("phi-3-medium", 0.39, False),  # of this size nothing is known
    ],
)
def test_what_small_models_are_known_not_to_bear(name: str, error: float | None, is_told: bool) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warn_of_ruin(ModelSpec.load(name), error)
    assert [str(one.message)[:15] for one in told] == ([f"mlp_error: {error}"] if is_told else [])


@pytest.mark.parametrize("masking", [Dip(keep_input=0.5, keep_glu=1.0), Dense()], ids=["dip", "dense"])
def test_a_run_tells(masking: Method, make_trace: MakeTrace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipsim.results.ruin._FEWEST_WEIGHTS", 0)
    scores = {"mlp_input": np.ones((2, 2, 8), np.float16), "glu": np.ones((2, 2, 12), np.float16)}
    run = Simulation(device(), make_trace(small_model(), scores), masking)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = run.run()
    errors = [str(one.message) for one in told if "mlp_error" in str(one.message)]
    if isinstance(masking, Dense):
        assert not errors
        assert result.mlp_error == 0
    else:  # half of equal squares
        assert result.mlp_error == pytest.approx(0.5**0.5)
        assert errors[0].startswith("mlp_error: 0.71; above 0.3, perplexity of models of this size was found to rise")
