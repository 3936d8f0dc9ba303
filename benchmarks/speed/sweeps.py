"""What do sweeps cost beside the simulations in them, and how fast are thousands of rows looked at?

    python -m benchmarks.speed.sweeps --json FILE                 some four minutes

Parallel efficiency is the time of one worker over twice that of two, for a sweep of runs of a second or more, workers
started and warm (the best case of a long sweep) and with their start. Overhead is what a run takes more in a sweep of
one worker than in a bare loop of `Simulation(...).run()` on one thread: from two lengths of sweep, so that the start
does not count. Rows are looked at as the command line does: read, plotted, made into a report.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import dipsim as ds
from benchmarks.command import Row, Table, add_runs, main
from benchmarks.measuring import alternate, repeat, seconds, spread
from dipsim.threads import limited

PROFILE = "oneplus-12-ufs4"


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    asked.add_argument("--model", default="llama-3.2-1b", help="whose synthetic trace long runs replay (llama-3.2-1b)")
    asked.add_argument("--tokens", type=int, default=512, help="of a long run (512)")
    asked.add_argument("--long", type=int, default=12, help="long runs in a sweep (12)")
    asked.add_argument("--short", type=int, nargs=2, default=[40, 240], help="short runs in two sweeps (40 240)")
    asked.add_argument("--rows", type=int, default=10_000, help="rows to look at (10000)")


def long_spec(given: argparse.Namespace, trace: Path) -> dict[str, Any]:
    densities = [round(float(d), 4) for d in np.linspace(0.4, 0.6, given.long)]
    return {"trace": str(trace), "profile": PROFILE, "method": "dip-ca", "density": densities, "dram": "0.5x"}


def efficiency_rows(given: argparse.Namespace, folder: Path) -> list[Row]:
    trace = folder / "long.zarr"
    ds.synthesize(trace, ds.ModelSpec.load(given.model), given.tokens)
    spec = long_spec(given, trace)

    def by(workers: int) -> Callable[[], object]:
        return lambda: ds.sweep(spec, workers=workers)

    def started(workers: int) -> Callable[[], object]:
        code = f"import dipsim as ds; ds.sweep({spec!r}, workers={workers})"
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603

    # Workers of one number are let go when those of another are asked for, so that each kind takes its turns alone.
    warm = {workers: repeat(by(workers), given.runs) for workers in (1, 2)}
    cold = alternate({str(workers): started(workers) for workers in (1, 2)}, given.runs, n_warm_up=0)
    rows: list[Row] = []
    for name, times in (("workers at hand", warm), ("with their start", {int(key): own for key, own in cold.items()})):
        ratios = [one / (2 * two) for one, two in zip(times[1], times[2], strict=True)]
        each = {f"s_per_run_{workers}": spread([time / given.long for time in own]) for workers, own in times.items()}
        rows.append({"sweep": name, **each, "efficiency": spread(ratios)})
    return rows


def overhead_rows(given: argparse.Namespace) -> list[Row]:
    """Milliseconds of a short run in a sweep and in a bare loop."""
    few, many = given.short
    trace, profile = ds.Trace.open("tiny"), ds.HardwareProfile.load(PROFILE)

    def densities(n: int) -> list[float]:
        return [round(float(d), 6) for d in np.linspace(0.4, 0.6, n)]

    def swept(n: int) -> Callable[[], object]:
        spec = {"trace": "tiny", "profile": PROFILE, "method": "dip", "density": densities(n), "dram": "0.5x"}
        return lambda: ds.sweep(spec, workers=1)

    def bare() -> None:
        with limited(1):
            for density in densities(few):
                ds.Simulation(profile, trace, ds.Dip(density=density), "lfu", dram="0.5x").run()

    times = alternate({"few": swept(few), "many": swept(many), "bare": bare}, given.runs)
    in_sweep = [1e3 * (b - a) / (many - few) for a, b in zip(times["few"], times["many"], strict=True)]
    alone = [1e3 * own / few for own in times["bare"]]
    extra = [a - b for a, b in zip(in_sweep, alone, strict=True)]
    return [{"ms_in_sweep": spread(in_sweep), "ms_bare": spread(alone), "overhead_ms": spread(extra)}]


def looking_rows(given: argparse.Namespace, folder: Path) -> list[Row]:
    """Seconds that the command line takes to look at many rows."""
    results, figure, page = folder / "results", folder / "figure.svg", folder / "report.html"
    axes = {"policy": ["lru", "lfu"], "density": [0.3, 0.4, 0.5, 0.6], "dram": ["0.5x", "0.6x", "0.7x"]}
    frame = ds.sweep({"trace": "tiny", "method": "dip", "profile": PROFILE, **axes}, results)
    many = pd.concat([frame] * -(-given.rows // len(frame)), ignore_index=True).iloc[: given.rows]
    noise = np.random.default_rng(0).uniform(0.9, 1.1, len(many))
    many = many.assign(key=[f"{i:032x}" for i in range(len(many))], tok_per_s=many["tok_per_s"] * noise)
    many.to_parquet(results / "results.parquet", index=False)
    commands = {
        "plot": ["plot", str(results), "pareto", "--by", "policy", "-o", str(figure), "--force"],
        "report": ["report", str(results), "-o", str(page), "--force"],
    }
    rows = [{"what": "read", "s": spread(repeat(lambda: pd.read_parquet(results), given.runs))}]
    for name, words in commands.items():

        def work(words: list[str] = words) -> None:
            subprocess.run([Path(sys.executable).parent / "dipsim", *words], check=True, capture_output=True)  # noqa: S603

        rows.append({"what": f"dipsim {name}", "s": spread([seconds(work) for _ in range(given.runs)])})
    return [*rows, {"what": "report's size, MB", "s": page.stat().st_size / 1e6}]


def tables(given: argparse.Namespace) -> Iterator[Table]:
    warnings.simplefilter("ignore", ds.DipsimWarning)
    with tempfile.TemporaryDirectory() as folder:
        yield Table(f"{given.long} runs, {given.model}, {given.tokens} tokens", efficiency_rows(given, Path(folder)))
        yield Table("short runs, tiny", overhead_rows(given))
        yield Table(f"{given.rows} rows", looking_rows(given, Path(folder)))


if __name__ == "__main__":
    main(__doc__, tables, options)
