"""What does ideal Flash hide, and what do layouts, gaps and prefetch buy?

    dipsim synth phi-3-medium -n 256 -o phi-3-medium.zarr
    python -m benchmarks.studies.flash phi-3-medium.zarr tiny --figure benchmarks/studies/figures/ideal-flash.svg

Every number is simulated, so that none depends on the machine. Columns of a synthetic trace are independent of each
other: those that are active together are so because each is active often. `tiny` has recorded scores, but columns of
896 and 128 bytes, below a page; here it has 64 bits per weight, which makes them 14,336 and 2,048 bytes (those of
phi-3-medium are 17,920 and 2,560). The first tokens, from which `coactivation` learns, are counted for no line.

The figure is of the first trace.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from benchmarks.command import Row, Table, main
from dipsim import DipsimWarning, HardwareProfile, ModelSpec, Simulation, Trace, plots
from dipsim.kernels import BoolArray, Int32Array
from dipsim.layouts import Coactivation, Column, Layout
from dipsim.methods import make

DEVICES = ("oneplus-12-ufs4", "iphone-16", "desktop-pcie4")
DENSITIES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
GAPS = (0, 4 << 10, 16 << 10, 64 << 10)
FIGURE_GAP_BYTES = 16 << 10
LONGEST_READ_BYTES = 1 << 20
DEPTHS = (1, 4, 16, 32, 128)
PREFETCHERS = ("previous-token", "previous-layer", "oracle")
AHEAD_SHARES = (1 / 256, 1 / 64, 1 / 16)
# After those from which layouts learn; prefetch runs are the slowest.
PREFETCH_TOKENS = 32
TINY_BITS = {"mlp": 64, "attention": 64, "lm_head": 64, "embedding": 64, "kv": 8}


class Learnt(Coactivation):
    """Coactivation, which takes half a minute on a full-size model: all devices share what was learnt from the same
    masks."""

    orders: ClassVar[dict[str, Int32Array]] = {}

    def order(self, active: BoolArray) -> Int32Array:
        key = f"{active.shape} {hashlib.sha256(np.packbits(active).tobytes()).hexdigest()}"
        if key not in self.orders:
            self.orders[key] = super().order(active)
        return self.orders[key]


@dataclass(frozen=True)
class Workload:
    """A trace with all that its runs have in common.

    Attributes:
        n_unseen: tokens at the start of each sequence that are not counted, and from the first of which layouts learn.
    """

    trace: Trace
    model: ModelSpec
    method: str
    dram: str
    n_tokens: int
    n_unseen: int

    @classmethod
    def of(cls, path: str, given: argparse.Namespace) -> Workload:
        trace = Trace.open(path)
        model, n_tokens = trace.model, min(given.tokens, trace.n_tokens)
        if model.name == "tiny":
            model = ModelSpec.parse(model.model_dump() | {"name": "tiny, 64 bits", "bits": TINY_BITS}, "tiny")
        longest = max(min(sequence.stop, n_tokens) - sequence.start for sequence in trace.sequences)
        n_unseen = min(Coactivation.calibration_tokens, longest // 2)
        return cls(trace, model, given.method, given.dram, n_tokens, n_unseen)

    @property
    def layouts(self) -> dict[str, Callable[[bool], Layout]]:
        """By name, each bundled or not."""
        return {"column": Column, "coactivation": lambda bundled: Learnt(bundled, self.n_unseen)}

    def run(self, profile: HardwareProfile, density: float, **how: Any) -> dict[str, Any]:
        """The result's numbers; density 1 is dense."""
        masking = make("dense") if density == 1 else make(self.method, density=density)
        common: dict[str, Any] = {
            "dram": self.dram,
            "model": self.model,
            "tokens": self.n_tokens,
            "warmup": self.n_unseen,
        }
        return Simulation(profile, self.trace, masking, "lfu", **common | how).run().to_dict()


def devices() -> dict[str, HardwareProfile]:
    """Long reads are split as an operating system does it: else a dense layer would be one request, at depth 1."""
    longest = {"flash.max_read_bytes": LONGEST_READ_BYTES}
    return {name: HardwareProfile.load(name).with_values(longest) for name in DEVICES}


