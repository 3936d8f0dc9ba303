"""Lines that lie on each other are all seen: each has dashes in the gaps of the others, and marks around theirs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

_DASH = 4.0  # points
_NEAR = 1.2  # points between lines that look like one
_SHARE = 0.34  # of the shorter line that lies on the other
_RING = 2.0  # points by which a mark around another is larger


def take_turns(axes: Axes) -> None:
    """Gives lines that coincide, in part or as a whole, dashes in turn. Scales must be set."""
    lines = list(axes.get_lines())
    for own in coinciding(axes, lines):
        for turn, line in enumerate(own):
            gap = (len(own) - 1) * _DASH / line.get_linewidth()
            dash = _DASH / line.get_linewidth()
            line.set_linestyle((turn * dash, (dash, gap)))
            line.set_dash_capstyle("butt")
            line.set_markersize(line.get_markersize() + _RING * (len(own) - 1 - turn))


def coinciding(axes: Axes, lines: list[Line2D]) -> list[list[Line2D]]:
    """Groups of at least two lines, each of which lies on another of its group over a part of its length."""
    group = {line: [line] for line in lines}
    for one, other in combinations(lines, 2):
        if group[one] is not group[other] and _lie_together(axes, one, other):
            joined = [line for line in lines if line in group[one] or line in group[other]]
            group |= dict.fromkeys(joined, joined)
    return [own for line, own in group.items() if len(own) > 1 and own[0] is line]


def _lie_together(axes: Axes, one: Line2D, other: Line2D) -> bool:
    """Whether they are near each other, on the page, over a part of the places that they have in common."""
    first, second = _on_page(axes, one), _on_page(axes, other)
    low, high = max(first[0].min(), second[0].min()), min(first[0].max(), second[0].max())
    if high <= low:
        return False
    places = np.linspace(low, high, 101)
    gaps = np.abs(np.interp(places, *first) - np.interp(places, *second))
    return bool((gaps < _NEAR).mean() >= _SHARE)


def _on_page(axes: Axes, line: Line2D) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a line in points, from left to right."""
    at = line.get_transform().transform(np.asarray(line.get_xydata(), dtype=float))
    at = at[np.isfinite(at).all(axis=1)] * 72 / axes.figure.dpi
    ordered = at[np.argsort(at[:, 0], kind="stable")] if len(at) else np.zeros((1, 2))
    return ordered[:, 0], ordered[:, 1]
