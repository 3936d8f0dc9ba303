"""Drift: replay and closed loop of the same tokens, the interval of their gap, and the certificate in the trace."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from conftest import device, random_scores, small_model, tight_slots, write_trace
from scipy import stats
from test_cli import complaint, run

from dipsim import Dense, Dip, DipCa, DipsimError, Simulation, Trace
from dipsim.evaluation import Drift, drift, evaluate
from dipsim.evaluation.drift import gaps_of
from dipsim.methods import Method
from dipsim.sparsify.capture import capture
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows

N_PROMPT, N_RECORDED, N_SEQUENCES = 4, 20, 3
TEXT = read_text("held-out")


@pytest.fixture(scope="module")
def tiny() -> LoadedModel:
    return load_model("tiny", dtype="float32")


@pytest.fixture(scope="module")
def traces(tiny: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Method], Trace]:
    """A trace of the first windows of the text, captured under a method."""
    folder = tmp_path_factory.mktemp("traces")
    ids = windows(tiny.tokenizer, TEXT, N_PROMPT + N_RECORDED, N_SEQUENCES)

    def captured(masking: Method) -> Trace:
        path = folder / f"{masking.name}.zarr.zip"
        if not path.exists():
            capture(tiny, ids, path, masking=masking, n_prompt=N_PROMPT)
        return Trace.open(path)

    return captured


def described(masking: Method) -> Callable[[Trace], Simulation]:
    return lambda trace: Simulation(device(), trace, masking, "lfu", dram="0.8x")


def test_replaying_under_the_method_of_the_capture_is_the_closed_loop(
    tiny: LoadedModel, traces: Callable[[Method], Trace]
) -> None:
    found = drift(tiny, TEXT, traces(Dip(density=0.5)), described(Dip(density=0.5)))
    pd.testing.assert_frame_equal(found.replay.tokens, found.closed_loop.tokens)
    for gap in found.gaps.values():
        assert (gap.gap, gap.relative, gap.interval) == (0, 0, [0, 0])


@pytest.mark.parametrize("masking", [Dip(density=0.4), DipCa(density=0.4, gamma=0.2)], ids=lambda own: own.name)
def test_gaps_are_those_of_two_runs(tiny: LoadedModel, traces: Callable[[Method], Trace], masking: Method) -> None:
    trace, describe = traces(Dense()), described(masking)
    found = drift(tiny, TEXT, trace, describe, n_batch=2)
    ids = windows(tiny.tokenizer, TEXT, N_PROMPT + N_RECORDED, N_SEQUENCES)
    replayed = describe(trace).run().to_dict()
    looped = evaluate(tiny, ids, describe, n_prompt=N_PROMPT, n_batch=2).result.to_dict()
    assert replayed["hit_rate"] != looped["hit_rate"]
    for numbers in (replayed, looped):
        numbers["flash_bytes_per_token"] = numbers["bytes_per_token"]["flash"]
    assert len(found.gaps) == 6
    for name, gap in found.gaps.items():
        assert gap.replay == pytest.approx(replayed[name], rel=1e-12)
        assert gap.closed_loop == pytest.approx(looped[name], rel=1e-12)
        assert gap.gap == gap.replay - gap.closed_loop


def test_a_sample_is_the_first_sequences(tiny: LoadedModel, traces: Callable[[Method], Trace]) -> None:
    trace, describe = traces(Dense()), described(Dip(density=0.4))
    found = drift(tiny, TEXT, trace, describe, n_sequences=1)
    by_hand = Simulation(device(), trace, Dip(density=0.4), "lfu", dram="0.8x", tokens=N_RECORDED).run()
    pd.testing.assert_frame_equal(found.replay.tokens, by_hand.tokens)
    assert len(found.closed_loop.tokens) == N_RECORDED
    assert all(gap.interval is None for gap in found.gaps.values())
    assert (found.certificate.n_sequences, found.certificate.n_tokens) == (1, N_RECORDED)


def made_tokens(rng: np.random.Generator, n_sequences: int, n_tokens: int) -> pd.DataFrame:
    """Every token uses 50 columns of 2 bytes, with times and scores of its own."""
    n = n_sequences * n_tokens
    hits = rng.integers(0, 51, n)
    made = {"sequence": np.repeat(np.arange(n_sequences), n_tokens), "hits": hits, "active_columns": 50}
    made |= {"hit_bytes": 2 * hits, "active_bytes": 100, "flash_bytes": 100 - 2 * hits, "density": 0.5}
    return pd.DataFrame(made | {"token_s": rng.uniform(1, 3, n), "squared_error": rng.uniform(0.1, 0.3, n)})


def test_the_interval_is_the_paired_t_interval() -> None:
    rng = np.random.default_rng(5)
    frames = made_tokens(rng, 7, 30), made_tokens(rng, 7, 30)
    gaps = gaps_of(*frames)
    one, other = (frame.groupby("sequence")["hits"].sum() / (30 * 50) for frame in frames)
    expected = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert gaps["hit_rate"].interval == pytest.approx([expected.low, expected.high], rel=1e-12)
    assert gaps["mlp_density"].interval == [0, 0]


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("tok_per_s", lambda tokens: len(tokens) / tokens["token_s"].sum()),
        ("mlp_error", lambda tokens: math.sqrt(tokens["squared_error"].mean())),
    ],
)
def test_intervals_agree_with_the_jackknife(name: str, of: Callable[[pd.DataFrame], float]) -> None:
    """tok/s is tokens over seconds, which differ by sequence, and an error a root: no mean of paired differences."""
    rng = np.random.default_rng(6)
    n = 40
    frames = made_tokens(rng, n, 25), made_tokens(rng, n, 25)
    gap = gaps_of(*frames)[name]

    def gap_without(left_out: int | None) -> float:
        replay, closed_loop = (of(frame[frame["sequence"] != left_out]) for frame in frames)
        return replay - closed_loop

    left_out = np.array([gap_without(sequence) for sequence in range(n)])
    error = math.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    reach = stats.t.ppf(0.975, n - 1) * error
    assert gap.gap == pytest.approx(gap_without(None), rel=1e-12)
    assert gap.interval == pytest.approx([gap.gap - reach, gap.gap + reach], rel=0.05)


def test_no_error_is_told_where_scores_do_not_tell_it() -> None:
    tokens = made_tokens(np.random.default_rng(7), 2, 3)
    unknown = tokens.assign(squared_error=math.nan)
    assert set(gaps_of(tokens, tokens)) - set(gaps_of(unknown, unknown)) == {"mlp_error"}


def test_dense_has_no_gap(tiny: LoadedModel, traces: Callable[[Method], Trace]) -> None:
    found = drift(tiny, TEXT, traces(Dense()), described(Dense()), n_sequences=2)
    assert (found.gaps["mlp_error"].replay, found.gaps["mlp_error"].interval) == (0, [0, 0])
    assert all(gap.gap == 0 for gap in found.gaps.values())


def test_refusals(tiny: LoadedModel, traces: Callable[[Method], Trace], tmp_path: Path) -> None:
    trace, describe = traces(Dense()), described(Dip(density=0.4))
    with pytest.raises(DipsimError, match=r"text: sequence 0, token 0: got id \d+, the trace has \d+; give the text"):
        drift(tiny, TEXT[100:], trace, describe)
    with pytest.raises(DipsimError, match="sequences: got 4; the trace has 3"):
        drift(tiny, TEXT, trace, describe, n_sequences=4)
    short, long = replace(trace.sequences[0], stop=15), replace(trace.sequences[1], start=15)
    uneven = replace(trace, sequences=(short, long, trace.sequences[2]))
    with pytest.raises(DipsimError, match="its sequences or prompts differ in length"):
        drift(tiny, TEXT, uneven, describe)
    other_bits = trace.model.model_copy(update={"bits": trace.model.bits.model_copy(update={"mlp": 8})})
    with pytest.raises(DipsimError, match=r"model: bits: got .* --model sets it for both"):
        drift(tiny, TEXT, replace(trace, model=other_bits), describe)


def scores_of(trace: Trace) -> list[list[int]]:
    return [trace.read(site, 0, trace.n_tokens).reshape(-1).tolist() for site in trace.sites]


@tight_slots
@pytest.mark.parametrize("ending", [".zarr", ".zarr.zip"])
def test_a_certificate_survives(tiny: LoadedModel, tmp_path: Path, ending: str) -> None:
    ids = windows(tiny.tokenizer, TEXT, N_RECORDED, 2)
    path = tmp_path / f"t{ending}"
    capture(tiny, ids, path, masking=Dense())
    before = Trace.open(path)
    found = {gamma: drift(tiny, TEXT, before, described(DipCa(density=0.4, gamma=gamma))) for gamma in (0.2, 0.5)}
    assert before.certificates == ()
    for gamma in (0.2, 0.5, 0.2):  # the third replaces the first
        before.certify(found[gamma].certificate)
    after = Trace.open(path)
    assert after.certificates == (found[0.5].certificate, found[0.2].certificate)
    assert scores_of(after) == scores_of(before)
    assert after.masking == {"name": "dense"}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    again = described(DipCa(density=0.4, gamma=0.2))(after)
    assert again.run().to_dict()["hit_rate"] == found[0.2].gaps["hit_rate"].replay
    assert found[0.2].certificate.differences(again.config) == []
    assert found[0.5].certificate.differences(again.config) == ["gamma"]
    assert "dipsim_drift" in zarr.open_group(zarr.storage.ZipStore(path) if path.is_file() else path, mode="r").attrs


def test_a_zip_that_holds_a_name_twice_keeps_the_last(
    tiny: LoadedModel, traces: Callable[[Method], Trace], tmp_path: Path
) -> None:
    """zarr's own zip store appends where it overwrites."""
    trace = traces(Dense())
    certificate = drift(tiny, TEXT, trace, described(Dip(density=0.4)), n_sequences=1).certificate
    path = tmp_path / "twice.zarr.zip"
    path.write_bytes(trace.path.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        group = json.loads(archive.read("zarr.json"))
        group["attributes"]["note"] = "the last"
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("zarr.json", json.dumps(group))
    Trace.open(path).certify(certificate)
    assert Trace.open(path).certificates == (certificate,)
    with zipfile.ZipFile(path) as archive:
        assert len(set(archive.namelist())) == len(archive.namelist())
        assert json.loads(archive.read("zarr.json"))["attributes"]["note"] == "the last"


def test_what_is_no_certificate_is_named(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.zarr", small_model(), random_scores(small_model(), 3))
    group = zarr.open_group(tmp_path / "t.zarr", mode="a")
    for value, message in (("good", "got str; must be a list"), ([{"optins": {}}], "optins: unknown key")):
        group.attrs["dipsim_drift"] = value
        with pytest.raises(DipsimError, match=f"attribute 'dipsim_drift': {message}"):
            _ = Trace.open(tmp_path / "t.zarr").certificates


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    trace, out = str(tmp_path / "t.zarr.zip"), tmp_path / "drift.json"
    few = ("--sequences", "2", "--sequence-tokens", "16", "--prompt-tokens", "4")
    assert run("capture", "tiny", "held-out", "-o", trace, *few).returncode == 0
    options = ("--method", "dip-ca", "--density", "0.5", "--dram", "0.8x")
    done = run("drift", trace, "tiny", "held-out", *options, "--json", str(out), "--certify")
    assert done.returncode == 0, done.stderr
    assert f"certificate stored in {trace}" in done.stderr
    for words in ("hit rate", "Flash per token", "95 % interval", "captured under dense"):
        assert words in done.stdout
    numbers = json.loads(out.read_text())
    assert (numbers["n_sequences"], numbers["n_tokens"], numbers["captured_under"]) == (2, 32, {"name": "dense"})
    gap = numbers["gaps"]["hit_rate"]
    assert gap["gap"] == gap["replay"] - gap["closed_loop"]
    assert gap["interval"][0] < gap["gap"] < gap["interval"][1]
    replayed = tmp_path / "r.json"
    same = run("simulate", trace, *options, "--json", str(replayed))
    assert json.loads(replayed.read_text())["hit_rate"] == pytest.approx(gap["replay"], rel=1e-12)
    line = same.stderr.splitlines()[0]
    assert line.startswith("dipsim: drift certificate of the trace (dip-ca, lfu on a18-paper; 32 tokens): replay minus")
    assert f"{gap['gap']:+.4f} in hit rate" in line
    assert "this run" not in line
    other = run("simulate", trace, "--method", "dip", "--density", "0.5", "--dram", "0.8x", "--policy", "lru")
    assert "; this run has another method, gamma" in other.stderr.splitlines()[0]
    assert "policy" in other.stderr.splitlines()[0].partition("this run has another")[2]
    assert "ships with dipsim" in complaint(run("drift", "tiny", "tiny", "held-out", "--certify"))


def test_drift_is_shown_in_a_notebook(tiny: LoadedModel, traces: Callable[[Method], Trace]) -> None:
    found = drift(tiny, TEXT, traces(Dense()), described(Dip(density=0.4)), n_sequences=1)
    assert isinstance(found, Drift)
    assert "hit_rate" in repr(found)
