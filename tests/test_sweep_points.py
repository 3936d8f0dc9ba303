"""Sweeps as people type them: one list of densities for all methods, impossible devices, what comes out best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_cli import run

from dipsim import DipsimError, sweep
from dipsim.sweeps import Spec
from dipsim.sweeps.runs import runs_of


def test_what_a_method_lacks_is_left_out_and_twins_are_one_run() -> None:
    """Twelve points: dense once, glu and dip by density, dip-ca by both."""
    common = {"trace": "tiny", "tokens": 8, "dram": "0.8x"}
    mixed = common | {"method": ["dense", "glu", "dip", "dip-ca"], "density": [0.8, 0.9], "gamma": [0.2, 0.5]}
    alone: list[dict[str, Any]] = [
        {"method": "dense"},
        {"method": "glu", "density": [0.8, 0.9]},
        {"method": "dip", "density": [0.8, 0.9]},
        {"method": "dip-ca", "density": [0.8, 0.9], "gamma": [0.2, 0.5]},
    ]
    spec = Spec.load(mixed)
    expected = [each.key for own in alone for each in runs_of(Spec.load(common | own))]
    assert len(spec.points) == 16
    assert [each.key for each in runs_of(spec)] == expected
    frame = sweep(mixed).set_index("method")
    assert frame.loc["dense", ["density", "gamma"]].isna().all()
    assert frame.loc["dip", "gamma"].isna().all()
    assert sorted(frame.loc["dip-ca", "gamma"]) == [0.2, 0.2, 0.5, 0.5]


def test_one_method_that_lacks_what_it_is_given_is_refused() -> None:
    with pytest.raises(DipsimError, match="gamma"):
        sweep({"trace": "tiny", "tokens": 8, "method": "dip", "gamma": [0.2, 0.5]})


def test_an_impossible_device_fails_alone() -> None:
    frame = sweep({"trace": "tiny", "tokens": 8, "profile": "a18-paper", "profile.flash.read_bytes_per_s": [1e9, -1]})
    assert frame["error"].isna().tolist() == [True, False]
    assert "flash.read_bytes_per_s: got -1" in frame["error"].iloc[1]


def test_the_five_best_are_told_at_the_end(tmp_path: Path) -> None:
    spec = tmp_path / "s.toml"
    spec.write_text('trace = "tiny"\ntokens = 8\nmethod = ["dip", "glu"]\ndensity = [0.75, 0.8, 0.85, 0.9]\n')
    out = str(tmp_path / "results")
    told = run("sweep", str(spec), "-o", out, "--best", "mlp_error")
    frame = pd.read_parquet(out).sort_values("mlp_error")
    rows = [line.split()[:2] for line in told.stdout.splitlines()[2:]]
    assert rows == [[method, f"{density:g}"] for method, density in frame[["method", "density"]].head(5).to_numpy()]
    assert "next: dipsim report" in told.stderr
    assert "best: got 'n_tokens'" in run("sweep", str(spec), "-o", out, "--best", "n_tokens").stderr
    counted = run("sweep", str(spec), "--dry-run").stderr
    assert "8 runs" in counted
    assert "points" not in counted
