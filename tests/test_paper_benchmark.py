"""The benchmark of the published claims: closed forms of the dense models, the arithmetic of claims on made-up numbers,
and small runs of its pieces."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.published import paper, paper_quality, paper_speed
from dipsim import Dense, DipCa, Gate, ModelSpec

SIZES = {"n_layers": 2, "hidden_size": 128, "intermediate_size": 448, "n_heads": 4, "n_kv_heads": 1, "head_dim": 4}
SMALL = ModelSpec.parse({"name": "small", "vocab_size": 100, **SIZES}, "small")
GRID = paper_speed.Grid(
    models=(SMALL,),
    presets=("low", "default", "high"),
    n_tokens=16,
    densities=(0.5, 0.8),
    dram_shares=(0.6, 0.9),
    flash_bytes_per_s=(1e9, 4e9),
    gammas=(0, 1),
    policy_shares=(0.8,),
    steps=3,
)
starved = pytest.mark.filterwarnings("ignore::dipsim.errors.DipsimWarning")  # little DRAM is what is asked about


@pytest.mark.parametrize(
    ("name", "known"), [("phi-3-medium", 0.274), ("llama-3-8b", 0.474), ("mistral-7b", 0.524), ("phi-3-mini", 0.852)]
)
def test_dense_models_stream_as_fast_as_bytes_over_bandwidths(name: str, known: float) -> None:
    """Bytes by hand, from published shapes; of the KV cache what the second half of the context reads on average."""
    layers, d, f, heads, kv_heads, head_dim, vocab = {
        "phi-3-medium": (40, 5120, 17920, 40, 10, 128, 32064),
        "phi-3-mini": (32, 3072, 8192, 32, 32, 96, 32064),
        "llama-3-8b": (32, 4096, 14336, 32, 8, 128, 128256),
        "mistral-7b": (32, 4096, 14336, 32, 8, 128, 32000),
    }[name]
    mlp, attention = 3 * layers * d * f / 2, layers * d * head_dim * (2 * heads + 2 * kv_heads) / 2
    kv = 2 * kv_heads * head_dim * layers
    half = (mlp + attention + vocab * d + 2048 * kv) / 2
    expected = 1 / ((half + d) / 1e9 + (half - 512 * kv) / 60e9)
    model = ModelSpec.load(name)
    assert expected == pytest.approx(known, abs=0.0005)
    assert paper_speed.closed_form(model, 1536) == pytest.approx(expected, rel=1e-12)
    assert paper_speed.dense_rate(model, 1536) == pytest.approx(expected, rel=2e-4)  # slots are whole columns


def test_last_true_finds_the_border() -> None:
    assert paper_speed.last_true(lambda x: x <= 0.61, 0, 1, 20) == pytest.approx(0.61, abs=2e-6)
    assert paper_speed.last_true(lambda x: x <= 0.61, 0, 1, 1) == 0.5
    assert paper_speed.last_true(lambda x: True, 0, 0.9, 5) == 0.9
    assert paper_speed.last_true(lambda x: False, 0, 1, 5) is None


def test_rate_within_a_perplexity() -> None:
    points = [(10.0, 1.0), (11.0, 2.0), (13.0, 4.0), (12.5, 3.0)]
    assert paper_quality.rate_within(points, 10) == 1
    assert paper_quality.rate_within(points, 10.5) == 1.5
    assert paper_quality.rate_within(points, 12) == 3
    assert paper_quality.rate_within(points, 99) == 4
    assert paper_quality.rate_within(points, 9.9) is None


def made_up(perplexities: dict[str, list[float]]) -> pd.DataFrame:
    """Two equal parts; dense has perplexity 10 and 2 tokens/s, the others 4 and 8 tokens/s at densities 0.8 and 0.5."""
    rows = [
        {
            "dram_share": 0.5,
            "method": name,
            "density": density,
            "part": part,
            "perplexity": perplexity,
            "tok_per_s": rate,
        }
        for part in (0, 1)
        for name, own in perplexities.items()
        for density, perplexity, rate in zip((0.8, 0.5), own, (4.0, 8.0), strict=True)
    ]
    start = {"dram_share": 0.5, "method": "dense", "density": 1.0, "perplexity": 10.0, "tok_per_s": 2.0}
    dense = [start | {"part": part} for part in (0, 1)]
    return pd.DataFrame(dense + rows)


def test_equal_perplexity_and_who_wins() -> None:
    """At +1, dip is halfway between dense's 2 and 4 tokens/s, and gate at 4; at +0.1 both lie on the way there."""
    rows = paper_quality.equal_rows(made_up({"gate": [11, 99], "dip": [12, 12.5]}), "tok_per_s")
    by_loss = {row["perplexity"]: row for row in rows}
    assert by_loss["dense + 1"]["gate"] == {"median": 2, "min": 2, "max": 2}
    assert by_loss["dense + 1"]["dip"]["median"] == 1.5
    assert by_loss["dense + 0.1"]["gate"]["median"] == pytest.approx(1.1)
    assert by_loss["dense + 2"]["gate"]["median"] == pytest.approx((4 + 4 / 88) / 2)
    assert [row["of all"].split(" > ")[0] for row in paper_quality.winners(rows)] == ["gate"] * 4
    assert paper.quality_claim("dip", rows)["verdict"] == "not confirmed"
    better = paper_quality.equal_rows(made_up({"gate": [11, 99], "dip": [10.01, 10.05]}), "tok_per_s")
    assert paper.quality_claim("dip", better)["verdict"] == "confirmed"


