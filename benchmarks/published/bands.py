"""What does a band say: whether it explains a published number, how many it explains, and how that looks."""

from __future__ import annotations

from typing import NamedTuple, Self

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.command import Row
from dipsim import plots

# A band explains what lies in it, if it is narrower than this.
WIDEST = 3.0
TITLES = {"dense": "dense", "sparse": "sparse", "mixture": "mixtures on a phone"}
INPUTS = ("no hit rate", "hit rate of synthetic scores", "published hit rate")
NEAR = "within 1.5 x", 1 / 1.5, 1.5


class Band(NamedTuple):
    """The least and the most that a result can be, and what it is at the target's own set-up.

    Attributes:
        hit_rate: of the own set-up.
    """

    low: float
    own: float
    high: float
    hit_rate: float

    @classmethod
    def empty_columns(cls, prefix: str) -> Row:
        """Those of no band."""
        return dict.fromkeys(cls(1, 1, 1, 1).columns(prefix, 1), "")

    def columns(self, prefix: str, published: float) -> Row:
        """As cells of a table."""
        return {
            f"{prefix}low": self.low,
            f"{prefix}own": self.own,
            f"{prefix}high": self.high,
            f"{prefix}ratio": self.own / published,
            f"{prefix}width": self.high / self.low,
            f"{prefix}hit rate": self.hit_rate,
            f"{prefix}explained": self.explains(published),
        }

    def explains(self, published: float) -> bool:
        """Whether the number lies in the band, and the band is narrow enough to mean something."""
        return self.low <= published <= self.high and self.high < WIDEST * self.low

    @classmethod
    def of(cls, row: Row, prefix: str) -> Self:
        """Back from the cells."""
        return cls(*(float(row[f"{prefix}{name}"]) for name in ("low", "own", "high", "hit rate")))


def best(row: Row) -> str:
    """The prefix of the band with the most that was published."""
    return "given " if row["given low"] != "" else ""


def count_rows(rows: list[Row]) -> list[Row]:
    """Of how many targets is the published number explained, and how many are near, with what as given."""
    dense, skips = [row for row in rows if row["kind"] == "dense"], [row for row in rows if row["kind"] != "dense"]
    free = [row for row in skips if not row["chosen on it"]]
    given = [(row, best(row)) for row in skips]
    return [
        _count("dense", "within 20 %", 0.8, 1.2, [(row, "") for row in dense]),
        _count("sparse, from synthetic scores alone", *NEAR, [(row, "") for row in skips]),
        _count("sparse, published hit rates given", *NEAR, given),
        _count("those that have one", *NEAR, [(row, prefix) for row, prefix in given if prefix]),
        _count("given, no constant chosen on it", *NEAR, [(row, best(row)) for row in free]),
        _count("of these, mixtures", *NEAR, [(row, best(row)) for row in free if row["kind"] == "mixture"]),
    ]


def _count(name: str, near: str, least: float, most: float, chosen: list[tuple[Row, str]]) -> Row:
    """Near is what the target's own set-up gives, explained what lies in a band."""
    is_near = [least <= row[f"{prefix}ratio"] <= most for row, prefix in chosen]
    explained = [bool(row[f"{prefix}explained"]) for row, prefix in chosen]
    found = zip(chosen, is_near, explained, strict=True)
    neither = [row["target"] for (row, _), *is_one in found if not any(is_one)]
    counted: Row = {"targets": name, "of": len(chosen), "near": near, "are near": sum(is_near)}
    return counted | {"explained by a band": sum(explained), "neither": ", ".join(neither)}


def draw(rows: list[Row]) -> plots.Plot:
    """Published against simulated with the bands, tokens per second; milliseconds of Flash as their inverse."""
    frame = pd.DataFrame([_drawn(row, prefix) for row in rows for prefix in sorted({"", best(row)})])
    with plots.looks():
        width = 2 * plots.COLUMN_WIDTH_INCHES
        figure = Figure(figsize=(width, 0.46 * width), layout="constrained")
        for axes, (kind, title) in zip(figure.subplots(1, 3), TITLES.items(), strict=True):
            _panel(axes, frame[frame["kind"] == kind], title)
        told = [axes.get_legend_handles_labels() for axes in figure.axes]
        handles = {name: handle for both in told for handle, name in zip(*both, strict=True)}
        figure.legend(handles.values(), handles, loc="outside upper center", ncols=3, fontsize=7)
        figure.supxlabel("published (tokens/s)", fontsize=8)
        figure.supylabel("simulated (tokens/s)", fontsize=8)
    return plots.Plot(figure, frame)


def _drawn(row: Row, prefix: str) -> Row:
    """In tokens per second, or as many times dense."""
    band, published = Band.of(row, prefix), float(row["published"])
    if row["unit"] == "ms of Flash per token":
        band = Band(1e3 / band.high, 1e3 / band.own, 1e3 / band.low, band.hit_rate)
        published = 1e3 / published
    shown: Row = {"target": row["target"], "kind": row["kind"], "published": published}
    inputs = INPUTS[2 if prefix else 0 if row["kind"] == "dense" else 1]
    return shown | {"inputs": inputs, "low": band.low, "simulated": band.own, "high": band.high}


def _panel(axes: Axes, frame: pd.DataFrame, title: str) -> None:
    for index, inputs in enumerate(INPUTS):
        own = frame[frame["inputs"] == inputs]
        if own.empty:
            continue
        colour, marker, *_ = plots.look(index)
        reach = [own["simulated"] - own["low"], own["high"] - own["simulated"]]
        x = own["published"] * (1 + 0.03 * (index - 1))  # beside each other, not one over the other
        axes.errorbar(x, own["simulated"], reach, color=colour, fmt=marker, markersize=3, linewidth=1, label=inputs)
    axes.set(xscale="log", yscale="log", title=title)
    if len(frame):
        edges = frame[["published", "low", "high"]].to_numpy()
        ends = [0.7 * edges.min(), 1.4 * edges.max()]
        axes.plot(ends, ends, color="black", linewidth=0.6)
        axes.set(xlim=ends, ylim=ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 3)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=7)
    axes.set_aspect("equal")
