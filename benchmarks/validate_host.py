"""How far is the simulator from a real machine: tokens per second predicted, and measured by a small real runtime.

    python benchmarks/validate_host.py --folder FOLDER      # a folder on the disk to be measured; under eight minutes
    python benchmarks/validate_host.py --quick              # a small model, few settings, one round

Every round measures this machine (host_calibration.py: fio for the disk, the runtime's own products for the core),
then runs every setting (host_runtime.py); each number is the median over the rounds. The simulator is given the
measured profile, the same scores, and nothing that a setting has shown. Weights are of 8 bits and random, scores
synthetic, keys and values left out. One core multiplies; under `pipelined` another reads meanwhile. In the table,
"other" is what a token takes beyond Flash.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np
import synthetic
from host_calibration import Calibration, calibrate, profile_of
from host_disk import Disk
from host_runtime import Choice, Measured, Runtime
from host_weights import Float32Array, Host, file_bytes, write_weights
from measuring import Row, print_machine, print_table, save, shown, spread

from dipsim import Dense, Dip, DipCa, Glu, HardwareProfile, ModelSpec, Result, Simulation, Trace
from dipsim.errors import DipsimWarning
from dipsim.masking import Masking, n_kept_by

MAX_READ_BYTES = 256 * 1024
GAP_BYTES = 16 * 1024
Scores = dict[str, Float32Array]


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes:
        masking: the method.
        dram: memory, as a share of all weights.
        depth: reads in flight.
        gap_bytes: bytes between two wanted columns that are read rather than skipped.
        overlap: `none`, or `pipelined`: a second thread reads.
    """

    masking: Masking
    dram: float
    depth: int
    gap_bytes: int = 0
    overlap: str = "none"

    @property
    def name(self) -> str:
        density = getattr(self.masking, "density", 1)
        gap = f", gap {self.gap_bytes // 1024} KiB" if self.gap_bytes else ""
        overlap = "" if self.overlap == "none" else f", {self.overlap}"
        return f"{self.masking.name} {density:g}, {self.dram:g}x, depth {self.depth}{gap}{overlap}"


SETTINGS = (
    Setting(Dense(), 0.5, 32),
    Setting(Dense(), 0.8, 1),
    Setting(Dip(density=0.5), 0.5, 32),
    Setting(Dip(density=0.5), 0.5, 32, GAP_BYTES),
    Setting(Dip(density=0.5), 0.5, 4),
    Setting(Dip(density=0.5), 0.5, 4, GAP_BYTES),
    Setting(Dip(density=0.3), 0.3, 16),
    Setting(Dip(density=0.7), 0.8, 32),
    Setting(DipCa(density=0.5), 0.3, 32, GAP_BYTES),
    Setting(DipCa(density=0.5), 0.5, 16),
    Setting(DipCa(density=0.5), 0.5, 1),
    Setting(DipCa(density=0.5), 0.8, 16),
    Setting(DipCa(density=0.3), 0.5, 4),
    Setting(DipCa(density=0.7), 0.5, 16, GAP_BYTES),
    Setting(Glu(density=0.75), 0.5, 32),
    Setting(Dense(), 0.5, 32, 0, "pipelined"),
    Setting(Dip(density=0.5), 0.5, 32, 0, "pipelined"),
    Setting(DipCa(density=0.5), 0.5, 4, 0, "pipelined"),
    Setting(DipCa(density=0.7), 0.8, 16, 0, "pipelined"),
)
QUICK = (SETTINGS[0], SETTINGS[2], SETTINGS[3], SETTINGS[4], SETTINGS[10], SETTINGS[16])


@dataclass(frozen=True)
class Plan:
    """How much work a run of this script is."""

    n_layers: int
    n_tokens: int
    n_warm_up: int
    n_rounds: int
    seconds_per_point: float
    settings: tuple[Setting, ...]


FULL_PLAN = Plan(10, 10, 3, 3, 0.4, SETTINGS)
QUICK_PLAN = Plan(3, 8, 3, 1, 0.3, QUICK)


