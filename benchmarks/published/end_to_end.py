"""Published end-to-end results beside dipsim's, each with the set-up that comes nearest: no setting is fitted.

    python -m benchmarks.published.end_to_end --json FILE               all of it: about five minutes, 1 GB of disk
    python -m benchmarks.published.end_to_end --only orin pi2-bamboo    targets by name, or by how their names begin
    python -m benchmarks.published.end_to_end --explain                 sources and assumptions of each, without a run

What is simulated stands in `targets_dense.py` and `targets_sparse.py`: sparsity, memory, bits and overlap as the
publication has them, the device as its profile has it. Scores are synthetic (`dipsim synth`). Where a hit rate was
published the target is simulated once more with as much DRAM as makes that hit rate, which tells the trace's locality
from the device's speed.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.command import Row, Table, main
from benchmarks.published.targets import Run, Target, Workload
from benchmarks.published.targets_dense import TARGETS as DENSE
from benchmarks.published.targets_sparse import TARGETS as SPARSE
from dipsim import HardwareProfile, Result, Simulation, Trace, TraceWriter
from dipsim.errors import DipsimWarning
from dipsim.policies import make
from dipsim.synthetic import SITES, all_columns, by_layer, parameters

TARGETS = [*DENSE, *SPARSE]
# Of a column's share of DRAM, how finely the published hit rate is looked for.
HIT_RATE_STEPS = 7


def write_trace(path: Path, load: Workload) -> None:
    """Scores of the workload's sites, all layers; none of a dense method, which needs only tokens to count."""
    ids = np.arange(load.tokens, dtype=np.int32)
    source = {"kind": "synthetic", "generator": "benchmarks.published.end_to_end", "preset": load.preset, "seed": 0}
    starts = np.arange(load.tokens) == 0
    sites = [site for site in SITES if site in load.sites]
    own = {site: by_layer(load.model, lambda depth, site=site: parameters(site, depth, load.preset)) for site in sites}
    with TraceWriter(
        path, load.model, load.sites, ids, [load.tokens], [load.prompt], source, {"name": "dense"}
    ) as writer:
        for (site, layer), columns in all_columns(load.model, own, 0).items():
            scores = columns.scores(starts).view(np.float16)
            order = np.arange(scores.shape[1])
            if load.hottest_first:
                order = np.argsort(-scores[: load.warmup].mean(axis=0, dtype=np.float32), kind="stable")
            writer.write(site, layer, 0, scores[:, order])


class Traces:
    """Traces of the workloads, each written when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}

    def of(self, load: Workload) -> Trace:
        key = repr(load)
        if key not in self._paths:
            self._paths[key] = self._folder / f"{len(self._paths)}.zarr"
            write_trace(self._paths[key], load)
        return Trace.open(self._paths[key])


def device(run: Run) -> HardwareProfile:
    """The profile with the run's changes."""
    profile = HardwareProfile.load(run.profile).with_values(run.changes)
    if run.read_by is None:
        return profile
    points = {int(size): size / rate for size, rate, *_ in profile.flash.read_curve or []}
    least_s = 2 * points[run.read_by]
    longer = {size: max(seconds, least_s) for size, seconds in points.items() if size > run.read_by}
    curve = [[size, size / seconds] for size, seconds in {run.read_by: least_s / 2, **longer}.items()]
    return profile.with_values({"flash.read_curve": curve})


def simulation(run: Run, trace: Trace) -> Simulation:
    profile = device(run)
    return Simulation(
        profile,
        trace,
        run.masking,
        make(run.policy) if isinstance(run.policy, str) else run.policy(),
        admission=run.admission,
        dram=run.dram_bytes,
        overlap=run.overlap,
        unit=run.unit,
        layout=run.layout,
        prefetch=run.prefetch,
        prefetch_bytes=run.prefetch_bytes,
        warmup=run.workload.warmup,
    )


def simulate(run: Run, traces: Traces) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DipsimWarning)  # streaming attention, slots for few columns: as published
        return simulation(run, traces.of(run.workload)).run()


def quantity(target: Target, result: Result, traces: Traces) -> float:
    """What was published, of this result."""
    numbers = result.to_dict()
    if target.unit == "ms of Flash per token":
        return float(1e3 * numbers["busy_s"]["flash"] / numbers["n_tokens"])
    if target.baseline is None:
        return float(numbers["tok_per_s"])
    return float(numbers["tok_per_s"] / simulate(target.baseline, traces).to_dict()["tok_per_s"])


