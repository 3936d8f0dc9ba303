"""Which figures are there, by the names that `dipsim plot` knows?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from dipsim.errors import DipsimError, choose
from dipsim.plots.breakdown import time_breakdown
from dipsim.plots.curves import curves
from dipsim.plots.devices import compared_devices
from dipsim.plots.latency import token_times
from dipsim.plots.layers import hit_rate_by_layer
from dipsim.plots.pareto import MOST_LOOKS, pareto
from dipsim.plots.regimes import regime_map
from dipsim.plots.runs import columns_of, first_varying, matching, succeeded, varying
from dipsim.plots.saving import Plot
from dipsim.plots.waterfall import headroom_waterfall, steps_of_run

_COMPARED = ("method", "policy", "profile", "layout", "prefetch", "budget", "overlap", "unit")
_CIRCUMSTANCES = ("profile", "model", "trace")  # no choice of those who run a model
_LINES: dict[str, tuple[str, ...]] = {"by": _COMPARED, "panels": _CIRCUMSTANCES}
_ROWS: dict[str, tuple[str, ...]] = {"panels": _CIRCUMSTANCES}
_PLACES = ("density", "dram.capacity_bytes", "profile.flash.read_bytes_per_s", "gamma", "policy", "method", "profile")


@dataclass(frozen=True)
class Kind:
    """A figure and what it shows unless told otherwise.

    Attributes:
        draw: makes it of results.
        says: what it shows, in one line.
        columns: for an option, the columns of which it takes the first that varies.
        joins: the option that takes all of them that vary, as long as their values can be told apart.
    """

    draw: Callable[..., Plot]
    says: str
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    joins: str | None = None

    @property
    def options(self) -> list[str]:
        """What it can be told, beside the results."""
        return [name for name in inspect.signature(self.draw).parameters if name not in ("frame", "devices")]

    @property
    def marks_devices(self) -> bool:
        """Whether it is given numbers of devices too."""
        return "devices" in inspect.signature(self.draw).parameters


def _headroom(frame: pd.DataFrame, title: str = "") -> Plot:
    return headroom_waterfall(steps_of_run(frame), title)


KINDS = {
    "pareto": Kind(
        pareto,
        "tokens/s against perplexity or MLP error, with the Pareto front",
        {"panels": _CIRCUMSTANCES, "by": _COMPARED},
        "by",
    ),
    "dram": Kind(curves, "tokens/s against DRAM", {"x": ("dram.capacity_bytes",)} | _LINES),
    "flash": Kind(curves, "tokens/s against Flash speed", {"x": ("profile.flash.read_bytes_per_s",)} | _LINES),
    "density": Kind(curves, "tokens/s against density", {"x": ("density",)} | _LINES),
    "hit-rate": Kind(
        curves,
        "hit rate against bytes of the weight cache (or --x slots), a line for each policy",
        {
            "x": ("dram.cache_bytes",),
            "y": ("hit_rate",),
            "by": ("policy", *_COMPARED),
            "panels": ("method", *_CIRCUMSTANCES),
        },
    ),
    "layers": Kind(hit_rate_by_layer, "hit rate by layer, as a heat map", {"x": _PLACES}),
    "headroom": Kind(_headroom, "what would make one run faster, step by step"),
    "breakdown": Kind(time_breakdown, "what the time of a token goes to, a bar for each run", _ROWS),
    "latency": Kind(token_times, "how the times of tokens are distributed, p50, p95 and p99 marked", _ROWS),
    "regimes": Kind(
        regime_map,
        "which policy or method has most tokens/s, or what bounds it (--by bound), over two numbers of the device",
        {
            "x": ("profile.flash.read_bytes_per_s", "profile.flash.latency_s"),
            "y": ("profile.dram.read_bytes_per_s", "dram.capacity_bytes", "profile.compute.ops_per_s"),
            "by": ("policy", "method", "bound"),
        },
    ),
    "devices": Kind(compared_devices, "Flash, DRAM and tokens/s of a model, a row for each device; needs no results"),
}


def draw(frame: pd.DataFrame, kind: str, where: str | None = None, **options: Any) -> Plot:
    """The figure that `dipsim plot` makes.

    Args:
        frame: results, one row per run.
        kind: a name of `KINDS`.
        where: which runs, as an expression of `dipsim.expressions`.
        options: of the kind's own (`x`, `y`, `by`, `panels`, `title` ...); those that are None count as not given.

    Raises:
        DipsimError: an unknown kind or option, no rows, or what the figure refuses.
    """
    chosen = KINDS[choose("kind", kind, list(KINDS))]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in chosen.options and not (name == "devices" and chosen.marks_devices):
            raise DipsimError(f"{name}: figure '{kind}' has no such option; it has {', '.join(chosen.options)}")
    rows = succeeded(frame if where is None else matching(frame, where))
    return chosen.draw(rows, **_defaults(rows, chosen, given) | given)


def _defaults(rows: pd.DataFrame, kind: Kind, given: dict[str, Any]) -> dict[str, str]:
    """For what was not given, the first column that varies and is not used yet; for an axis, else the first."""
    found: dict[str, str] = {}
    for option, columns in kind.columns.items():
        if option in given:
            continue
        used = {name for value in (given | found).values() if isinstance(value, str) for name in columns_of(value)}
        if option == kind.joins:
            joined = _all_varying(rows, [name for name in columns if name not in used])
            found |= {option: joined} if joined else {}
            continue
        column = first_varying(rows, [name for name in columns if name not in used])
        if option == "panels" and column is not None and varying(rows) == [column]:
            continue  # panels of a single thing each
        if column is None and option in _needed(kind):
            column = columns[0]
        if column is not None:
            found[option] = column
    return found


def _all_varying(rows: pd.DataFrame, names: Sequence[str]) -> str:
    """The columns that vary, as one, as long as there are few values."""
    found: list[str] = []
    for name in names:
        if first_varying(rows, [name]) and len(rows.groupby([*found, name], dropna=False)) <= MOST_LOOKS:
            found.append(name)
    return ",".join(found)


def _needed(kind: Kind) -> list[str]:
    parameters = inspect.signature(kind.draw).parameters.values()
    return [each.name for each in parameters if each.default is each.empty] + ["y"]