def model_spec(n_layers: int) -> ModelSpec:
    """Layers as wide as those of phi-3-mini: columns of 16 KiB, and of 3 KiB, which do not end with pages."""
    sizes = {"hidden_size": 3072, "intermediate_size": 8192, "n_heads": 32, "n_kv_heads": 8, "head_dim": 96}
    bits = dict.fromkeys(("mlp", "attention", "lm_head", "embedding", "kv"), 8)
    data = {"name": "some layers of phi-3-mini", "n_layers": n_layers, "vocab_size": 4096, "bits": bits} | sizes
    return ModelSpec.parse(data, "validate_host")


def predict(calibrations: list[Calibration], trace: Trace, setting: Setting, n_warm_up: int) -> Result:
    """What the simulator makes of a setting."""
    device = profile_of(calibrations, setting.depth, MAX_READ_BYTES, setting.overlap)
    device = device.with_values({"flash.gap_bytes": setting.gap_bytes})
    dram, overlap = f"{setting.dram}x", setting.overlap
    return Simulation(device, trace, setting.masking, "lfu", dram=dram, overlap=overlap, warmup=n_warm_up).run()


def scores_of(trace: Trace) -> Scores:
    """All scores of a trace by site, [token, layer, column]."""
    return {site: trace.read(site, 0, trace.n_tokens).view(np.float16).astype(np.float32) for site in trace.sites}


def choices(setting: Setting, trace: Trace) -> list[Choice]:
    """The setting as the runtime takes it: the number of slots is the simulator's, which is the same for any device."""
    device = HardwareProfile.load("a18-paper")
    planned = Simulation(device, trace, setting.masking, dram=f"{setting.dram}x", tokens=1).run()
    groups = {group.name: group for group in setting.masking.groups(trace.model)}
    gamma = getattr(setting.masking, "gamma", 1.0)
    made = []
    for row in planned.layers.itertuples():
        group = groups[row.group]
        made.append(Choice(group.name, row.layer, group.site, n_kept_by(setting.masking, group), gamma, row.slots))
    return made


def measure(
    path: Path, host: Host, setting: Setting, chosen: list[Choice], trace: Trace, scores: Scores
) -> list[Measured]:
    """Token after token on this machine."""
    with Disk(path, setting.depth) as disk, ThreadPoolExecutor(1) as thread:
        reader = thread if setting.overlap == "pipelined" else None
        return Runtime(host, chosen, setting.gap_bytes, reader).decode(disk, trace.token_ids, scores)


def compare(setting: Setting, predicted: Result, rounds: list[list[Measured]], n_warm_up: int) -> Row:
    """A row of the table: what was predicted and measured of the tokens after warm-up."""
    tokens, runs = predicted.counted, [tokens[n_warm_up:] for tokens in rounds]

    def measured(name: str) -> float:
        return median(fmean(getattr(token, name) for token in run) for run in runs)

    rates = [len(run) / sum(token.token_s for token in run) for run in runs]
    missed = (tokens["active_columns"] - tokens["hits"]).tolist()
    token_s, flash_s = float(tokens["token_s"].mean()), float(tokens["flash_s"].mean())
    return {
        "setting": setting.name,
        "predicted tok/s": 1 / token_s,
        "measured tok/s": spread(rates),
        "error %": 100 * (1 / token_s / median(rates) - 1),
        "misses equal": all([token.n_missed for token in run] == missed for run in runs),
        "reads": float(tokens["flash_reads"].mean()),
        "reads measured": measured("n_reads"),
        "MB": float(tokens["flash_bytes"].mean()) / 1e6,
        "MB measured": measured("n_bytes") / 1e6,
        "Flash ms": 1e3 * flash_s,
        "Flash ms measured": 1e3 * measured("flash_s"),
        "other ms": 1e3 * (token_s - flash_s),
        "other ms measured": 1e3 * (measured("token_s") - measured("flash_s")),
    }


def summary(rows: list[Row]) -> list[Row]:
    """The median error, and where the worst comes from."""
    worst = max(rows, key=lambda row: abs(row["error %"]))
    parts = {part: worst[f"{part} ms"] - worst[f"{part} ms measured"] for part in ("Flash", "other")}
    return [
        {"what": "median of absolute errors, %", "value": median(abs(row["error %"]) for row in rows)},
        {"what": "worst error, %", "value": worst["error %"]},
        {"what": "worst setting", "value": worst["setting"]},
        *({"what": f"there, {part} predicted less measured, ms", "value": ms} for part, ms in parts.items()),
    ]


