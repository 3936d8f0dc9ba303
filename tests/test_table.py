"""Tables of results: every run is in one cell, nothing is averaged unasked, the best is marked, and each form says the
same."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_cli import complaint, run
from test_plots import sweep

import dipsim as ds
from dipsim import DipsimError, plots

LRU_3GB = "policy == 'lru' and dram == '3GB'"


def cell(frame: pd.DataFrame, **values: Any) -> float:
    """The one run with these values."""
    own = frame[np.logical_and.reduce([frame[name] == value for name, value in values.items()])]
    return float(own["tok_per_s"].to_numpy().item())


def test_rows_columns_and_the_best_of_each_column() -> None:
    frame = sweep()
    made = plots.table(frame, by=["method"], x="density", where=LRU_3GB)
    rate = {
        (method, density): f"{cell(frame, method=method, policy='lru', density=density, dram='3GB'):.2f}"
        for method in ("dip", "dip-ca")
        for density in (0.25, 0.5)
    }
    assert made.markdown().splitlines() == [
        "| method | throughput (tok/s), density 0.25 | density 0.5 |",
        "| --- | ---: | ---: |",
        f"| dip | {rate['dip', 0.25]} | {rate['dip', 0.5]} |",
        f"| dip-ca | **{rate['dip-ca', 0.25]}** | **{rate['dip-ca', 0.5]}** |",
    ]


def test_groups_and_spread_over_a_parameter() -> None:
    """A cell of three sizes of DRAM is their median, least and greatest."""
    frame = sweep()
    made = plots.table(frame, by=["method"], panels="policy", over="dram", where="density == 0.5")
    own = frame[(frame["density"] == 0.5)].groupby(["policy", "method"])["tok_per_s"]
    for row in made.data.itertuples():
        values = own.get_group((row.policy, row.method)).to_numpy()
        assert (row.low, row.value, row.high) == (values.min(), np.median(values), values.max())
    assert made.data["is_best"].tolist() == [row.method == "dip-ca" for row in made.data.itertuples()]
    assert [line for line in made.markdown().splitlines() if line.startswith("| **")] == [
        "| **lru** |  |",
        "| **lfu** |  |",
    ]
    first = own.get_group(("lru", "dip")).to_numpy()
    assert f"| dip | {np.median(first):.2f} ({first.min():.2f} to {first.max():.2f}) |" in made.markdown()


def test_less_is_better_of_some_and_units_are_people_s() -> None:
    frame = sweep().assign(**{"tpot_s.p50": lambda rows: rows["tok_per_s"] / 1e3})
    made = plots.table(frame, ["tok_per_s", "tpot_s.p50"], by=["method"], where=f"{LRU_3GB} and density == 0.5")
    best = made.data[made.data["is_best"]]
    assert dict(zip(best["quantity"], best["method"], strict=True)) == {"tok_per_s": "dip-ca", "tpot_s.p50": "dip"}
    heading, *_ = made.markdown().splitlines()
    assert heading == "| method | throughput (tok/s) | time per token, p50 (ms) |"


def test_latex_has_the_rules_of_booktabs_and_no_active_sign() -> None:
    frame = sweep().assign(profile="a_b & 5%")
    other = sweep().assign(profile="c~{x}\\")
    made = plots.table(
        pd.concat([frame, other]), by=["method"], panels="profile", where=f"{LRU_3GB} and density == 0.5"
    )
    lines = made.latex().splitlines()
    assert lines[0] == r"\begin{tabular}{lr}"
    assert [lines[1], lines[-2], lines[-1]] == [r"\toprule", r"\bottomrule", r"\end{tabular}"]
    assert lines.count(r"\midrule") == 2
    assert r"\multicolumn{2}{l}{\textit{a\_b \& 5\%}} \\" in lines
    assert r"\multicolumn{2}{l}{\textit{c\textasciitilde{}\{x\}\textbackslash{}}} \\" in lines
    assert sum(r"\textbf{" in line for line in lines) == 2


def test_a_cell_where_nobody_ran_is_empty() -> None:
    frame = sweep()
    left = frame[~((frame["method"] == "dip") & (frame["density"] == 0.25))]
    made = plots.table(left, by=["method"], x="density", where=LRU_3GB)
    assert made.markdown().splitlines()[2].startswith("| dip |  | ")
    assert not made.data[made.data["density"] == 0.25]["is_best"].any()  # of one, nothing is the best


def test_csv_reads_back() -> None:
    made = plots.table(sweep(), by=["method"], x="density", where=LRU_3GB)
    back = pd.read_csv(io.StringIO(made.csv()))
    pd.testing.assert_frame_equal(back, made.data, check_dtype=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": ["method"]}, "plot: 12 runs of 'dip' differ in more than what is drawn: policy"),
        ({"by": ["metod"], "where": LRU_3GB}, "by: no column 'metod' in the results; did you mean 'method'"),
        ({"x": "profile", "where": LRU_3GB}, "x: column 'profile' was not swept"),
        ({"y": ["bound"], "x": "density", "where": LRU_3GB}, "y: column 'bound' has no numbers, got 'flash'"),
        ({"by": ["method"], "x": "method", "where": LRU_3GB}, "by: got method, method; each column has one place"),
        ({"where": f"{LRU_3GB} and density == 0.5 and method == 'dip'"}, "by: nothing varies that could be rows"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_said_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError, match=f"^{message}") as caught:
        plots.table(sweep(), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_command_writes_each_form(tmp_path: Path) -> None:
    spec = {
        "trace": "tiny",
        "method": "dip",
        "density": [0.4, 0.6],
        "policy": ["lru", "lfu"],
        "dram": "0.8x",
        "tokens": 16,
    }
    frame = ds.sweep(spec, tmp_path / "results")
    made = plots.table(frame, by=["policy"], x="density")
    asked = ("table", str(tmp_path / "results"), "--by", "policy", "--x", "density")
    assert run(*asked, "--markdown").stdout == made.markdown()
    assert run(*asked, "--latex").stdout == made.latex()
    for ending, text in {"md": made.markdown(), "tex": made.latex(), "csv": made.csv()}.items():
        assert run(*asked, "-o", str(tmp_path / f"t.{ending}")).returncode == 0
        assert (tmp_path / f"t.{ending}").read_text() == text
    shown = run(*asked).stdout
    assert all(name in shown for name in ("lru", "lfu", "throughput (tok/s), density 0.4", "*"))
    assert "choose one" in complaint(run(*asked, "--markdown", "--latex"))
    assert "must end in .md, .tex, .csv" in complaint(run(*asked, "-o", str(tmp_path / "t.txt")))
    assert "exists already" in complaint(run(*asked, "-o", str(tmp_path / "t.md")))
