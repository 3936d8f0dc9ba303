"""How far is the simulator from a real machine: tokens per second predicted, and measured by a small real runtime.

    python -m benchmarks.host.validate --folder FOLDER      # a folder on the disk to be measured; about seven minutes
    python -m benchmarks.host.validate --only pipelined     # some settings, --rounds 1 once
    python -m benchmarks.host.validate --quick              # a small model, few settings, one round

The runtime (runtime.py) reads columns of a real model's width from a real disk and multiplies them. The simulator
is given the same scores and a profile of this machine (calibration.py), and nothing that a setting has shown. Its
Flash is measured twice: by fio, as `dipsim calibrate host` does, and by the runtime's own reads, just before and after
each setting; what is left of the error then is the simulator's, not that of another reader or hour. "by one curve" has
the same reads as a phone's profile would tell them, without curves by depth.

Rounds are repeated; each number is the median over them, and an error that of each round's own. Weights are of 8 bits
and random, scores synthetic, keys and values left out. One core multiplies; under `io` and `pipelined` another reads
meanwhile. "other" is what a token takes beyond Flash.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

import pandas as pd

from benchmarks.command import Row, Table, main, shown
from benchmarks.host.calibration import Core, Flash, Reads, flash_by_fio, flash_by_one_curve, flash_by_own_reads
from benchmarks.host.disk import Disk
from benchmarks.host.runtime import Measured
from benchmarks.host.settings import QUICK, SETTINGS, Setting, choices, measure, model_spec, scores_of
from benchmarks.host.weights import Host, file_bytes, write_weights
from benchmarks.measuring import spread
from dipsim import DipsimError, DipsimWarning, Simulation, Trace, synthesize

MAX_READ_BYTES = 256 * 1024
FIO, OWN, CURVE = "by fio", "by own reads", "by one curve"  # where numbers of Flash are from


@dataclass(frozen=True)
class Plan:
    """How much work a run of this script is."""

    n_layers: int
    n_tokens: int
    n_warm_up: int
    n_rounds: int
    seconds_per_point: float
    settings: tuple[Setting, ...]


FULL_PLAN = Plan(4, 9, 3, 3, 0.25, SETTINGS)
QUICK_PLAN = Plan(3, 8, 3, 1, 0.15, QUICK)


@dataclass
class Round:
    """What was measured in one go.

    Attributes:
        core: the core that multiplies.
        flash: source of numbers -> setting -> what a profile says of Flash.
        tokens: those after warm-up, of each setting.
    """

    core: Core
    flash: dict[str, dict[Setting, Flash]]
    tokens: dict[Setting, list[Measured]]


class Bench:
    """A model on this machine, and the trace that every setting decodes.

    Args:
        plan: how much work to do.
        folder: for weights and trace.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        model = model_spec(plan.n_layers)
        self._plan, self._folder, self._weights = plan, folder, folder / "weights"
        say(f"writing {file_bytes(model) / 1e9:.2f} GB of weights")
        write_weights(self._weights, model)
        synthesize(folder / "trace.zarr", model, plan.n_tokens)
        self._trace = Trace.open(folder / "trace.zarr")
        with Disk(self._weights, 32) as disk:
            self._host, self.is_direct = Host(disk, model, MAX_READ_BYTES), disk.is_direct
        self._scores = scores_of(self._trace)
        self._chosen = {setting: choices(setting, self._trace) for setting in plan.settings}

    def round(self) -> Round:
        """This machine, then each setting between two looks at the disk at its depth."""
        settings, tokens = self._plan.settings, {}
        core, by_fio = Core.measured(self._host, self._plan.seconds_per_point), self._flash_by_fio()
        ends = {depth: self._look(depth) for depth in (1, max(one.depth for one in settings))}
        flash: dict[str, dict[Setting, Flash]] = {source: {} for source in (OWN, CURVE, *[FIO] * bool(by_fio))}
        last: dict[int, Reads] = {}
        for setting in sorted(settings, key=lambda one: one.depth):
            before = last.get(setting.depth) or self._look(setting.depth)
            tokens[setting] = self._measure(setting)
            last = {setting.depth: self._look(setting.depth)}
            reads = ends | {setting.depth: Reads.mean([before, last[setting.depth]])}
            flash[OWN][setting] = flash_by_own_reads(reads, setting.depth, MAX_READ_BYTES)
            flash[CURVE][setting] = flash_by_one_curve(reads, setting.depth, MAX_READ_BYTES)
            if by_fio:
                flash[FIO][setting] = by_fio | {"queue_depth": setting.depth}
        return Round(core, flash, tokens)

    def predict(self, one: Round, source: str, setting: Setting) -> pd.DataFrame:
        """The simulator's tokens after warm-up."""
        profile = one.core.profile(setting.overlap, one.flash[source][setting] | {"gap_bytes": setting.gap_bytes})
        options = setting.options | {"warmup": self._plan.n_warm_up}
        return Simulation(profile, self._trace, setting.masking, setting.policy, **options).run().counted

    def _measure(self, setting: Setting) -> list[Measured]:
        say(f"    {setting.name}")
        chosen = self._chosen[setting]
        tokens = measure(self._weights, self._host, setting, chosen, self._trace, self._scores)
        return tokens[self._plan.n_warm_up :]

    def _look(self, depth: int) -> Reads:
        return Reads.measured(self._host, self._weights, depth, self._plan.seconds_per_point / 2)

    def _flash_by_fio(self) -> Flash | None:
        try:
            return flash_by_fio(self._folder, self._host, self._plan.seconds_per_point)
        except DipsimError as error:
            say(f"no numbers by fio: {error}")
            return None


