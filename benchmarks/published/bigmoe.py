"""A mixture of experts streamed on a phone, as measured by the engine BigMoeOnEdge, beside what dipsim gives.

    python -m benchmarks.published.bigmoe PATH --figures benchmarks/published/figures --json FILE

PATH is a folder with routes/MODEL.route.csv, curves/MODEL-curve.csv and runs/*.csv in the form of the public
repository Helldez/BigMoeOnEdge (commit 2d4f2b1, Apache-2.0), whose data are not part of this project. Hit rates: the
recorded routes replayed. Time: what each token of a run read is taken as measured, and its seconds are simulated, on
the cold and on the hot device. One number is fitted for each model, operations per second, on one run's compute.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.command import Row, Table, main
from benchmarks.published import bigmoe_runs
from benchmarks.published.bigmoe_curves import curve_rows, curve_summary
from benchmarks.published.bigmoe_files import Run, read_runs
from benchmarks.published.bigmoe_runs import PRESETS
from dipsim import DipsimError, DipsimWarning, ModelSpec, Trace, plots
from dipsim.results import Result
from dipsim.routes import import_bigmoe
from dipsim.routes.described import mixture_of

COLD, HOT = "oneplus-15r", "oneplus-15r-hot"


class Known(NamedTuple):
    """Of a model of the runs.

    Attributes:
        preset: it.
        fused: gate and up are one slice.
        fitted: the run whose compute is fitted: not overlapped, the largest cache, four lanes.
    """

    preset: str
    fused: bool
    fitted: str


MODELS = {
    "qwen": Known("qwen3-30b-a3b", False, "qwen_c4000_l4"),
    "gemma": Known("gemma-4-26b-a4b", True, "gemma_c2000_l4"),
}


def predicted_row(run: Run, result: Result, preset: str) -> Row:
    """Bytes and hits of a run with a cache, of synthetic routes alone."""
    numbers = result.to_dict()
    mib = numbers["bytes_per_token"]["flash"] / 2**20
    hits = 100 * numbers["cumulative_hit_rate_by_group"]["experts"]
    measured_hits = float(run.tokens["cache_hit_pct"].iloc[-1])
    row: Row = {"run": run.name, "preset": preset, "MiB/token": mib, "measured": run.read_mib}
    row |= {"error %": 100 * (mib / run.read_mib - 1), "hit % with prompt": hits, "measured ": measured_hits}
    return row | {"points": hits - measured_hits}


def run_row(run: Run, trace: Trace, known: Known, ops_per_s: float) -> Row:
    """Measured and simulated: the seconds of what the run read."""
    row: Row = {"run": run.name, "model": run.model, "fitted": run.name == known.fitted}
    row |= {"overlapped": run.overlapped, "lanes": run.lanes, "measured_tok_per_s": run.tok_per_s}
    row |= {"measured_compute_s": run.compute_s, "measured_stall_s": run.stall_s, "measured_mib": run.read_mib}
    if not run.overlapped:
        row |= {"measured_io_s": run.io_s, "measured_mib_per_s": run.read_mib / run.io_s}
    for name, profile in (("cold", COLD), ("hot", HOT)):
        policy = "lru" if run.cache_mib else "none"
        result = bigmoe_runs.simulated(trace, profile, ops_per_s, run.lanes, run.overlapped, known.fused, policy)
        numbers, waited_s = result.to_dict(), bigmoe_runs.io_s(result)
        row[f"{name}_tok_per_s"] = numbers["tok_per_s"]
        row[f"{name}_io_s"] = waited_s
        row[f"{name}_mib"] = numbers["bytes_per_token"]["flash"] / 2**20
        if not run.overlapped:
            row[f"{name}_mib_per_s"] = row[f"{name}_mib"] / waited_s
    return row


def run_views(rows: list[Row]) -> Iterator[Table]:
    """Tokens per second, then Flash, with errors in percent; in the band where measured lies between hot and cold."""
    speed: list[Row] = []
    flash: list[Row] = []
    for row in rows:
        cold, hot, measured = (row[f"{name}_tok_per_s"] for name in ("cold", "hot", "measured"))
        name = f"{row['run']} (fitted)" if row["fitted"] else row["run"]
        speed.append(
            {"run": name, "measured tok/s": measured, "cold": cold, "error %": 100 * (cold / measured - 1)}
            | {"hot": hot, "error % ": 100 * (hot / measured - 1), "in the band": bool(hot <= measured <= cold)}
        )
        both = {"run": name, "MiB/token": row["measured_mib"], "simulated": row["cold_mib"]}
        if row["overlapped"]:
            both |= {"I/O s (waited)": row["measured_stall_s"], "cold ": row["cold_io_s"], "hot ": row["hot_io_s"]}
        else:
            both |= {"MiB/s": row["measured_mib_per_s"], "cold": row["cold_mib_per_s"], "hot": row["hot_mib_per_s"]}
            both["error % cold"] = 100 * (row["cold_mib_per_s"] / row["measured_mib_per_s"] - 1)
            both["error % hot"] = 100 * (row["hot_mib_per_s"] / row["measured_mib_per_s"] - 1)
            both |= {"I/O s (waited)": row["measured_io_s"], "cold ": row["cold_io_s"], "hot ": row["hot_io_s"]}
        flash.append(both)
    yield Table("tokens/s of what the runs read", speed)
    yield Table("Flash of what the runs read", flash)
    yield Table("errors of tokens/s (%)", error_rows(rows))


def error_rows(rows: list[Row]) -> list[Row]:
    """Median and worst size of the error: of all runs, of those that nothing was fitted on, of those not overlapped."""
    chosen = {
        "all": rows,
        "all but the fitted": [row for row in rows if not row["fitted"]],
        "not fitted, not overlapped": [row for row in rows if not row["fitted"] and not row["overlapped"]],
        "overlapped": [row for row in rows if row["overlapped"]],
    }
    found: list[Row] = []
    for (which, own), name in itertools.product(chosen.items(), ("cold", "hot")):
        if own:
            errors = [100 * abs(row[f"{name}_tok_per_s"] / row["measured_tok_per_s"] - 1) for row in own]
            found.append({"runs": which, "n": len(own), "device": name})
            found[-1] |= {"median": float(np.median(errors)), "worst": max(errors)}
    return found


def other_fits(rows: list[Row]) -> list[Row]:
    """What the errors would be had compute been fitted on another run: runs that do not overlap, cold."""
    found: list[Row] = []
    plain = [row for row in rows if not row["overlapped"]]
    for fitted in plain:
        errors = []
        for row in plain:
            if row["model"] == fitted["model"] and row is not fitted:
                tpot_s = row["cold_io_s"] + fitted["measured_compute_s"]
                errors.append(100 * (1 / tpot_s / row["measured_tok_per_s"] - 1))
        if errors:
            sizes = np.abs(errors)
            found.append({"fitted on": fitted["run"], "its compute s": fitted["measured_compute_s"]})
            found[-1] |= {"median error %": float(np.median(sizes)), "worst": float(sizes.max())}
    return found


def draw(rows: list[Row]) -> plots.Plot:
    """Measured against simulated; a bar from the hot device to the cold."""
    frame = pd.DataFrame(rows)
    kinds = sorted({(row["model"], row["overlapped"]) for row in rows})
    panels = {"tok_per_s": "tokens/s", "mib_per_s": "Flash (MiB/s)"}
    with plots.looks():
        width = plots.COLUMN_WIDTH_INCHES
        figure = Figure(figsize=(2 * width, width), layout="constrained")
        for axes, (column, label) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            names = [f"{name}_{column}" for name in ("measured", "hot", "cold")]
            drawn = frame.dropna(subset=[name for name in names if name in frame])
            for index, (model, overlapped) in enumerate(kinds):
                own = drawn[(drawn["model"] == model) & (drawn["overlapped"] == overlapped)]
                if own.empty:
                    continue
                measured, hot, cold = (own[name] for name in names)
                colour, marker, *_ = plots.look(index)
                axes.vlines(measured, hot, cold, color=colour, linewidth=2, alpha=0.4)
                what = f"{model}, overlapped" if overlapped else str(model)
                axes.plot(measured, cold, color=colour, marker=marker, markersize=4, linestyle="", label=what)
            most = 1.1 * float(drawn[names].to_numpy().max())
            axes.plot([0, most], [0, most], color="black", linewidth=0.6)
            axes.set(xlim=(0, most), ylim=(0, most), xlabel=f"measured {label}", ylabel=f"simulated {label}")
            axes.set_aspect("equal")
            axes.legend(fontsize=6, loc="upper left")
    return plots.Plot(figure, frame)


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("path", type=Path, metavar="PATH", help="a folder with routes, curves and runs")
    asked.add_argument("--figures", type=Path, metavar="FOLDER", help="draw there, data beside")
    asked.add_argument("--only", choices=("curves", "runs"), help="one half")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    warnings.simplefilter("ignore", DipsimWarning)  # the cliff of LRU is what the curves show
    runs = read_runs(given.path)
    if unknown := sorted({run.model for run in runs} - MODELS.keys()):
        raise DipsimError(f"{given.path}: runs of {', '.join(unknown)}; known are {', '.join(MODELS)}")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        traces = {
            name: import_bigmoe(
                given.path / "routes" / f"{name}.route.csv", scratch / f"{name}.zarr", ModelSpec.load(known.preset)
            )
            for name, known in MODELS.items()
        }
        if given.only != "runs":
            rows = [row for name, trace in traces.items() for row in curve_rows(given.path, name, trace, scratch)]
            yield Table("hit rates of the recorded routes", rows)
            yield Table("hit rates: largest errors", curve_summary(rows))
        if given.only != "curves":
            yield from run_tables(runs, traces, scratch, given.figures)


def run_tables(runs: list[Run], traces: dict[str, Trace], scratch: Path, figures: Path | None) -> Iterator[Table]:
    """Of the runs: times of the bytes that were measured, then predictions without any measured bytes."""
    rows: list[Row] = []
    fits: list[Row] = []
    models = {name: _model(traces[name], known) for name, known in MODELS.items()}
    for name, known in MODELS.items():
        own = [run for run in runs if run.model == name]
        likely = {run.cache_mib: run for run in own if run.cache_mib}
        drawn = _drawn(own, models[name], "default", scratch)
        shares = {mib: _missed(drawn, run, known) for mib, run in likely.items()}
        made = {run.name: _workload(run, models[name], shares.get(run.cache_mib), known, scratch) for run in own}
        fitted = next(run for run in own if run.name == known.fitted)
        ops_per_s = bigmoe_runs.fit_ops_per_s(made[fitted.name], COLD, fitted.lanes, known.fused, fitted.compute_s)
        fits.append({"model": name, "fitted on": fitted.name, "compute s": fitted.compute_s, "ops/s": ops_per_s})
        rows += [run_row(run, made[run.name], known, ops_per_s) for run in own]
    yield Table("fitted", fits)
    yield from run_views(rows)
    yield Table("compute fitted on another run", other_fits(rows))
    yield Table("runs", rows, is_shown=False)
    if figures is not None:
        figures.mkdir(parents=True, exist_ok=True)
        draw(rows).save(figures / "bigmoe.svg")
    yield Table("nothing measured: all experts of a token", stream_rows(runs, models))
    predicted: list[Row] = []
    for (name, known), preset in itertools.product(MODELS.items(), PRESETS):
        own = [run for run in runs if run.model == name]
        drawn = _drawn(own, models[name], preset, scratch)
        for run in {run.cache_mib: run for run in own if run.cache_mib and not run.overlapped}.values():
            predicted.append(predicted_row(run, _through_cache(drawn, run, known), preset))
    yield Table("nothing measured: synthetic routes", predicted)


def stream_rows(runs: list[Run], models: dict[str, ModelSpec]) -> list[Row]:
    """Bytes of runs without a cache follow from those of experts, each slice widened to pages."""
    rows: list[Row] = []
    for run in runs:
        if not run.cache_mib:
            model, known = models[run.model], MODELS[run.model]
            sizes = bigmoe_runs.read_sizes(model, known.fused)
            mib = mixture_of(model).experts_per_token * float(sizes.sum()) / 2**20
            row: Row = {"run": run.name, "MiB/token": mib, "measured": run.read_mib}
            rows.append(row | {"error %": 100 * (mib / run.read_mib - 1)})
    return rows


def _model(routes: Trace, known: Known) -> ModelSpec:
    """With experts as large as the routes say, and as many of a token as the model's own rule says."""
    per_token = mixture_of(ModelSpec.load(known.preset)).experts_per_token
    return bigmoe_runs.with_mixture(routes.model, experts_per_token=per_token)