def claims_of(gains: list[float], hits: list[float]) -> dict[str, Any]:
    """The verdicts, by claim and reading."""
    readings = ("times dense, DRAM -46 %, density 0.5", "times dense, density 0.54, same DRAM")
    memory = [
        {"dense has DRAM for": share, "method": "dip-ca"} | dict.fromkeys(readings, gain)
        for share in (0.5, 0.75)
        for gain in (gains if share == 0.5 else [1.0])
    ]
    cell = {"model": "m", "preset": "low", "tok_per_s": 1.0, "mlp_error": 0.0}
    density = [cell | {"method": "dip", "density": i, "hit_rate": 0.5} for i in range(len(hits))]
    density += [cell | {"method": "dip-ca", "density": i, "hit_rate": hit} for i, hit in enumerate(hits)]
    equal = paper_quality.equal_rows(
        made_up({"dip": [12, 13], "gate": [11, 99], "dip-ca, gamma 0.2": [10, 10]}), "tok_per_s"
    )
    rows = paper.claim_rows({"memory": memory, "density": density}, {0.5: equal})
    return {f"{row['claim']}, {row.get('reading')}": row["verdict"] for row in rows}


def test_verdicts_follow_the_numbers() -> None:
    some = list(claims_of([1.39, 1.4, 1.7], [0.6, 0.4]).values())
    assert some[:4] == ["in part: 2 of 3, density assumed", "not confirmed, density assumed"] * 2
    assert some[4].startswith("cannot be judged here")
    assert some[5:7] == ["not confirmed", "in part: 1 of 2"]
    assert some[7:] == ["not confirmed", "confirmed"]
    all_true = list(claims_of([1.4], [0.6, 0.7]).values())
    assert (all_true[0], all_true[6]) == ("confirmed, density assumed", "confirmed")


def test_cells_show_every_preset_from_low_to_high() -> None:
    rows = [
        {"model": "m", "preset": p, "gamma": 0, "tok_per_s": r}
        for p, r in (("high", 3.0), ("low", 1.0), ("default", 2.0))
    ]
    rows += [row | {"gamma": -1, "tok_per_s": 7.0} for row in rows]
    assert paper.across(rows, ["model"], "gamma", "tok_per_s") == [{"model": "m", "-1": "7", "0": "1 / 2 / 3"}]