def run(plan: Plan, folder: Path) -> dict[str, list[Row]]:
    """All rounds, and the tables."""
    model = model_spec(plan.n_layers)
    weights, trace_path = folder / "weights", folder / "trace.zarr"
    say(f"writing {file_bytes(model) / 1e9:.2f} GB of weights")
    write_weights(weights, model)
    synthetic.write(trace_path, model, [plan.n_tokens])
    trace = Trace.open(trace_path)
    scores = scores_of(trace)
    with Disk(weights, max(setting.depth for setting in plan.settings)) as disk:
        host, is_direct = Host(disk, model, MAX_READ_BYTES), disk.is_direct
    depths = sorted({1, *(setting.depth for setting in plan.settings)})
    chosen = {setting: choices(setting, trace) for setting in plan.settings}
    calibrations: list[Calibration] = []
    rounds: dict[Setting, list[list[Measured]]] = {setting: [] for setting in plan.settings}
    for n in range(plan.n_rounds):
        say(f"round {n + 1} of {plan.n_rounds}: this machine")
        calibrations.append(calibrate(host, weights, depths, plan.seconds_per_point, is_direct))
        for setting, runs in rounds.items():
            say(f"round {n + 1} of {plan.n_rounds}: {setting.name}")
            runs.append(measure(weights, host, setting, chosen[setting], trace, scores))
    rows = [
        compare(setting, predict(calibrations, trace, setting, plan.n_warm_up), runs, plan.n_warm_up)
        for setting, runs in rounds.items()
    ]
    how = (
        "past the page cache"
        if is_direct
        else "BUFFERED, since O_DIRECT is refused here: page cache dropped before each token"
    )
    calibrated = [{"what": "reads", "value": how}, *told(calibrations)]
    return {"this machine": calibrated, "predicted and measured, per token": rows, "summary": summary(rows)}


def told(calibrations: list[Calibration]) -> list[Row]:
    """What the simulator was told."""
    numbers = {name: median(one.others[name] for one in calibrations) for name in calibrations[0].others}
    for where in ("near_s", "far_s"):
        seconds = median(getattr(one, where) for one in calibrations)
        numbers[f"products of weights {where.removesuffix('_s')} the core, GB/s"] = 1e-9 / seconds
    rows = [{"what": name, "value": shown(number)} for name, number in numbers.items()]
    for depth in calibrations[0].sequential:
        profile = profile_of(calibrations, depth, MAX_READ_BYTES, "none").flash
        rates = [f"{n_bytes / 1024:g} KiB {n_bytes / seconds / 1e6:.0f}" for n_bytes, seconds in profile.curves[depth]]
        rates += [f"sequential {profile.read_bytes_per_s / 1e6:.0f}"]
        rows.append({"what": f"reads at depth {depth}, MB/s", "value": ", ".join(rates)})
    return rows


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=110)
    )
    made.add_argument("--folder", type=Path, help="where the weights are put (the system's temporary folder)")
    made.add_argument("--quick", action="store_true", help="a small model, few settings, one round")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, the machine and the versions here")
    return made.parse_args()


def main() -> None:
    given = arguments()
    warnings.filterwarnings("ignore", "slots: ", DipsimWarning)  # here policies need not differ
    plan = QUICK_PLAN if given.quick else FULL_PLAN
    with tempfile.TemporaryDirectory(prefix="dipsim-validate-", dir=given.folder) as folder:
        needed = 2 * file_bytes(model_spec(plan.n_layers))
        free = shutil.disk_usage(folder).free
        if free < needed:
            sys.exit(f"{folder}: {free / 1e9:.1f} GB are free, {needed / 1e9:.1f} are needed; choose another --folder")
        tables = run(plan, Path(folder))
    print_machine()
    for title, rows in tables.items():
        print_table(title, rows)
    save(given.json, tables, given)


if __name__ == "__main__":
    main()
