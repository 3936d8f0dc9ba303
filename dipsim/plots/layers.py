"""Which layers hit?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from dipsim.errors import DipsimError
from dipsim.plots.labels import letters_across
from dipsim.plots.look import figure_with, looks, name_axes, title_of
from dipsim.plots.quantities import as_text, is_number, on_axis
from dipsim.plots.runs import check_alone, columns_below, drawn, need_swept, succeeded
from dipsim.plots.saving import Plot
from dipsim.results.columns import meaning_of
from dipsim.units import three_digits

_RATES = "hit_rate_by_layer."
_MOST_TICKS = 8
_BESIDE_BAR = 0.8  # of the width that panels have without the bar of colours


def hit_rate_by_layer(frame: pd.DataFrame, x: str, panels: str | None = None, title: str = "") -> Plot:
    """Hit rate of each layer, light where it is high, against what was swept; a panel for each group of weights.

    Args:
        frame: results, one row per run.
        x: the column below.
        panels: a column whose values are panels too.
        title: what all runs have in common.

    Raises:
        DipsimError: a column is not there or was not swept, or runs differ in more than these.
    """
    rows = succeeded(frame)
    if not (groups := columns_below(rows, _RATES)):
        raise DipsimError(f"plot: the results have no columns {_RATES}*")
    for option, column in (("x", x), ("panels", panels)):
        if column is not None:
            need_swept(rows, option, column)
    check_alone(rows, [x], [panels] if panels is not None else [])
    with looks():
        return _draw(_by_layer(rows, groups, x, panels), x, title)


def _by_layer(rows: pd.DataFrame, groups: list[str], x: str, panels: str | None) -> pd.DataFrame:
    """A row for each run, group and layer; `panel` names the panel."""
    kept = [name for name in dict.fromkeys((panels, x, "key")) if name is not None and name in rows]
    found = []
    for group in groups:
        own = rows[rows[group].notna()]
        name = group.removeprefix(_RATES)
        tidy = own[kept].assign(group=name, hit_rate=own[group], layer=own[group].map(lambda rates: range(len(rates))))
        tidy["panel"] = [name if panels is None else f"{as_text(panels, value)}, {name}" for value in own[panels or x]]
        found.append(tidy.explode(["hit_rate", "layer"]))
    # The groups of one value stand beside each other.
    every = pd.concat(found).sort_index(kind="stable").reset_index(drop=True)
    return every.astype({"hit_rate": float, "layer": int})


def _draw(tidy: pd.DataFrame, x: str, title: str) -> Plot:
    known = tidy[x].drop_duplicates()
    places = list(known.dropna().sort_values() if is_number(tidy[x]) else known.dropna())
    is_missing = bool(known.isna().any())  # a method that has no such parameter stands behind the others
    shown = [(str(name), own) for name, own in tidy.groupby("panel", sort=False)]
    figure, grid = figure_with([name for name, _ in shown] if len(shown) > 1 else [""])
    low, high = float(tidy["hit_rate"].min()), float(tidy["hit_rate"].max())
    for axes, (_, own) in zip(grid, shown, strict=True):
        cells = np.full((int(tidy["layer"].max()) + 1, len(places) + is_missing), np.nan)
        at = [len(places) if pd.isna(value) else places.index(value) for value in own[x]]
        cells[own["layer"], at] = own["hit_rate"]
        image = axes.imshow(cells, aspect="auto", origin="lower", vmin=low, vmax=high, interpolation="nearest")
        axes.grid(visible=False)
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    label, scaled = on_axis(x, pd.Series(places))
    say = three_digits if meaning_of(x).is_prefixed else "{:g}".format
    texts = [say(value) for value in scaled] if is_number(scaled) else [*map(str, places)]
    texts += [as_text(x, None)] if is_missing else []
    ticks = range(0, len(texts), -(-len(texts) // _MOST_TICKS))
    is_long = len(texts) * (max(map(len, texts)) + 1) > _BESIDE_BAR * letters_across(grid[0])
    for axes in grid:
        axes.set_xticks(list(ticks), [texts[tick] for tick in ticks])
        axes.tick_params(axis="x", rotation=90 if is_long else 0)
    name_axes(figure, grid, label, "layer")
    title_of(figure, grid, title)
    figure.colorbar(image, ax=grid, label=meaning_of("hit_rate").axis)
    return Plot(figure, drawn(tidy, [*tidy.columns]))