def rows_of(bench: Bench, setting: Setting, rounds: list[Round]) -> tuple[Row, Row]:
    """What was predicted and measured of a setting: tokens per second, and what a token takes. Errors are medians of
    each round's own, since a disk may change between rounds."""
    rates = [len(one.tokens[setting]) / sum(token.token_s for token in one.tokens[setting]) for one in rounds]
    speed: Row = {"setting": setting.name, "measured tok/s": spread(rates)}
    parts: Row = {"setting": setting.name}
    predicted_s, flash_s = {}, {}
    for source in rounds[0].flash:
        runs = [bench.predict(one, source, setting) for one in rounds]
        seconds = [run["token_s"].mean() for run in runs]
        predicted_s[source] = median(seconds)
        flash_s[source] = median(run["flash_s"].mean() for run in runs)
        speed[f"{source}"] = 1 / predicted_s[source]
        ratios = [1 / (own_s * rate) for own_s, rate in zip(seconds, rates, strict=True)]
        speed[f"{source}, error %"] = 100 * (median(ratios) - 1)
    tokens = runs[0]
    missed = (tokens["active_columns"] - tokens["hits"]).tolist()
    speed["misses equal"] = all([token.n_missed for token in one.tokens[setting]] == missed for one in rounds)

    def measured(name: str) -> float:
        return median(fmean(getattr(token, name) for token in one.tokens[setting]) for one in rounds)

    parts |= {"reads": float(tokens["flash_reads"].mean()), "reads measured": measured("n_reads")}
    parts |= {"MB": float(tokens["flash_bytes"].mean()) / 1e6, "MB measured": measured("n_bytes") / 1e6}
    parts |= {f"Flash ms, {source}": 1e3 * seconds for source, seconds in flash_s.items()}
    parts |= {"Flash ms measured": 1e3 * measured("flash_s"), "other ms": 1e3 * (predicted_s[OWN] - flash_s[OWN])}
    parts |= {"other ms measured": 1e3 * (measured("token_s") - measured("flash_s"))}
    return speed, parts


def summary(plan: Plan, speeds: list[Row], parts: list[Row], sources: list[str]) -> list[Row]:
    """Errors by each source, of all settings and of each overlap: the median, the mean with its sign, the worst."""
    overlaps = [one.overlap for one in plan.settings]
    rows = []
    for source in sources:
        for group in ("all", *dict.fromkeys(overlaps)):
            some = [i for i, overlap in enumerate(overlaps) if group in ("all", overlap)]
            errors = {i: speeds[i][f"{source}, error %"] for i in some}
            worst = max(some, key=lambda i: abs(errors[i]))
            own = parts[worst]
            rows.append(
                {
                    "Flash": source,
                    "overlap": group,
                    "settings": len(some),
                    "median absolute error, %": median(abs(error) for error in errors.values()),
                    "mean error, %": fmean(errors.values()),
                    "worst, %": errors[worst],
                    "where": own["setting"],
                    "its Flash, ms off": own[f"Flash ms, {source}"] - own["Flash ms measured"],
                    "its other, ms off": own["other ms"] - own["other ms measured"],
                }
            )
    return rows