def ideal(profile: HardwareProfile) -> HardwareProfile:
    """Bytes over the sequential rate, and nothing else."""
    return profile.with_values({"flash": {"read_bytes_per_s": profile.flash.read_bytes_per_s}})


def density_frame(work: Workload, densities: list[float]) -> pd.DataFrame:
    """Tidy, as the figure wants it."""
    rows = []
    for device, profile in devices().items():
        across = profile.with_values({"flash.gap_bytes": FIGURE_GAP_BYTES})
        readings = {"ideal Flash": (ideal(profile), Column())}
        readings |= {f"real: {name}": (profile, new(True)) for name, new in work.layouts.items()}
        readings[f"real: coactivation and {FIGURE_GAP_BYTES >> 10} KiB gaps"] = (
            across,
            work.layouts["coactivation"](True),
        )
        runs = [(reading, density, *how) for reading, how in readings.items() for density in densities]
        for reading, density, flash, layout in [*runs, ("real: dense", 1.0, profile, Column())]:
            numbers = work.run(flash, density, layout=layout)
            row: Row = {"device": device, "reading": reading, "density": density}
            rows.append(row | {name: float(numbers[name]) for name in ("tok_per_s", "mlp_error", "hit_rate")})
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame, title: str) -> plots.Plot:
    """Tokens per second by density, dense a line across: what lies below it had better not skip."""
    skipping = frame.assign(density=frame["density"].where(frame["density"] < 1))
    return plots.curves(skipping, "density", by="reading", panels="device", title=title)


def density_rows(frame: pd.DataFrame) -> list[Row]:
    """A column for each density, and the MLP error in the last row."""
    rows: list[Row] = []
    for (device, reading), own in frame.groupby(["device", "reading"], sort=False):
        rates = {f"{density:g}": rate for density, rate in zip(own["density"], own["tok_per_s"], strict=True)}
        rows.append({"device": device, "reading": reading} | rates)
    error = frame.groupby("density")["mlp_error"].mean()
    return [*rows, {"reading": "MLP error"} | {f"{density:g}": own for density, own in error.items()}]


def of_reads(numbers: dict[str, Any]) -> Row:
    flash = numbers["flash"]
    row: Row = {name: float(numbers[name]) for name in ("tok_per_s", "mlp_error")}
    row |= {"reads": round(flash["reads_per_token"]), "mean_read_kB": flash["mean_read_bytes"] / 1e3}
    row["amplification"] = float(flash["amplification"])
    return row | {f"{cause}_ms": 1e3 * own for cause, own in flash["s_per_token"].items()}


def layout_rows(work: Workload, density: float) -> list[Row]:
    rows = []
    cases = itertools.product(devices().items(), (True, False), work.layouts.items())
    for (device, profile), bundled, (name, new) in cases:
        numbers = work.run(profile, density, layout=new(bundled))
        rows.append({"device": device, "layout": name, "bundled": bundled} | of_reads(numbers))
    return rows


def gap_rows(work: Workload, density: float) -> list[Row]:
    rows = []
    for (device, profile), (name, new), gap_bytes in itertools.product(devices().items(), work.layouts.items(), GAPS):
        across = profile.with_values({"flash.gap_bytes": gap_bytes})
        row: Row = {"device": device, "layout": name, "gap_KiB": gap_bytes >> 10}
        rows.append(row | of_reads(work.run(across, density, layout=new(True))))
    return rows


def flash_rows(work: Workload, density: float) -> list[Row]:
    """Heat, and queues that are not kept full."""
    rows = []
    for device, profile in devices().items():
        full = profile.flash.queue_depth or max(DEPTHS)
        values = [(derate, full) for derate in (1.0, 0.67)] + [(1.0, depth) for depth in DEPTHS if depth < full]
        for derate, depth in values:
            changed = profile.with_values({"flash.derate": derate, "flash.queue_depth": depth})
            row: Row = {"device": device, "derate": derate, "queue_depth": depth}
            rows.append(row | of_reads(work.run(changed, density)))
    return rows