@pytest.mark.slow
@starved
def test_sweeps_of_a_small_model() -> None:
    tables = paper.speed_tables(GRID)
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    density = frames["density"].set_index(["preset", "method", "density"])["tok_per_s"]
    for preset in GRID.presets:  # of two sweeps the same run
        gamma = frames["gamma"].set_index(["preset", "gamma"])["tok_per_s"]
        assert gamma[preset, 1] == density[preset, "dip", 0.5]
        assert gamma[preset, 0] > gamma[preset, 1]
    dense = density["low", "dense", 1.0]
    assert dense == pytest.approx(paper_speed.closed_form(SMALL, 2048 - 4.5), rel=0.02)  # small: whole columns matter
    assert set(frames["density"]["method"]) == {"dense", "glu", "gate or up", "dip", "dip-ca"}
    assert not ((frames["density"]["method"] == "glu") & (frames["density"]["density"] == 0.5)).any()
    for name, column in (("DRAM", "dram_share"), ("Flash speed", "flash_bytes_per_s")):
        for _, own in frames[name].groupby(["preset", "method"]):
            assert own.sort_values(column)["tok_per_s"].is_monotonic_increasing
    assert not ((frames["policy"]["policy"] == "belady") & (frames["policy"]["method"] == "dip-ca")).any()


@starved
def test_memory_of_the_claim_is_a_share_of_what_dense_has() -> None:
    for work in paper_speed.works(GRID):
        row = next(row for row in paper_speed.memory_rows(work, GRID) if row["method"] == "dip-ca")
        aware, dense = work.run(DipCa(density=0.5, gamma=0.2), dram=0.27), work.run(Dense(), dram=0.5)
        assert row["times dense, DRAM -46 %, density 0.5"] == aware["tok_per_s"] / dense["tok_per_s"]
        saved = row["DRAM saved at dense's tok/s, density 0.5"]
        assert work.run(DipCa(density=0.5), dram=0.5 * (1 - saved))["tok_per_s"] >= dense["tok_per_s"]


@starved
def test_the_stand_in_has_the_scores_of_glu() -> None:
    for work in paper_speed.works(GRID):
        np.testing.assert_array_equal(work.stand_in.read("gate", 0, 16), work.trace.read("glu", 0, 16))
        assert work.trace.n_positions == work.stand_in.n_positions == 2048
        assert work.run(Gate(density=0.5))["mlp_error"] > 0


def test_tiny_is_measured_on_text_that_calibrates_nothing() -> None:
    loaded = paper_quality.load_model("tiny", dtype="float32")
    text = dataclasses.replace(paper.QUICK_TEXT, n_window=32, n_calibration=4, n_part=2, n_warm_up=4)
    calibration, parts = paper_quality.text_parts(loaded, text)
    seen = {own.tobytes() for ids in (calibration, *parts) for own in ids}
    assert len(calibration) == 4
    assert len(seen) == 8
    row = paper_quality.measured(loaded, parts[0], Dense(), text, 0.5)
    ids = torch.from_numpy(parts[0])
    with torch.no_grad():
        logits = loaded.model(ids[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item()
    assert row["loss"] == pytest.approx(loss, rel=1e-5)
    assert (row["mlp_error"], row["mlp_density"]) == (0, 1)
    assert row["tok_per_s"] > row["real_tok_per_s"] > 0


def test_parts_are_joined_as_tokens_of_one_text() -> None:
    frame = made_up({"dip": [12, 13]}).assign(mlp_density=1.0, mlp_error=0.0, hit_rate=0.0, real_tok_per_s=1.0)
    frame["loss"] = np.where(frame["part"] == 0, 2.0, 3.0)
    frame["tok_per_s"] = np.where(frame["part"] == 0, 2.0, 6.0)
    whole = paper_quality.over_parts(frame)
    assert list(whole["method"]) == ["dense", "dip", "dip"]
    np.testing.assert_allclose(whole["perplexity"], np.exp(2.5))
    np.testing.assert_allclose(whole["tok_per_s"], 3)
