"""Where do names stand: beside lines and points where there is room, else below the figure; never on each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dipsim.plots.look import small, title_of

_LETTER = 0.58  # width of a letter, in its height
_LINE = 1.25  # from line to line of text
_GAP = 7  # points from an axes to names beside it
_HANDLE = 7  # letters that the line or mark before a name is wide, with the gap between columns


class End(NamedTuple):
    """Where a line ends, in data, and its name."""

    name: str
    x: float
    y: float
    colour: str


def fit_beside(names: Sequence[str], n_panels: int) -> bool:
    """Whether names can stand at the right edge: one panel, few of them, and short."""
    return n_panels == 1 and len(names) <= 10 and max(map(len, names)) <= 24


def name_beside(figure: Figure, axes: Axes, ends: Sequence[End]) -> None:
    """Names at the right edge in the order of their lines' ends, far enough apart to be read. Scales must be set."""
    to_axes = axes.transData + axes.transAxes.inverted()
    ordered = sorted(ends, key=lambda end: -end.y)
    step = _LINE * small() / 72 / (0.75 * figure.get_figheight())
    edge = 1 + _GAP / (0.75 * figure.get_figwidth() * 72)
    own = [float(to_axes.transform((end.x, end.y))[1]) for end in ordered]
    for end, place in zip(ordered, apart(own, step), strict=True):
        axes.annotate(
            end.name,
            (end.x, end.y),
            xytext=(edge, place),
            textcoords="axes fraction",
            color=end.colour,
            fontsize=small(),
            va="center",
            arrowprops={"arrowstyle": "-", "color": end.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2},
        )


def apart(places: Sequence[float], step: float) -> list[float]:
    """Places at least a step apart, near to those given, which fall; none below 0 as long as there is room."""
    found: list[float] = []
    for place in places:
        found.append(min(place, found[-1] - step) if found else min(place, 1.0))
    lowest = 0.0
    for index in range(len(found) - 1, -1, -1):
        found[index] = max(found[index], lowest)
        lowest = found[index] + step
    return found


def letters_across(axes: Axes) -> float:
    """About how many small letters fit side by side below an axes."""
    n_columns = spec.get_gridspec().ncols if (spec := axes.get_subplotspec()) is not None else 1
    return 0.8 * axes.figure.bbox.width / axes.figure.dpi * 72 / n_columns / (_LETTER * small())


def with_span(name: str, rows: pd.DataFrame, column: str | None) -> str:
    """`dip (0.70-0.75)`, or one number where all are alike."""
    if column is None or rows[column].isna().all():
        return name
    low, high = f"{rows[column].min():.2f}", f"{rows[column].max():.2f}"
    return f"{name} ({low})" if low == high else f"{name} ({low}\u2013{high})"


def add_legend(figure: Figure, panels: list[Axes], handles: Sequence[Any], names: Sequence[str], title: str) -> None:
    """Names in as many columns as fit: below one panel, above several, whose common axis has its name below. What is
    more than two rows of names makes the figure higher."""
    if not names:
        title_of(figure, panels, title)
        return
    letters = figure.get_figwidth() * 72 / (_LETTER * small())
    n_columns = next((n for n in range(len(names), 1, -1) if _letters_of(names, n) <= letters), 1)
    n_rows = -(-len(names) // n_columns)
    n_columns = -(-len(names) // n_rows)  # as full as each other
    more_rows = max(0, n_rows - 2)
    figure.set_figheight(figure.get_figheight() + more_rows * 1.6 * small() / 72)
    size = rcParams["legend.fontsize"]
    if len(panels) == 1:
        panels[0].set_title(title)
        figure.legend(handles, names, loc="outside lower center", ncols=n_columns, fontsize=size)
    else:
        above = {"title": title or None, "title_fontsize": rcParams["axes.titlesize"]}
        figure.legend(handles, names, loc="outside upper center", ncols=n_columns, fontsize=size, **above)


def _letters_of(names: Sequence[str], n_columns: int) -> int:
    """How many letters wide a legend is that has so many columns: each with its handle, filled from the top."""
    n_long = len(names) % n_columns or n_columns  # columns with one row more
    n_rows = -(-len(names) // n_columns)
    starts = [column * n_rows - max(0, column - n_long) for column in range(n_columns + 1)]
    columns = [names[start:end] for start, end in pairwise(starts)]
    return sum(max(map(len, column)) + _HANDLE for column in columns)


def name_points(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Names beside points, each on the side where it meets the fewest others. Limits must be set."""
    figure.draw_without_rendering()  # lays out the axes, so that points have a place on the page
    per_point = figure.dpi / 72
    frame = [side / per_point for side in axes.get_window_extent().extents]
    places = [axes.transData.transform(at) / per_point for _, *at in points]
    taken: list[tuple[float, ...]] = [(x - 3, y - 3, x + 3, y + 3) for x, y in places]
    for (name, *at), (x, y) in zip(points, places, strict=True):
        width, height = _LETTER * small() * len(name), _LINE * small()
        # Beside the point, then above and below it, then farther away.
        middles = [(side * (width / 2 + 5), dy) for dy in (0, 6, -6, 12, -12, 18, -18, 27, -27) for side in (1, -1)]
        middles += [
            (side * 0.5 * width, sign * dy) for dy in range(9, 100, 9) for side in (0, 1, -1) for sign in (1, -1)
        ]
        boxes = [
            (x + dx - width / 2, y + dy - height / 2, x + dx + width / 2, y + dy + height / 2) for dx, dy in middles
        ]
        best = min(boxes, key=lambda box: (_cost(box, taken, frame), boxes.index(box)))
        taken.append(best)
        axes.annotate(
            name,
            (at[0], at[1]),
            xytext=((best[0] + best[2]) / 2 - x, (best[1] + best[3]) / 2 - y),
            textcoords="offset points",
            fontsize=small(),
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.8, "linewidth": 0},
            arrowprops={"arrowstyle": "-", "linewidth": 0.4},
        )


def _cost(box: tuple[float, ...], taken: Sequence[tuple[float, ...]], frame: Sequence[float]) -> float:
    """Square points of a box that lie on others, or outside of the axes (which is worse)."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return sum(_shared(box, other) for other in taken) + 10 * (area - _shared(box, frame))


def _shared(one: Sequence[float], other: Sequence[float]) -> float:
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    return max(width, 0.0) * max(height, 0.0)
