"""Methods that need more than a density, from the command line: thresholds of cats, networks of the predictor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tight_slots

from dipsim import Trace
from dipsim.cli import main
from dipsim.sparsify.loading import read_text

pytestmark = tight_slots
Capture = pytest.CaptureFixture[str]
DENSITY = 0.5
CALIBRATION = ("--sites", "gate", "--sequence-tokens", "64", "--sequences", "6")


class Shell:
    """Runs commands in a folder, in this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys

    def run(self, line: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["dipsim", *line.split()])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self._capsys.readouterr()
        return int(end.value.code or 0), out, err

    def numbers(self, line: str) -> dict[str, Any]:
        code, _, err = self.run(f"{line} --json {self.folder / 'r.json'} --force")
        assert code == 0, err
        found: dict[str, Any] = json.loads((self.folder / "r.json").read_text())
        return found

    def complaint(self, line: str) -> str:
        code, out, err = self.run(line)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        return err


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Shell:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.txt").write_text(read_text("held-out")[100_000:])
    return Shell(tmp_path, monkeypatch, capsys)


@pytest.mark.slow
def test_cats_reaches_its_density_on_the_calibration_text(shell: Shell) -> None:
    code, _, err = shell.run(f"capture tiny other.txt -o calib.zarr.zip {' '.join(CALIBRATION)}")
    assert code == 0, err
    method = f"--method cats --density {DENSITY} --calibration calib.zarr.zip"
    own = shell.numbers(f"simulate calib.zarr.zip {method}")
    assert own["mlp_density"] == pytest.approx(DENSITY, abs=2e-3)
    gates = Trace.open("calib.zarr.zip").read("gate", 0, 384).view(np.float16).astype(float)
    keep = (DENSITY - 1 / 3) * 3 / 2
    for layer, threshold in enumerate(own["config"]["thresholds"]):
        assert threshold == pytest.approx(np.quantile(gates[:, layer], 1 - keep), rel=5e-3)

    windows = "--window-tokens 64 --tokens 256"
    evaluated = shell.numbers(f"evaluate tiny held-out {method} {windows} --save-trace eval.zarr.zip")
    assert evaluated["mlp_density"] == pytest.approx(DENSITY, abs=0.05)  # other text, and masked layers below
    assert evaluated["config"]["thresholds"] == own["config"]["thresholds"]
    dense, all_kept = (
        shell.numbers(f"evaluate tiny held-out {windows} {rest}")["perplexity"]
        for rest in ("--method dense", "--method cats --density 1 --calibration calib.zarr.zip")
    )
    assert all_kept == pytest.approx(dense, rel=1e-6)
    assert dense < evaluated["perplexity"] < 3 * dense
    replayed = shell.numbers(f"simulate eval.zarr.zip {method}")
    assert (replayed["mlp_density"], replayed["tok_per_s"]) == (evaluated["mlp_density"], evaluated["tok_per_s"])
    masked = f"capture tiny held-out -o masked.zarr.zip --sites gate,glu --sequences 1 {method}"
    assert shell.run(masked)[0] == 0
    assert Trace.open("masked.zarr.zip").masking["name"] == "cats"


def test_cats_refusals(shell: Shell) -> None:
    need = "method 'cats' needs --density and --calibration, a trace of other text: dipsim capture MODEL OTHER-TEXT"
    assert need in shell.complaint("evaluate tiny held-out --method cats --density 0.5")
    assert need in shell.complaint("simulate tiny --method cats --calibration tiny")
    assert "calibration: method 'dip' has no thresholds" in shell.complaint(
        "simulate tiny --method dip --calibration x"
    )
    assert "gamma: method 'cats' has no such option" in shell.complaint(
        "simulate tiny --method cats --density 0.5 --gamma 0.2 --calibration tiny"
    )
    assert "density: got 0.3; method 'gate' keeps gate dense" in shell.complaint(
        "simulate tiny --method cats --density 0.3 --calibration tiny"
    )
    assert "no such file, got 'no.zarr'" in shell.complaint(
        "simulate tiny --method cats --density 0.5 --calibration no.zarr"
    )
    assert shell.run("capture tiny other.txt -o glu.zarr --sites glu --sequences 1")[0] == 0
    assert "no scores at site 'gate', got glu" in shell.complaint(
        "simulate tiny --method cats --density 0.5 --calibration glu.zarr"
    )


