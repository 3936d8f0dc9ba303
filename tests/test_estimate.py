"""Estimates without a trace: each run of the band is the one that a synthetic trace of one's own would give."""

from __future__ import annotations

import importlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from conftest import small_model
from test_cli import complaint, run

import dipsim as ds
from dipsim import estimation
from dipsim.description import default_of
from dipsim.estimation import N_TOKENS, N_TOKENS_OF_MIXTURES, OWN_OPTIONS, PRESETS, PROMPT_TOKENS

MODEL = small_model(hidden_size=64, intermediate_size=512)
MIXTURE = small_model(mixture=ds.Mixture(n_experts=8, experts_per_token=2, expert_size=32))


def by_hand(folder: Path, model: ds.ModelSpec, preset: str, masking: ds.Method, policy: str, dram: str) -> float:
    """Tokens per second of the same run, spelled out."""
    n_tokens = N_TOKENS if model.mixture is None else N_TOKENS_OF_MIXTURES
    trace = ds.synthesize(folder / f"{preset}.zarr", model, n_tokens, preset=preset, prompt_tokens=PROMPT_TOKENS)
    profile = ds.HardwareProfile.load("oneplus-12-ufs4")
    result = ds.Simulation(profile, trace, masking, policy, dram=dram, warmup=n_tokens // 2).run()
    return float(result.to_dict()["tok_per_s"])


def test_a_band_is_three_runs_and_the_dense_one(tmp_path: Path) -> None:
    found = ds.estimate(MODEL, method="dip-ca", density=0.5, gamma=0.3, policy="lru", dram="0.9x", prefetch="none")
    expected = [by_hand(tmp_path, MODEL, own, ds.DipCa(density=0.5, gamma=0.3), "lru", "0.9x") for own in PRESETS]
    assert list(found.tok_per_s) == expected
    assert len(set(expected)) == 3
    assert list(found.results) == [*PRESETS, "dense"]
    dense = ds.Simulation(
        ds.HardwareProfile.load("oneplus-12-ufs4"),
        ds.Trace.open(tmp_path / "high.zarr"),
        ds.Dense(),
        dram="0.9x",
        warmup=N_TOKENS // 2,
    ).run()
    assert found.runs["tok_per_s"].iloc[-1] == dense.to_dict()["tok_per_s"]
    assert found.runs["scores"].tolist() == [*PRESETS, "dense"]


def test_of_a_mixture_it_is_experts_beside_no_cache(tmp_path: Path) -> None:
    found = ds.estimate(MIXTURE, dram="0.8x")
    assert found.tok_per_s[1] == by_hand(tmp_path, MIXTURE, "default", ds.Experts(), "lfu", "0.8x")
    assert list(found.results) == [*PRESETS, "no cache"]
    assert found.runs["hit_rate"].iloc[-1] == 0
    assert found.headline.startswith("small on oneplus-12-ufs4, experts: ")


@pytest.mark.parametrize("name", OWN_OPTIONS)
def test_what_an_estimate_sets_itself_is_refused(name: str) -> None:
    options: dict[str, Any] = {name: 4}
    with pytest.raises(ds.DipsimError, match=f"{name}: an estimate has its own"):
        ds.estimate(MODEL, **options)


def test_progress_counts_runs() -> None:
    told: list[tuple[int, int]] = []
    ds.estimate(MODEL, dram="0.9x", on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_notebook_shows_the_answer_and_the_runs() -> None:
    found = estimation.estimate(MODEL, dram="0.9x")
    assert found.headline in found._repr_html_()
    assert found._repr_html_().count("<tr") == 2 + 4  # the answer; headings and runs


def test_the_command_leaves_out_what_an_estimate_sets() -> None:
    assert importlib.import_module("dipsim.cli.estimate").OWN_OPTIONS == OWN_OPTIONS


def test_the_command_says_the_band_and_what_to_type_next(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    more = ("--set", "flash.queue_depth=4", "--no-stream-pinned", "--gamma-warm-up")
    options = ("--profile", "iphone-16", "--dram", "0.9x", "--density", "0.6", *more)
    done = run("estimate", "tiny", *options, "--json", str(path))
    assert done.returncode == 0, done.stderr
    told = json.loads(path.read_text())
    beside: dict[str, Any] = {"stream_pinned": False, "gamma_warm_up": True}
    found = ds.estimate(
        "tiny", "iphone-16", dram="0.9x", density=0.6, profile_values={"flash.queue_depth": 4}, **beside
    )
    assert (told["tok_per_s"]["low"], told["tok_per_s"]["default"], told["tok_per_s"]["high"]) == found.tok_per_s
    assert done.stdout.splitlines()[0] == found.headline
    assert [row["scores"] for row in told["runs"]] == [*PRESETS, "dense"]
    shown = done.stdout[done.stdout.index("Next: ") + len("Next: ") :].splitlines()
    for line in shown:
        words = shlex.split(line)
        assert words[0] == "dipsim"
        assert words[1] == "synth" or {*more} <= {*words}
        assert run(*words[1:], cwd=tmp_path).returncode == 0, line


def test_the_device_that_is_a_runs_default_is_one_too() -> None:
    done = run("estimate", "tiny", "--profile", default_of("profile"))
    assert done.stdout.startswith(f"tiny on {default_of('profile')}, "), done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("phi-3-medum",), "did you mean 'phi-3-medium'"),
        (("tiny", "--profile", "iphone16"), "did you mean 'iphone-16'"),
        (("tiny", "--method", "gate"), "gate"),
        (("tiny", "--dram", "lots"), "lots"),
    ],
)
def test_mistakes_are_one_line(options: tuple[str, ...], message: str) -> None:
    assert message in complaint(run("estimate", *options))


def test_another_models_trace_points_here(tmp_path: Path) -> None:
    assert "without a trace: dipsim estimate" in complaint(run("simulate", "tiny", "--model", "phi-3-medium"))