def run(plan: Plan, folder: Path) -> list[Table]:
    """All rounds, and the tables."""
    bench, rounds = Bench(plan, folder), []
    for n in range(plan.n_rounds):
        say(f"round {n + 1} of {plan.n_rounds}")
        rounds.append(bench.round())
    speeds, parts = zip(*(rows_of(bench, setting, rounds) for setting in plan.settings), strict=True)
    how = (
        "past the page cache" if bench.is_direct else "BUFFERED: O_DIRECT is refused; page cache dropped before a token"
    )
    return [
        Table("this machine", [{"what": "reads", "value": how}, *told(rounds)]),
        Table("tokens per second", list(speeds)),
        Table("one token", list(parts)),
        Table("summary", summary(plan, list(speeds), list(parts), list(rounds[0].flash))),
    ]


def told(rounds: list[Round]) -> list[Row]:
    """What the simulator was told: medians."""

    def core(name: str) -> float:
        return median(getattr(one.core, name) for one in rounds)

    numbers = {
        "products of weights in the core's cache, GB/s": 1e-9 / core("near_s"),
        "products of weights in DRAM, GB/s": 1e-9 / core("far_s"),
        "DRAM, all cores, GB/s": core("bus_bytes_per_s") / 1e9,
        "launch, us": core("launch_s") * 1e6,
        "sparse products, share of dense ones' rate": core("far_s") / core("sparse_s"),
        "gathering, GB/s": 1e-9 / core("gather_s"),
        "selection, ns per column": core("select_s_per_column") * 1e9,
        "selection and handing over, ns per column": core("hand_over_s_per_column") * 1e9,
    }
    rows = [{"what": what, "value": shown(value)} for what, value in numbers.items()]
    for source in rounds[0].flash.keys() - {CURVE}:
        for depth in sorted({setting.depth for setting in rounds[0].tokens}):
            flashes = [own for one in rounds for at, own in one.flash[source].items() if at.depth == depth]
            points = [[point for point in flash["read_curve"] if point[2] == depth] for flash in flashes]
            rates = [f"{at[0][0] // 1024} KiB {median(p[1] for p in at) / 1e6:.0f}" for at in zip(*points, strict=True)]
            rates += [f"in a row {median(flash['read_bytes_per_s'] for flash in flashes) / 1e6:.0f}"]
            rows.append({"what": f"{source}: reads at depth {depth}, MB/s", "value": ", ".join(rates)})
    return rows


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--folder", type=Path, help="where the weights are put (the system's temporary folder)")
    asked.add_argument("--quick", action="store_true", help="a small model, few settings, one round")
    asked.add_argument("--only", metavar="TEXT", default="", help="settings whose name holds this, such as pipelined")
    asked.add_argument("--rounds", type=int, metavar="N", help="so many rounds")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    warnings.filterwarnings("ignore", "slots: ", DipsimWarning)  # here policies need not differ
    plan = QUICK_PLAN if given.quick else FULL_PLAN
    chosen = tuple(setting for setting in plan.settings if given.only in setting.name)
    if not chosen:
        raise DipsimError(f"only: got '{given.only}'; no setting's name holds it")
    if given.rounds is not None and given.rounds < 1:
        raise DipsimError(f"rounds: got {given.rounds}; must be 1 or more")
    plan = replace(plan, settings=chosen, n_rounds=given.rounds or plan.n_rounds)
    with tempfile.TemporaryDirectory(prefix="dipsim-validate-", dir=given.folder) as folder:
        needed = 2 * file_bytes(model_spec(plan.n_layers))
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise DipsimError(
                f"{folder}: {free / 1e9:.1f} GB are free, {needed / 1e9:.1f} are needed; choose another --folder"
            )
        yield from run(plan, Path(folder))


if __name__ == "__main__":
    main(__doc__, tables, options)
