"""Published end-to-end results beside dipsim's, each with the set-up that comes nearest, and as a band.

    python -m benchmarks.published.end_to_end --figures benchmarks/published/figures --json FILE     all of it
    python -m benchmarks.published.end_to_end --only orin pi2-bamboo    targets by name, or by how their names begin
    python -m benchmarks.published.end_to_end --explain                 sources and assumptions of each, without a run

What is simulated stands in the modules `targets_*`: sparsity, memory, bits and overlap as the publication has them, the
device as its profile has it. Scores are synthetic (`dipsim synth`). A sparse target is shown twice: predicted from
synthetic scores alone, and with the hit rate that was published. Each is a band, over what is not known: the scores'
locality (presets low to high; of no use where hits are given), the Flash curve, and how many reads are in flight.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.command import Row, Table, main
from benchmarks.published.bands import Band, count_rows, draw
from benchmarks.published.targets import Run, Target, Workload
from benchmarks.published.targets_dense import TARGETS as IN_PAPERS
from benchmarks.published.targets_mixtures import TARGETS as MIXTURES
from benchmarks.published.targets_phones import TARGETS as PHONES
from benchmarks.published.targets_sparse import TARGETS as SPARSE
from dipsim import HardwareProfile, Result, Simulation, Trace, TraceWriter
from dipsim.errors import DipsimWarning
from dipsim.policies import make
from dipsim.synthetic import SITES, all_columns, by_layer, parameters, synthesize

DENSE = [*IN_PAPERS, *PHONES]
TARGETS = [*DENSE, *SPARSE, *MIXTURES]
PRESETS = ("low", "default", "high")
# Fields of a run that are arguments of `Simulation` as they are.
ARGUMENTS = (
    *("admission", "cache_bytes", "cache_scope", "overlap", "unit", "units", "layout", "prefetch", "prefetch_bytes"),
    *("prefetch_layers", "io_depth", "predictor_bytes", "given_hit_rate"),
)


def write_trace(path: Path, load: Workload) -> None:
    """Scores of the workload's sites, all layers; none of a dense method, which needs only tokens to count."""
    if load.sites == ("router",):
        synthesize(path, load.model, load.tokens, preset=load.preset, prompt_tokens=load.prompt)
        return
    ids = np.arange(load.tokens, dtype=np.int32)
    source = {"kind": "synthetic", "generator": "benchmarks.published.end_to_end", "preset": load.preset, "seed": 0}
    starts = np.arange(load.tokens) == 0
    sites = [site for site in SITES if site in load.sites]
    own = {site: by_layer(load.model, lambda depth, site=site: parameters(site, depth, load.preset)) for site in sites}
    with TraceWriter(
        path, load.model, load.sites, ids, [load.tokens], [load.prompt], source, {"name": "dense"}
    ) as writer:
        for (site, layer), columns in all_columns(load.model, own, 0).items():
            if layer % load.alike == 0:
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
    if run.compute_s is None:
        return profile
    rate = {"compute.ops_per_s": operations(run) / run.compute_s}
    return profile.with_values(rate)


def operations(run: Run) -> float:
    """Of a token: two for each weight that it uses."""
    model = run.workload.model
    groups = ((group.per_token or group.n_columns) * group.column_weights for group in run.masking.groups(model))
    return 2.0 * (float(model.pinned_weights.sum()) + model.n_layers * sum(groups) + model.lm_head_weights)


def simulation(run: Run, trace: Trace) -> Simulation:
    policy = make(run.policy) if isinstance(run.policy, str) else run.policy()
    how = {name: getattr(run, name) for name in ARGUMENTS if getattr(run, name) is not None}
    return Simulation(device(run), trace, run.masking, policy, dram=run.dram_bytes, warmup=run.workload.warmup, **how)


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


def band(target: Target, presets: tuple[str, ...], traces: Traces) -> Band:
    """Over presets of the scores and what Flash may be."""
    own_result = simulate(target.run, traces)
    own = quantity(target, own_result, traces)
    found = [own]
    for preset, flash in itertools.product(presets, target.flash):
        other = at_preset(target, preset)
        changes = other.run.changes | flash.get("changes", {})
        result = simulate(replace(other.run, **flash | {"changes": changes}), traces)
        found.append(quantity(other, result, traces))
    numbers = own_result.to_dict()
    hit_rate = numbers["hit_rate_by_group"].get("experts", numbers["hit_rate"])
    return Band(min(found), own, max(found), hit_rate)


def row(target: Target, traces: Traces) -> Row:
    """Published, predicted from scores alone, and with the published hit rate as given."""
    kind = "dense" if target in DENSE else "mixture" if target in MIXTURES else "sparse"
    shown: Row = {"target": target.name, "kind": kind, "unit": target.unit, "published": target.published}
    presets = PRESETS if kind != "dense" else ()
    shown |= band(target, presets, traces).columns("", target.published)
    given = Band.empty_columns("given ")
    if target.hit_rate is not None:
        run = replace(target.run, given_hit_rate=target.hit_rate, cache_scope="layer")
        own_preset = (run.workload.preset,)  # locality has nothing to say
        given = band(replace(target, run=run), own_preset, traces).columns("given ", target.published)
    return shown | given | {"chosen on it": ", ".join(target.chosen_on)}


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


def chosen(names: list[str]) -> list[Target]:
    """Targets whose names begin with one of these."""
    return [target for target in TARGETS if target.name.startswith(tuple(names))]


def beginning(name: str) -> str:
    """The argument of `--only`."""
    if not any(target.name.startswith(name) for target in TARGETS):
        names = ", ".join(target.name for target in TARGETS)
        raise argparse.ArgumentTypeError(f"no target begins with '{name}'; choose from {names}")
    return name


def options(asked: argparse.ArgumentParser) -> None:
    about = "targets by how their names begin (all)"
    asked.add_argument("--only", nargs="+", metavar="NAME", type=beginning, default=[""], help=about)
    asked.add_argument("--figures", type=Path, metavar="FOLDER", help="draw there, data beside")
    asked.add_argument("--explain", action="store_true", help="print sources and assumptions instead of running")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    targets = chosen(given.only)
    if given.explain:
        explain(targets)
        return
    with tempfile.TemporaryDirectory() as folder:
        traces = Traces(Path(folder))
        rows = [row(target, traces) for target in track(targets, "targets", console=Console(stderr=True))]
    yield Table("published and simulated", rows)
    yield Table("count", count_rows(rows))
    if given.figures is not None:
        given.figures.mkdir(parents=True, exist_ok=True)
        draw(rows).save(given.figures / "end-to-end.svg")
    about = [{"target": t.name, "source": t.source, "assumptions": t.assumptions, "run": str(t.run)} for t in targets]
    yield Table("targets", about, is_shown=False)


if __name__ == "__main__":
    main(__doc__, tables, options)