def situations(work: Workload) -> dict[str, tuple[HardwareProfile, str]]:
    """A phone, and what changes how long Flash would idle: device and DRAM for the model."""
    phone = devices()[DEVICES[0]]
    slow = {"dram.read_bytes_per_s": phone.dram.read_bytes_per_s / 8}
    return {
        "as it is": (phone, work.dram),
        "most is cached": (phone, "0.9x"),
        "DRAM at 1/8": (phone.with_values(slow), work.dram),
        "ideal Flash, no compute": (ideal(phone).with_values({"compute": None}), work.dram),
    }


def prefetch_rows(work: Workload, density: float) -> list[Row]:
    rows, layer_bytes = [], work.model.mlp_bytes / work.model.n_layers
    ways: list[tuple[str, float | None]] = [("none", None), *itertools.product(PREFETCHERS, AHEAD_SHARES)]
    tokens = work.n_tokens if len(work.trace.sequences) > 1 else min(work.n_tokens, work.n_unseen + PREFETCH_TOKENS)
    for (situation, (profile, dram)), (name, share) in itertools.product(situations(work).items(), ways):
        n_bytes = None if share is None else share * layer_bytes
        how: dict[str, Any] = {"dram": dram, "tokens": tokens, "prefetch": name, "prefetch_bytes": n_bytes}
        numbers = work.run(profile, density, **how)
        row: Row = {"situation": situation, "prefetch": name, "MB_a_layer": "" if n_bytes is None else n_bytes / 1e6}
        rows.append(row | of_prefetch(numbers))
    return rows


def of_prefetch(numbers: dict[str, Any]) -> Row:
    path = {part: 1e3 * own for part, own in numbers["critical_path_s_per_token"].items()}
    ahead = numbers["prefetch"] or {"bytes_per_token": 0.0, "wasted_bytes_per_token": 0.0}
    total_s = numbers["n_tokens"] / numbers["tok_per_s"]
    return {
        "tok_per_s": float(numbers["tok_per_s"]),
        "mlp_error": float(numbers["mlp_error"]),
        "Flash_idle": float(1 - numbers["busy_s"]["flash"] / total_s),
        "ahead_MB": ahead["bytes_per_token"] / 1e6,
        "wasted_MB": ahead["wasted_bytes_per_token"] / 1e6,
        "flash_ms": path["flash_latency"] + path["flash_bandwidth"],
        "waiting_ms": path["waiting"],
        "dram_ms": path["dram"],
        "compute_ms": path["compute"] + path["selection"],
    }


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("trace", nargs="+", help="with scores at mlp_input and glu; 'tiny' ships")
    asked.add_argument("--method", choices=("dip", "dip-ca"), default="dip", help="dip: masks ignore the cache (dip)")
    asked.add_argument("--dram", default="0.5x", help="DRAM for the model (0.5x)")
    asked.add_argument("--densities", type=float, nargs="+", default=DENSITIES, help="of the figure (.2 to .9)")
    asked.add_argument("--density", type=float, default=0.5, help="of all other tables (0.5)")
    asked.add_argument("--tokens", type=int, default=512, help="only the first tokens of each trace (512)")
    asked.add_argument("--figure", type=Path, metavar="FILE", help="draw throughput by density here, CSV beside it")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    if given.figure is not None:
        plots.check_format(given.figure)
    # Some runs have fewer slots than active columns, and half of phi-3-medium is more than an iPhone gives one app.
    warnings.simplefilter("ignore", DipsimWarning)
    for path in given.trace:
        work = Workload.of(path, given)
        shared = f"{work.model.name}, {work.method}, lfu, {work.dram} DRAM"
        frame = density_frame(work, given.densities)
        if given.figure is not None and path == given.trace[0]:
            draw(frame, shared).save(given.figure)
        yield Table(f"{shared}: tokens/s by density", density_rows(frame))
        makers = {
            "layouts": layout_rows,
            "gaps": gap_rows,
            "heat and queue depth": flash_rows,
            "prefetch": prefetch_rows,
        }
        for name, maker in makers.items():
            yield Table(f"{shared}: {name}, density {given.density:g}", maker(work, given.density))


if __name__ == "__main__":
    main(__doc__, tables, options)
