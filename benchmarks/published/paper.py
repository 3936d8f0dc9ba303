"""The claims of the DIP paper (Federici et al., arXiv 2412.01380 v2, MLSys 2025) beside what dipsim gives.

    python -m benchmarks.published.paper --figures benchmarks/published/figures --json FILE     all of it: half an hour
    python -m benchmarks.published.paper --quick                                      a small part, to see that it works

Full-size models: speed alone, on the paper's own device (`a18-paper`: bytes over bandwidths, Flash then DRAM), with
synthetic scores at three presets, since nobody has published how scores follow each other in time. There are no
weights here, so no perplexity. `tiny`: real perplexities, with the mask and its cache in the loop, of a model of 2.8
million parameters; speed on the same device and on a phone's Flash as measured. Every number is simulated.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.command import Row, Table, main, shown
from benchmarks.published import paper_figures, paper_quality, paper_speed
from benchmarks.published.paper_speed import GAIN, PRESETS, Grid
from benchmarks.published.paper_training import Training
from dipsim import DipsimWarning, ModelSpec, plots
from dipsim.sparsify.adapters import Recipe

QUICK_GRID = dataclasses.replace(
    paper_speed.FULL,
    models=(ModelSpec.load("phi-3-mini"),),
    n_tokens=8,
    densities=(0.5, 0.8),
    dram_shares=(0.5, 0.8),
    flash_bytes_per_s=(1e9, 4e9),
    gammas=(0, 1),
    policy_shares=(0.8,),
    steps=2,
)
QUICK_TEXT = paper_quality.Text(
    64, 2, 1, 1, 8, (0.5, 0.8), Training(4, 1, (0.5,), Recipe(rank=4, steps=2, batch=2, evaluate_every=1))
)
FAR = 1.6  # times the best perplexity: what is worse is in the table, not in the figure
ASSUMPTIONS = (
    "Bits: MLP and attention 4, embedding, LM head and KV cache 8; context 2,048, the last tokens of it; DRAM as a "
    "share of attention + LM head + KV cache + MLP, 0.5 unless said; Flash 1 GB/s, DRAM 60 GB/s, one after the other; "
    "LFU that never forgets, every active column enters; budget uniform; density 0.5 (of the MLP) and gamma 0.2.",
    "Half of a trace's tokens fill the caches and do not count. Over 2,048 tokens LFU's hit rates would be a few "
    "hundredths lower on scores that drift, LRU's the same.",
    "Scores are synthetic; a cell `x / y / z` is for the presets low / default / high of their locality.",
    "`gate or up` on full-size models: scores of glu stand in for those of gate and up, of which no statistics of "
    "time are known; so the two are the same run. Not run there: cats, which would be that run again; "
    "predictor, whose size and scores are not known; magnitude-pruning, which is dense with fewer bytes.",
    "The abstract states neither the density, nor the DRAM, nor whether memory is DRAM or weights per token.",
)


def across(rows: list[Row], index: list[str], columns: str, value: str) -> list[Row]:
    """A row for each `index`, a column for each of `columns`; in the cells, `value` at the presets from low to high,
    once where all are alike."""
    frame = pd.DataFrame(rows)
    names = list(frame[columns].unique())
    if frame[columns].dtype != object:
        names.sort()
    found: list[Row] = []
    for key, own in frame.groupby(index, sort=False):
        row: Row = dict(zip(index, key, strict=True))
        for name in names:
            by_preset = own[own[columns] == name].set_index("preset")[value]
            cells = [shown(float(by_preset[preset])) for preset in PRESETS if preset in by_preset.index]
            row[str(name)] = " / ".join(cells if len(set(cells)) > 1 else cells[:1])
        found.append(row)
    return found


def dense_rows(grid: Grid) -> list[Row]:
    """Closed forms beside runs; the mean over all positions, and the last."""
    rows: list[Row] = []
    for model in grid.models:
        row: Row = {"model": model.name}
        for name, positions in (("mean of positions 1,024 to 2,047", 1536), ("last position", 2047)):
            row[f"closed form, {name}"] = paper_speed.closed_form(model, positions)
            row[f"simulated, {name}"] = paper_speed.dense_rate(model, positions)
        rows.append(row)
    return rows


def speed_tables(grid: Grid) -> dict[str, list[Row]]:
    """Every sweep of every model at every preset, tidy."""
    tables: dict[str, list[Row]] = {name: [] for name in (*paper_speed.SWEEPS, "memory")}
    for work in paper_speed.works(grid):
        for name, sweep in paper_speed.SWEEPS.items():
            tables[name] += sweep(work, grid)
        if work.model == grid.models[0]:
            tables["memory"] += paper_speed.memory_rows(work, grid)
    return tables


def speed_views(tables: dict[str, list[Row]]) -> Iterator[Table]:
    """The sweeps as one reads them."""
    yield Table("tokens/s by density", across(tables["density"], ["model", "method"], "density", "tok_per_s"))
    yield Table("tokens/s by DRAM share", across(tables["DRAM"], ["model", "method"], "dram_share", "tok_per_s"))
    by_flash = [row | {"GB/s": row["flash_bytes_per_s"] / 1e9} for row in tables["Flash speed"]]
    yield Table("tokens/s by Flash speed (GB/s)", across(by_flash, ["model", "method"], "GB/s", "tok_per_s"))
    for value in ("hit_rate", "tok_per_s"):
        index = ["model", "method", "dram_share", "admission"]
        yield Table(f"policies: {value}", across(tables["policy"], index, "policy", value))
    for value in paper_speed.SHOWN:
        yield Table(f"dip-ca by gamma: {value}", across(tables["gamma"], ["model"], "gamma", value))
    memory = pd.DataFrame(tables["memory"])
    index = ["dense has DRAM for", "method"]
    long = memory.melt([*index, "model", "preset"], var_name="question", value_name="answer")
    long["answer"] = long["answer"].astype(float)
    rows = across(records(long), ["question", "method"], index[0], "answer")
    yield Table(f"{memory['model'][0]}: 46 % and 40 %", rows)


def records(frame: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def cell_shares(tables: dict[str, list[Row]]) -> dict[str, tuple[int, int]]:
    """In how many cells (model, preset, density) dip-ca has more than dip, of how many."""
    frame = pd.DataFrame(tables["density"])
    key = ["model", "preset", "density"]
    dip, aware = (frame[frame["method"] == name].set_index(key) for name in ("dip", "dip-ca"))
    return {name: (int((aware[name] > dip[name]).sum()), len(dip)) for name in paper_speed.SHOWN}


def verdict(n_true: int, n_all: int) -> str:
    """In words."""
    if n_true == n_all:
        return "confirmed"
    return "not confirmed" if n_true == 0 else f"in part: {n_true} of {n_all}"


def claim_rows(tables: dict[str, list[Row]], equal: dict[float, list[Row]]) -> list[Row]:
    """Each published claim, what dipsim gives, and a verdict."""
    rows: list[Row] = []
    for reading in ("times dense, DRAM -46 %, density 0.5", "times dense, density 0.54, same DRAM"):
        memory = pd.DataFrame([row for row in tables["memory"] if row["method"] == "dip-ca"])
        for share, own in memory.groupby("dense has DRAM for"):
            gains = [float(gain) for gain in own[reading]]
            row: Row = {"claim": "Phi-3-Medium: 46 % less memory and 40 % more tok/s"}
            row |= {"reading": f"dip-ca: {reading}; dense has DRAM for {share}", "published": f"{GAIN}"}
            row["dipsim"] = " / ".join(shown(gain) for gain in gains)
            said = verdict(sum(gain >= GAIN for gain in gains), len(gains))
            rows.append(row | {"verdict": f"{said}, density assumed"})
    unjudged = "Phi-3-Medium: perplexity rises by less than 0.1"
    rows.append(
        {"claim": unjudged, "published": "< 0.1", "dipsim": "-", "verdict": "cannot be judged here: no weights"}
    )
    for name, (n_more, n_all) in cell_shares(tables).items():
        if name != "mlp_error":
            claim = f"cache-aware masking raises {name} over dip at equal density"
            row = {"claim": claim, "reading": "model, preset, density", "published": "more"}
            rows.append(row | {"dipsim": f"more in {n_more} of {n_all}", "verdict": verdict(n_more, n_all)})
    return rows + [
        quality_claim(name, own) | {"reading": f"times dense tok/s, DRAM for {share}"}
        for share, own in equal.items()
        for name in ("dip", "dip-ca, gamma 0.2")
    ]


def quality_claim(name: str, equal: list[Row]) -> Row:
    """Whether a method beats all that are not of its family at equal perplexity."""
    wins, said = 0, []
    for row in equal:
        medians = {other: value["median"] for other, value in row.items() if isinstance(value, dict)}
        others = {other: own for other, own in medians.items() if not other.startswith("dip")}
        best = max(others, key=lambda other: others[other])
        wins += medians[name] > others[best]
        said.append(f"{row['perplexity']}: {shown(medians[name])} against {shown(others[best])} ({best})")
    claim = f"{name} beats the other methods at equal perplexity (tiny only)"
    row = {"claim": claim, "reading": "", "published": "faster", "dipsim": "; ".join(said)}
    return row | {"verdict": verdict(wins, len(equal))}


def draw(tables: dict[str, list[Row]], quality: pd.DataFrame, folder: Path) -> None:
    """The figures, each with its data beside it."""
    density, dram, flash, gamma = (pd.DataFrame(tables[name]) for name in ("density", "DRAM", "Flash speed", "gamma"))
    flash = flash.assign(gb_per_s=flash["flash_bytes_per_s"] / 1e9)
    near = quality[(quality["dram_share"] == 0.5) & (quality["perplexity"] <= FAR * quality["perplexity"].min())]
    near = near.drop(columns="real_tok_per_s")  # a second result, of which figures know nothing
    made = {
        "density": plots.Plot(paper_figures.by_model(density, "density", "active share of the MLP"), density),
        "dram": plots.Plot(paper_figures.by_model(dram, "dram_share", "DRAM (share of weights and KV cache)"), dram),
        "flash": plots.Plot(paper_figures.by_model(flash, "gb_per_s", "Flash (GB/s)", log_x=True), flash),
        "gamma": plots.Plot(paper_figures.by_gamma(gamma), gamma),
        "quality": plots.pareto(near, by="method", title="tiny on a18-paper, DRAM for half of it"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in made.items():
        plot.save(folder / f"paper-{name}.svg")


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--quick", action="store_true", help="one small model, a few settings, little text")
    asked.add_argument("--figures", type=Path, metavar="FOLDER", help="draw there, data beside")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    warnings.simplefilter("ignore", DipsimWarning)  # streamed attention, slots for few columns: meant so
    grid, text = (QUICK_GRID, QUICK_TEXT) if given.quick else (paper_speed.FULL, paper_quality.FULL)
    yield Table("dense, DRAM for half of everything, tokens/s", dense_rows(grid))
    by_sweep = speed_tables(grid)
    for title, rows in by_sweep.items():
        yield Table(title, rows, is_shown=False)
    yield from speed_views(by_sweep)
    frame = paper_quality.quality_frame(text, paper_quality.DRAM_SHARES)
    yield Table("tiny", records(frame), is_shown=False)
    quality = paper_quality.over_parts(frame)
    yield Table("tiny, both parts of the text", records(quality))
    by_share: dict[float, list[Row]] = {}  # on the published device
    for column, device in paper_quality.DEVICES.items():
        for share, own in frame.groupby("dram_share"):
            rows = paper_quality.equal_rows(own, column)
            where = f"tiny on {device}, DRAM for {share}"
            yield Table(f"{where}: times dense tokens/s at equal perplexity", rows)
            yield Table(f"{where}: the fastest", paper_quality.winners(rows))
            if device == "a18-paper":
                by_share[share] = rows
    yield Table("claims", claim_rows(by_sweep, by_share))
    yield Table("assumptions", [{"": f"- {assumption}"} for assumption in ASSUMPTIONS])
    if given.figures is not None:
        draw(by_sweep, quality, given.figures)


if __name__ == "__main__":
    main(__doc__, tables, options)
