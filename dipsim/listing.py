"""What there is to choose from: names, and a table of what is said of each, in a terminal and in a notebook."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from dipsim.units import scaled, three_digits

if TYPE_CHECKING:
    import pandas as pd

# How numbers of a column are written, by the end of its name: their unit, and what of that end is said above them.
_UNITS = {
    "_bytes_per_s": ("B/s", ""),
    "_ops_per_s": ("op/s", ""),
    "_per_s": ("", "_per_s"),
    "_bytes_per_token": ("B", "_per_token"),
    "_j_per_token": ("J", "_per_token"),
    "_bytes": ("B", ""),
    "_s": ("s", ""),
}
_LEFT, _WHOLE = "text-align:left", "white-space:nowrap"
_SHORT = 40  # letters of what is not broken into lines, its HTML counted


class Listing(list[str]):
    """Names of one kind: a list, which prints and shows as a table.

    Args:
        kind: what one of them is.
        rows: for each name, what is said of it by column: text, or numbers in SI units with the unit in the column's
            name; None where a thing is not known.

    Attributes:
        rows: the same.
    """

    def __init__(self, kind: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(rows)
        self._kind = kind
        self.rows = dict(rows)

    @property
    def frame(self) -> pd.DataFrame:
        """The table as a frame, a row for each name, numbers in SI units."""
        import pandas as pd

        return pd.DataFrame.from_dict(self.rows, orient="index").rename_axis(index=self._kind)

    def __repr__(self) -> str:
        heads, rows = self._written()
        if not rows:
            return f"no {self._kind}"
        table = [heads, *rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)

    def _repr_html_(self) -> str:
        heads, rows = self._written()
        head = "".join(f'<th style="{_LEFT}">{escape(one)}</th>' for one in heads)
        body = "".join(
            f"<tr>{_td(f'<b>{escape(name)}</b>')}{''.join(map(_td, map(escape, rest)))}</tr>" for name, *rest in rows
        )
        return f"<table><tr>{head}</tr>{body}</table>"

    def _written(self) -> tuple[list[str], list[list[str]]]:
        """Heads and cells, as one reads them; a column with nothing in it is left out."""
        named = [(name, self.rows[name]) for name in self if name in self.rows]
        every = dict.fromkeys(column for _, row in named for column in row)
        columns = [column for column in every if any(row.get(column) not in (None, "") for _, row in named)]
        heads = [self._kind, *(_head(column) for column in columns)]
        return heads, [[name, *(_cell(column, row.get(column)) for column in columns)] for name, row in named]


def _td(cell: str) -> str:
    look = f"{_LEFT};{_WHOLE}" if len(cell) <= _SHORT else _LEFT
    return f'<td style="{look}">{cell}</td>'


def _end(column: str) -> str:
    """The end of the column's name that is its unit."""
    return next((end for end in _UNITS if column.endswith(end)), "")


def _head(column: str) -> str:
    end = _end(column)
    return f"{column.removesuffix(end)}{_UNITS[end][1] if end else ''}".replace("_", " ")


def _cell(column: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return "-"
    unit = _UNITS.get(_end(column), ("", ""))[0]
    return scaled(value, unit) if unit else three_digits(value) if isinstance(value, float) else str(value)
