"""How are a figure's axes scaled: logarithmic or not, common to all panels or each panel's own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes

from dipsim.errors import DipsimError, DipsimWarning
from dipsim.plots.look import most_ticks
from dipsim.plots.quantities import is_number, is_wide, set_scale
from dipsim.results.columns import meaning_of

_Name = Literal["x", "y"]
_FREE_FROM = 10  # the largest panel over the smallest, above which one axis would flatten the smallest
_LOGS = ("x", "y", "xy", "none")


@dataclass(frozen=True)
class Scales:
    """What was asked of the axes, and what the values of the panels ask for.

    Attributes:
        log: the axes that are logarithmic; None where their values decide.
        free: the axes that each panel has to itself.
    """

    log: frozenset[str] | None
    free: frozenset[str]

    @classmethod
    def of(
        cls, log: str | None, free_axes: bool | None, panels: Sequence[pd.DataFrame], columns: dict[str, str]
    ) -> Scales:
        """Checks what was asked, and says where panels are so different that their axes come apart.

        Args:
            log: `x`, `y`, `xy` or `none`; None where values decide.
            free_axes: whether panels have axes of their own; None where values decide.
            panels: the rows of each.
            columns: which column stands on `x`, which on `y`.

        Raises:
            DipsimError: no such axes, or values of 0 or less on one that is to be logarithmic.
        """
        if log is not None and log not in _LOGS:
            raise DipsimError(f"log: got '{log}'; must be one of {', '.join(_LOGS)}")
        asked = None if log is None else frozenset(log if log != "none" else "")
        for name, column in columns.items():
            if asked and name in asked and any((own[column] <= 0).any() for own in panels if is_number(own[column])):
                raise DipsimError(f"log: '{column}' has values of 0 or less; leave {name} out")
        if free_axes is not None:
            return cls(asked, frozenset(columns) if free_axes and len(panels) > 1 else frozenset())
        far = {name: ratio for name, column in columns.items() if (ratio := _ratio(column, panels)) >= _FREE_FROM}
        for name, ratio in far.items():
            said = meaning_of(columns[name]).label or columns[name]
            warnings.warn(
                f"panels differ {ratio:.0f} times in {said}: each has an axis of its own (--shared-axes, "
                "free_axes=False: one for all)",
                DipsimWarning,
                stacklevel=4,
            )
        return cls(asked, frozenset(far))

    def set(self, grid: Sequence[Axes], name: _Name, panels: Sequence[pd.Series[float]]) -> None:
        """Gives an axis of all panels its scale and ticks.

        Args:
            grid: the panels' axes.
            name: which axis.
            panels: the values of each.
        """
        most = most_ticks(grid) if name == "x" or len(grid) > 2 else 7
        every = pd.concat(panels)
        if self.log is not None:
            is_log = name in self.log
        else:  # of panels, as one or each by itself, all are alike
            is_log = every.min() > 0 and any(map(is_wide, panels if name in self.free else [every]))
        if name not in self.free:
            grid, panels = grid[:1], [every]
        for axes, values in zip(grid, panels, strict=True):
            set_scale(axes, name, values, most, is_log)

    def label(self, name: _Name, text: str) -> str:
        """An axis' name; it says where panels have axes of their own."""
        first, newline, rest = text.partition("\n")
        return f"{first}; axes differ{newline}{rest}" if name in self.free else text


def _ratio(column: str, panels: Sequence[pd.DataFrame]) -> float:
    """Largest value of the panel that goes farthest, over that of the one that goes least far; 1 for no size."""
    if len(panels) < 2 or not is_number(panels[0][column]):
        return 1
    largest = [float(own[column].max()) for own in panels if own[column].notna().any()]
    return max(largest) / min(largest) if largest and min(largest) > 0 else 1