def at_hit_rate(run: Run, hit_rate: float, traces: Traces) -> Result:
    """The run with as much of the weights in DRAM as makes that hit rate, or comes nearest, by bisection."""
    low, high = run.bytes_beside, run.bytes_beside + run.masked_bytes
    tried: list[tuple[float, Result]] = []
    for _ in range(HIT_RATE_STEPS):
        middle = (low + high) / 2
        result = simulate(replace(run, dram_bytes=middle), traces)
        missing = hit_rate - result.to_dict()["hit_rate"]
        tried.append((abs(missing), result))
        low, high = (middle, high) if missing > 0 else (low, middle)
    return min(tried, key=lambda one: one[0])[1]


def row(target: Target, result: Result, traces: Traces) -> Row:
    numbers, ours = result.to_dict(), quantity(target, result, traces)
    shown: Row = {"target": target.name, "unit": target.unit, "published": target.published, "dipsim": ours}
    shown |= {"ratio": ours / target.published, "hit rate, published": target.hit_rate or ""}
    shown |= {"dipsim's": numbers["hit_rate"], "MLP error": numbers["mlp_error"], "bound": numbers["bound"]}
    shown["Flash MB/token"] = numbers["bytes_per_token"]["flash"] / 1e6
    return shown | {"DRAM MB/token": numbers["bytes_per_token"]["dram"] / 1e6}


def found_rows(targets: list[Target]) -> tuple[list[Row], list[Row]]:
    """Each target as published, and those whose hit rate was, with DRAM that makes it."""
    as_published: list[Row] = []
    at_their_rate: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        traces = Traces(Path(folder))
        for target in targets:
            as_published.append(row(target, simulate(target.run, traces), traces))
            if target.hit_rate is not None:
                result = at_hit_rate(target.run, target.hit_rate, traces)
                share = (result.dram.capacity_bytes - target.run.bytes_beside) / target.run.masked_bytes
                at_their_rate.append(row(target, result, traces) | {"share in DRAM": share})
    return as_published, at_their_rate


def explain(targets: list[Target]) -> None:
    for target in targets:
        print(f"{target.name}: {target.published:g} {target.unit}, {target.system} on {target.device}")
        print(f"    from {target.source}\n    as   {target.run}")
        for assumption in target.assumptions:
            print(f"    -    {assumption}")


def at_preset(target: Target, preset: str) -> Target:
    """The target with scores of another locality; nothing changes where there are none."""

    def other(run: Run) -> Run:
        return replace(run, workload=replace(run.workload, preset=preset))

    return replace(target, run=other(target.run), baseline=target.baseline and other(target.baseline))


def chosen(names: list[str], preset: str | None) -> list[Target]:
    """Targets whose names begin with one of these."""
    found = [target for target in TARGETS if target.name.startswith(tuple(names))]
    return found if preset is None else [at_preset(target, preset) for target in found]


def beginning(name: str) -> str:
    """The argument of `--only`."""
    if not any(target.name.startswith(name) for target in TARGETS):
        names = ", ".join(target.name for target in TARGETS)
        raise argparse.ArgumentTypeError(f"no target begins with '{name}'; choose from {names}")
    return name


def options(asked: argparse.ArgumentParser) -> None:
    about = "targets by how their names begin (all)"
    asked.add_argument("--only", nargs="+", metavar="NAME", type=beginning, default=[""], help=about)
    asked.add_argument("--preset", choices=("low", "default", "high"), help="locality of scores (each target's own)")
    asked.add_argument("--explain", action="store_true", help="print sources and assumptions instead of running")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    targets = chosen(given.only, given.preset)
    if given.explain:
        explain(targets)
        return
    as_published, at_their_rate = found_rows(targets)
    yield Table("as published", as_published)
    if at_their_rate:
        yield Table("with DRAM that makes the published hit rate", at_their_rate)
    about = [{"target": t.name, "source": t.source, "assumptions": t.assumptions, "run": str(t.run)} for t in targets]
    yield Table("targets", about, is_shown=False)


if __name__ == "__main__":
    main(__doc__, tables, options)
