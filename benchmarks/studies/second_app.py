"""What does a second app that reads from Flash cost the model, and what heat?

    python -m benchmarks.studies.second_app --figure benchmarks/studies/figures/second-app.svg

tok/s and p99 of a token's seconds against the app's rate, reads of 64 KiB, on two phones; then the same model on a
phone that gets hot, minute by minute. Synthetic scores of the shape of llama-3.2-1b, preset default.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.command import Row, Table, main
from dipsim import Dip, HardwareProfile, ModelSpec, Simulation, Trace, synthesize
from dipsim.loads import FlashReader, Heat
from dipsim.simulation import Simulation as Run

PHONES = ("oneplus-12-ufs4", "iphone-16")
RATES = (0, 100e6, 250e6, 500e6, 1000e6, 1500e6)
MODEL, METHOD, DRAM = "llama-3.2-1b", Dip(density=0.4), "0.75x"
HOT, MINUTE_S = "oneplus-12-ufs4", 60.0


def simulation(phone: str, trace: Trace, **more: Any) -> Run:
    return Simulation(HardwareProfile.load(phone), trace, METHOD, "lfu", dram=DRAM, warmup=16, **more)


def app_rows(trace: Trace) -> list[Row]:
    rows = []
    for phone in PHONES:
        for rate in RATES:
            loads = [FlashReader(rate_bytes_per_s=rate)] if rate else []
            numbers = simulation(phone, trace, loads=loads).run().to_dict()
            waited = numbers["waited_for_others_s_per_token"]
            row: Row = {"phone": phone, "app_mb_per_s": rate / 1e6, "tok_per_s": numbers["tok_per_s"]}
            row |= {"p99_ms": 1e3 * numbers["tpot_s"]["p99"], "waited_ms": 1e3 * waited["flash"] if waited else 0.0}
            rows.append(row)
    return rows


def heat_rows(trace: Trace) -> list[Row]:
    """What is left of Flash's bytes per busy second, and tok/s, minute by minute."""
    tokens = simulation(HOT, trace, loads=[Heat()]).run().tokens
    tokens["minute"] = (tokens["token_s"].cumsum() // MINUTE_S).astype(int)
    by_minute = tokens.groupby("minute")
    rates = by_minute["flash_bytes"].sum() / by_minute["flash_s"].sum()
    speeds = by_minute["token_s"].size() / by_minute["token_s"].sum()
    return [
        {"minute": int(minute), "flash_share_of_cold": rates[minute] / rates[0], "tok_per_s": speeds[minute]}
        for minute in rates.index
    ]


def draw(rows: list[Row], path: Path) -> None:
    frame = pd.DataFrame(rows)
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained")
    for phone, mark in zip(PHONES, "os", strict=True):
        own = frame[frame["phone"] == phone]
        for axis, column in zip(axes, ("tok_per_s", "p99_ms"), strict=True):
            axis.plot(own["app_mb_per_s"], own[column], marker=mark, label=phone)
    axes[0].set_ylabel("tok/s")
    axes[1].set_ylabel("p99 of a token (ms)")
    for axis in axes:
        axis.set_xlabel("second app asks for (MB/s)")
        axis.set_ylim(bottom=0)
    axes[0].legend()
    figure.savefig(path, metadata={"Date": None})
    frame.to_csv(path.with_suffix(".csv"), index=False)


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--tokens", type=int, default=40, help="of the model beside an app (40)")
    asked.add_argument("--hot-tokens", type=int, default=4500, help="of the model on the hot phone (4500)")
    asked.add_argument("--figure", type=Path, help="where to draw the first table; its data as CSV beside it")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    with tempfile.TemporaryDirectory() as folder:
        spec = ModelSpec.load(MODEL)
        trace = synthesize(Path(folder) / "app.zarr", spec, given.tokens)
        rows = app_rows(trace)
        if given.figure is not None:
            draw(rows, given.figure)
        yield Table("a second app", rows)
        yield Table("heat", heat_rows(synthesize(Path(folder) / "hot.zarr", spec, given.hot_tokens)))


if __name__ == "__main__":
    main(__doc__, tables, options)