@pytest.mark.slow
def test_a_predictor_is_trained_then_evaluated_then_replayed(shell: Shell) -> None:
    train = "train-predictor tiny other.txt -o p.safetensors --rank 8 --density 0.4 --epochs 1 --tokens 512"
    code, out, err = shell.run(f"{train} --window-tokens 64")
    assert code == 0, err
    assert "p.safetensors: recall is the share of the 40% largest neurons found, in 1 windows held out" in err
    rows = [line.split() for line in out.splitlines()[-4:]]
    assert [row[0] for row in rows] == ["0", "1", "2", "mean"]
    assert {row[2] for row in rows} == {"0.400"}
    assert float(rows[3][1]) == pytest.approx(np.mean([float(row[1]) for row in rows[:3]]), abs=1e-3)
    assert "'p.safetensors' exists already; give --force" in shell.complaint(train)

    evaluate = "evaluate tiny held-out --method predictor --density 0.4 --window-tokens 48 --tokens 96"
    evaluated = shell.numbers(f"{evaluate} --predictor p.safetensors --save-trace e.zarr.zip")
    assert evaluated["mlp_density"] == pytest.approx(358 / 896)  # floor(0.4 * 896)
    assert evaluated["config"]["rank"] == 8
    dense = shell.numbers("evaluate tiny held-out --method dense --window-tokens 48 --tokens 96")
    added_bytes = 3 * 8 * (256 + 896) / 2  # three layers of rank 8 at four bits
    assert evaluated["dram"]["pinned_bytes"] - dense["dram"]["pinned_bytes"] == added_bytes
    replayed = shell.numbers("simulate e.zarr.zip --method predictor --density 0.4 --rank 8")
    assert (replayed["tok_per_s"], replayed["hit_rate"]) == (evaluated["tok_per_s"], evaluated["hit_rate"])

    of_own = "drift e.zarr.zip tiny held-out --method predictor --density 0.4 --predictor p.safetensors --json d.json"
    code, out, err = shell.run(of_own)
    assert code == 0, err
    assert "hit rate" in out

    sites = "--sites glu,predictor --sequences 1 --sequence-tokens 48 --predictor p.safetensors"
    assert shell.run(f"capture tiny held-out -o dense.zarr.zip {sites}")[0] == 0
    assert shell.run(f"capture tiny held-out -o own.zarr.zip {sites} --method predictor --density 0.4")[0] == 0
    dense_trace, own_trace, seen = (Trace.open(f"{name}.zarr.zip") for name in ("dense", "own", "e"))
    assert own_trace.masking == {"name": "predictor", "density": 0.4, "rank": 8}
    assert (own_trace.read("predictor", 0, 48) == seen.read("predictor", 0, 48)).all()
    # The first layer's input is the same whatever is masked.
    assert (own_trace.read("predictor", 0, 48, 0) == dense_trace.read("predictor", 0, 48, 0)).all()
    assert (dense_trace.read("predictor", 0, 48, 1) != own_trace.read("predictor", 0, 48, 1)).any()
    assert shell.numbers("simulate dense.zarr.zip --method predictor --density 0.4 --rank 8")["n_tokens"] == 48

    assert "predictor: method 'dip' uses none, got one of rank 8" in shell.complaint(
        "evaluate tiny held-out --method dip --predictor p.safetensors"
    )
    assert "neither --method nor --sites names the predictor" in shell.complaint(
        "capture tiny held-out -o x.zarr --predictor p.safetensors"
    )
    assert not Path("x.zarr").exists()


def test_predictor_refusals(shell: Shell) -> None:
    need = "method 'predictor' needs a predictor: dipsim train-predictor MODEL OTHER-TEXT -o FILE makes one"
    assert need in shell.complaint("evaluate tiny held-out --method predictor --density 0.5 --tokens 256")
    assert need in shell.complaint("simulate tiny --method predictor --density 0.5")
    assert "needs scores at site 'predictor'" in shell.complaint(
        "simulate tiny --method predictor --density 0.5 --rank 8"
    )
    assert "dipsim train-predictor makes it" in shell.complaint(
        "capture tiny held-out -o x.zarr --sites predictor --sequences 1"
    )
    assert "predictor 'no.safetensors': cannot be read" in shell.complaint(
        "evaluate tiny held-out --method predictor --density 0.5 --predictor no.safetensors"
    )
    train = "train-predictor tiny other.txt -o q.safetensors"
    assert "rank: got 0" in shell.complaint(f"{train} --rank 0")
    assert "density: got 1.5" in shell.complaint(f"{train} --density 1.5")
    assert "text: got 1 window; at least 2 are needed" in shell.complaint(f"{train} --tokens 256")
    assert "epochs: got 0" in shell.complaint(f"{train} --tokens 512 --epochs 0")
    assert "text 'no.txt': cannot be read" in shell.complaint("train-predictor tiny no.txt -o q.safetensors")
    assert "its folder does not exist" in shell.complaint("train-predictor tiny other.txt -o no/q.safetensors")
    assert sorted(path.name for path in Path().iterdir()) == ["other.txt"]
