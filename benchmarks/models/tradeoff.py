"""What does each method cost in perplexity, and what does it gain in tokens per second?

    python -m benchmarks.models.tradeoff models/smollm2-135m.gguf test.txt --results runs --figure tradeoff.svg

Every method at densities .3 to .9. `cats` and `predictor` need what is made from other text first, in runs/MODEL: a
trace `cats.zarr` (dipsim capture --sites gate) and `predictor.safetensors` (dipsim train-predictor).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.command import Row, Table, main
from benchmarks.models.runs import Options, Place, add_place
from dipsim import plots

DENSITIES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Some matrices stay dense, so that lower densities do not exist; what ruins a model at one is not tried below.
OTHERS = {"gate": 0.4, "up": 0.4, "glu": 0.7, "magnitude-pruning": 0.5}
MADE = {"cats": {"calibration": "cats.zarr"}, "predictor": {"predictor": "predictor.safetensors"}}
SMALL: tuple[Options, ...] = tuple(
    {"method": method, "density": density, **({"gamma": 0.2} if method == "dip-ca" else {})}
    for density in (0.7, 0.5)
    for method in ("dip", "dip-ca", "gate", "up")
)
LOSSES = (0.01, 0.03, 0.05, 0.1, 0.2, 0.5)  # nats per token, at which methods are compared
MOST_LOST = 1.0  # nats that the figure shows


def cases() -> Iterator[Options]:
    yield {"method": "dense"}
    yield from ({"method": "dip", "density": density} for density in DENSITIES)
    yield from ({"method": "dip-ca", "density": density, "gamma": 0.2} for density in DENSITIES)
    for method, least in OTHERS.items():
        yield from ({"method": method, "density": density} for density in DENSITIES if density >= least)
    for method, made in MADE.items():
        yield from ({"method": method, "density": density, **made} for density in (0.5, 0.7))


def at_equal_loss(rows: list[Row]) -> list[Row]:
    """Tokens per second of each method at some losses, between densities along lines in logarithms of both."""
    frame = pd.DataFrame(rows)
    found: list[Row] = [{"nats lost": loss} for loss in LOSSES]
    for method, own in frame[frame["lost"] > 0].sort_values("lost").groupby("method", sort=False):
        lost, speed = np.log(own["lost"]), np.log(own["tok_per_s"])
        for row, loss in zip(found, np.log(LOSSES), strict=True):
            row[str(method)] = float(np.exp(np.interp(loss, lost, speed, left=np.nan, right=np.nan)))
    return found


def draw(rows: list[Row], path: Path, title: str) -> None:
    """Loss over dense against speed, a line for each method; the rows beside it as CSV."""
    frame = pd.DataFrame(rows)
    frame.drop(columns=["calibration", "predictor"], errors="ignore").to_csv(path.with_suffix(".csv"), index=False)
    with plots.looks():
        figure = Figure(figsize=(plots.COLUMN_WIDTH_INCHES, 0.85 * plots.COLUMN_WIDTH_INCHES), layout="constrained")
        axes = figure.subplots()
        for index, (method, own) in enumerate(frame[frame["method"] != "dense"].groupby("method", sort=False)):
            shown = own[(own["lost"] > 0) & (own["lost"] <= MOST_LOST)].sort_values("tok_per_s")
            colour, marker, *_ = plots.look(index)
            axes.errorbar(
                *(shown["tok_per_s"], shown["lost"]),
                yerr=shown["lost_se"],
                **{"color": colour, "marker": marker, "markersize": 3, "linewidth": 1, "label": method},
            )
        axes.axvline(frame.loc[frame["method"] == "dense", "tok_per_s"].iloc[0], color="grey", linestyle="--")
        axes.set_yscale("log")
        axes.set_ylim(0.003, 1.2 * MOST_LOST)
        axes.set_xscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "235" else ""))
        axes.set_xlabel("throughput (tokens/s); dashed: dense")
        axes.set_ylabel("loss over dense (nats/token)")
        axes.set_title(title, fontsize=7)
        axes.legend(fontsize=6)
    figure.savefig(path, metadata={"Date": None})


def options(asked: argparse.ArgumentParser) -> None:
    add_place(asked)
    asked.add_argument("--small", action="store_true", help="dip, dip-ca, gate and up at densities .5 and .7")
    asked.add_argument("--figure", type=Path, metavar="FILE", help="SVG; its numbers go beside it as CSV")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    place, rows = Place(given), []
    for row in place.rows(({"method": "dense"}, *SMALL) if given.small else cases()):
        rows.append(row)
        if not given.kept:
            yield Table(place.folder.name, rows, is_shown=False)
    yield Table(place.folder.name, rows)
    yield Table("tokens/s at equal loss", at_equal_loss(rows))
    if given.figure is not None:
        draw(rows, given.figure, place.folder.name)


if __name__ == "__main__":
    main(__doc__, tables, options)
