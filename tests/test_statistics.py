"""Statistics of a trace: equal to their definitions, spelled out pair by pair; the command prints, draws and saves."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import reference
from conftest import MakeTrace, random_scores, small_model

from dipsim import DipsimError, Trace, trace_statistics
from dipsim.cli import main
from dipsim.trace.statistics import spread_layers

LENGTHS = [130, 20, 150, 5]


@pytest.fixture
def trace(make_trace: MakeTrace) -> Trace:
    """Four sequences over three chunks; some scores equal, some 0."""
    model = small_model(n_layers=3)
    scores = random_scores(model, sum(LENGTHS), n_levels=20)
    return make_trace(model, {site: scores[site] for site in ("glu", "mlp_input")}, lengths=LENGTHS)


def masks_of(trace: Trace, site: str, layer: int, k: int) -> list[list[set[int]]]:
    """Active columns of each token of each sequence."""
    scores = trace.read(site, 0, trace.n_tokens, layer).view(np.float16)
    active = [set(np.flatnonzero(reference.top_k(row, k)).tolist()) for row in scores]
    return [active[s.start : s.stop] for s in trace.sequences]


def overlap(pairs: list[tuple[set[int], set[int]]]) -> float:
    return sum(len(one & other) for one, other in pairs) / sum(len(other) for _, other in pairs)


def test_statistics_are_their_definitions(trace: Trace) -> None:
    keep, found = 0.4, trace_statistics(trace, 0.4, layers=[0, 2])
    assert list(zip(found["site"], found["layer"], strict=True)) == list(itertools.product(trace.sites, (0, 2)))
    for row in found.to_dict(orient="records"):
        scores = trace.read(row["site"], 0, trace.n_tokens, row["layer"]).view(np.float16).astype(np.float64)
        n = scores.shape[1]
        sequences = masks_of(trace, row["site"], row["layer"], math.floor(keep * n))
        counts = [sum(c in mask for mask in itertools.chain(*sequences)) for c in range(n)]
        most_first = sorted(counts, reverse=True)
        expected: dict[str, float] = {"depth": row["layer"] / 2, "keep": keep}
        median = expected["median"] = np.quantile(scores, 0.5, method="inverted_cdf")
        expected["rms"] = np.sqrt((scores**2).mean())
        for percent in (25, 75, 90, 95, 99):
            expected[f"q{percent}"] = np.quantile(scores, percent / 100, method="inverted_cdf") / median
        expected["top_quarter_share"] = sum(most_first[: n // 4]) / sum(counts)
        enough = next(k for k in range(n) if sum(most_first[:k]) >= 0.8 * sum(counts))
        expected["columns_for_80"] = enough / n
        for lag in (1, 10, 100):
            expected[f"overlap_{lag}"] = overlap([p for s in sequences for p in zip(s, s[lag:], strict=False)])
        pairs = [itertools.product(one, other) for one, other in itertools.permutations(sequences, 2)]
        expected["overlap_other"] = overlap(list(itertools.chain(*pairs)))
        hits = 0
        for half, others in ((sequences[::2], sequences[1::2]), (sequences[1::2], sequences[::2])):
            uses = [sum(c in mask for mask in itertools.chain(*others)) for c in range(n)]
            cached = sorted(range(n), key=lambda c: (-uses[c], c))[: n // 2]
            hits += sum(len(mask & set(cached)) for mask in itertools.chain(*half))
        expected["static_hit_rate"] = hits / sum(counts)
        assert {name: row[name] for name in expected} == pytest.approx(expected)
        assert set(row) == {*expected, "site", "layer"}


def test_what_a_short_trace_cannot_tell_is_missing(make_trace: MakeTrace) -> None:
    one = make_trace(small_model(), {"glu": random_scores(small_model(), 30)["glu"]})
    row = trace_statistics(one, layers=[1]).iloc[0]
    assert row[["overlap_100", "overlap_other", "static_hit_rate"]].isna().all()
    assert row.drop(["overlap_100", "overlap_other", "static_hit_rate"]).notna().all()


def test_layers_are_spread_over_depth() -> None:
    assert spread_layers(40) == [0, 6, 11, 17, 22, 28, 33, 39]
    assert spread_layers(3) == [0, 1, 2]
    assert spread_layers(1) == [0]


def test_layers_and_keep_are_checked(trace: Trace) -> None:
    for keep in (0, 1, 1.5, float("nan")):
        with pytest.raises(DipsimError, match=r"keep: got .*; above 0 and below 1"):
            trace_statistics(trace, keep)
    for layer in (-1, 3):
        with pytest.raises(DipsimError, match=f"layers: got {layer}; the trace has layers 0 to 2"):
            trace_statistics(trace, layers=[layer])


def run(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["dipsim", "stats", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0), *capsys.readouterr()


@pytest.mark.slow
def test_the_command_prints_draws_and_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figure, numbers = tmp_path / "tiny.svg", tmp_path / "tiny.json"
    arguments = ["tiny", "--keep", "0.25", "--layers", "2,0", "--figure", str(figure), "--json", str(numbers)]
    code, out, err = run(arguments, monkeypatch, capsys)
    assert (code, err) == (0, "")
    expected = trace_statistics(Trace.open("tiny"), 0.25, [0, 2])
    lines = [line.split() for line in out.splitlines()[1:9]]
    assert [line[:2] for line in lines] == [[row.site, str(row.layer)] for row in expected.itertuples()]
    assert [float(line[-1]) for line in lines] == pytest.approx(list(expected["static_hit_rate"]), abs=0.001)
    pd.testing.assert_frame_equal(pd.read_csv(figure.with_suffix(".csv")), expected)
    saved = json.loads(numbers.read_text())
    assert saved["statistics"] == expected.to_dict(orient="records")
    assert (saved["trace"], saved["keep"]) == ("tiny", 0.25)
    text = figure.read_text()
    assert text.startswith("<?xml")
    code, _, err = run(arguments, monkeypatch, capsys)
    assert code == 2
    assert "exists already; give --force" in err
    assert run([*arguments, "--force"], monkeypatch, capsys)[0] == 0
    assert figure.read_text() == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny", "--keep", "0"], "keep: got 0; above 0 and below 1"),
        (["tiny", "--layers", "first"], "layers: got 'first'; must be 'all', or numbers as 0,10,39"),
        (["tiny", "--layers", "7"], "layers: got 7; the trace has layers 0 to 2"),
        (["tinny"], "did you mean 'tiny'?"),
        (["tiny", "--figure", "a.gif"], "its name must end in .svg, .pdf, .png"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = run(arguments, monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_json_says_null_where_nothing_is_known(
    make_trace: MakeTrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make_trace(small_model(), {"glu": random_scores(small_model(), 30)["glu"]})
    arguments = [str(one.path), "--layers", "all", "--json", str(tmp_path / "a.json")]
    assert run(arguments, monkeypatch, capsys)[0] == 0
    rows = json.loads((tmp_path / "a.json").read_text())["statistics"]
    assert [(row["layer"], row["static_hit_rate"]) for row in rows] == [(0, None), (1, None)]