def _drawn(runs: list[Run], model: ModelSpec, preset: str, scratch: Path) -> Trace:
    """Synthetic routes as long as the runs, made once."""
    path = scratch / f"{runs[0].model}-{preset}.zarr"
    if path.exists():
        return Trace.open(path)
    return bigmoe_runs.synthetic(path, model, runs[0].n_prompt, max(len(run.tokens) for run in runs), preset)


def _through_cache(drawn: Trace, run: Run, known: Known) -> Result:
    """Synthetic routes in a run's cache, LRU over all layers."""
    cache = {"cache_bytes": f"{run.cache_mib}MiB", "cache_scope": "shared"}
    return bigmoe_runs.simulated(drawn, COLD, bigmoe_runs.ANY_OPS_PER_S, run.lanes, False, known.fused, **cache)


def _missed(drawn: Trace, run: Run, known: Known) -> NDArray[np.float64]:
    """Share of each layer's look-ups that synthetic routes miss in a run's cache."""
    layers = _through_cache(drawn, run, known).layers
    return 1 - layers[layers["group"] == "experts"]["hit_rate"].to_numpy(np.float64)


def _workload(run: Run, model: ModelSpec, shares: NDArray[np.float64] | None, known: Known, scratch: Path) -> Trace:
    """What the run read, as a trace."""
    sizes = bigmoe_runs.read_sizes(model, known.fused)
    n_bytes = run.tokens["read_bytes"].to_numpy(np.float64)
    shares = np.ones(sizes.size) if shares is None else shares
    n_read = bigmoe_runs.spread(n_bytes, sizes, shares, mixture_of(model).experts_per_token)
    return bigmoe_runs.as_trace(scratch / f"{run.name}.zarr", model, n_read)


if __name__ == "__main__":
    main(__doc__, tables, options)
