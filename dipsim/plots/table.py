"""Results as a table for a paper: rows, columns and groups of one's choice, best in bold, spread where several runs
are one cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from dipsim.errors import DipsimError
from dipsim.plots.quantities import as_text
from dipsim.plots.runs import check_alone, first_varying, matching, need, need_swept, parts, succeeded
from dipsim.results.columns import meaning_of
from dipsim.units import prefix_of, three_digits

_ROWS = ("method", "policy", "density", "model", "profile", "dram")
# What has a meaning of its own in LaTeX's text.
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    sign: f"\\{sign}" for sign in "&%$#_{}"
}
_OF_CELLS = ["quantity", "value", "low", "high", "is_best", "place"]


@dataclass(frozen=True)
class ResultTable:
    """A table of results.

    Attributes:
        data: a row for each cell: the columns that make rows, columns and groups, `quantity`, and `value`, `low` and
            `high`, the median, least and greatest of the runs in it, in SI units; `is_best` of its column and group.
        by: columns of `data` whose values are rows.
        x: whose values are columns; None where quantities alone are.
        panels: whose values are groups of rows; None for one group.
    """

    data: pd.DataFrame
    by: tuple[str, ...]
    x: str | None
    panels: str | None

    def markdown(self) -> str:
        """For a page: a pipe table."""
        rows = [[*self._names(), *self._headings()], ["---"] * len(self.by) + ["---:"] * len(self._headings())]
        for group, body in self._groups():
            rows += [[f"**{_in_markdown(group)}**"] + [""] * (len(rows[0]) - 1)] if group else []
            rows += [[*map(_in_markdown, names), *self._cells(own, "**{}**")] for names, own in body]
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def latex(self) -> str:
        """For a paper: a `tabular` with the rules of booktabs."""
        columns = [*self._names(), *self._headings()]
        lines = [rf"\begin{{tabular}}{{{'l' * len(self.by)}{'r' * len(self._headings())}}}", r"\toprule"]
        lines.append(" & ".join(map(_in_latex, columns)) + r" \\")
        for group, body in self._groups():
            lines.append(r"\midrule")
            lines += [rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{_in_latex(group)}}}}} \\"] if group else []
            for names, own in body:
                cells = self._cells(own, r"\textbf{{{}}}")
                lines.append(" & ".join([*map(_in_latex, names), *cells]) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])

    def csv(self) -> str:
        """For other programs: a line for each cell, in SI units."""
        return self.data.to_csv(index=False, lineterminator="\n")

    def text(self) -> tuple[list[str], list[list[str]]]:
        """For a terminal: headings and rows; an asterisk stands behind what is best."""
        names = ([self.panels] if self.panels else []) + self._names()
        rows = [
            [*([group] if self.panels else []), *of_row, *self._cells(own, "{}*")]
            for group, body in self._groups()
            for of_row, own in body
        ]
        return [*names, *self._headings()], rows

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _names(self) -> list[str]:
        return [name.rpartition(".")[2] for name in self.by]

    @cached_property
    def _columns(self) -> pd.DataFrame:
        """Quantity and x of each column, in their order."""
        columns = self.data[["quantity", *([self.x] if self.x else [])]].drop_duplicates()
        if self.x is None or not pd.api.types.is_numeric_dtype(columns[self.x]):
            return columns
        order = {quantity: place for place, quantity in enumerate(columns["quantity"].unique())}
        return columns.sort_values(
            ["quantity", self.x], key=lambda own: own.map(order) if own.name == "quantity" else own
        )

    def _headings(self) -> list[str]:
        """Quantity and its unit, or the value of x where there is one quantity alone."""
        columns, units = self._columns, self._units
        told = [_heading(quantity, units[quantity][1]) for quantity in columns["quantity"]]
        if self.x is None:
            return told
        values = [as_text(self.x, value) for value in columns[self.x]]
        alone = len({*columns["quantity"]}) == 1
        first = f"{told[0]}, {values[0]}" if alone else ""
        return [first, *values[1:]] if alone else [f"{name}, {of}" for name, of in zip(told, values, strict=True)]

    @cached_property
    def _units(self) -> dict[str, tuple[float, str]]:
        """Factor and unit of each quantity, that of its largest value."""
        found = {}
        for quantity, own in self.data.groupby("quantity", sort=False):
            meaning = meaning_of(str(quantity))
            factor, prefix = prefix_of(float(own["high"].max())) if meaning.is_prefixed else (1.0, "")
            found[str(quantity)] = factor, f"{prefix}{meaning.unit}"
        return found

    def _groups(self) -> list[tuple[str, list[tuple[list[str], list[Any]]]]]:
        """Name of each group, and the names and cells of its rows."""
        by, cells = [*self.by], [*self._placed[_OF_CELLS].itertuples(index=False)]
        return [
            (
                group,
                [
                    ([as_text(name, one) for name, one in zip(by, values, strict=True)], [cells[i] for i in own.index])
                    for values, own in of_group.groupby(by, sort=False, dropna=False)
                ],
            )
            for group, of_group in parts(self._placed, self.panels)
        ]

    @cached_property
    def _placed(self) -> pd.DataFrame:
        """The cells, and the place of each among the columns."""
        columns = self._columns.assign(place=range(len(self._columns)))
        return self.data.merge(columns, on=[*self._columns], how="left")

    def _cells(self, own: Iterable[Any], best: str) -> list[str]:
        """The cells of a row; empty where no run is."""
        shown = [""] * len(self._columns)
        for cell in own:
            if np.isnan(cell.value):
                continue
            factor = self._units[str(cell.quantity)][0]
            text = three_digits(cell.value / factor)
            text = best.format(text) if cell.is_best else text
            ends = f" ({three_digits(cell.low / factor)} to {three_digits(cell.high / factor)})"
            shown[cell.place] = text + (ends if cell.low < cell.high else "")
        return shown


def table(
    frame: pd.DataFrame,
    y: Sequence[str] = ("tok_per_s",),
    by: Sequence[str] = (),
    x: str | None = None,
    panels: str | None = None,
    over: str | None = None,
    where: str | None = None,
) -> ResultTable:
    """Results as a table, the best of each column and group in bold.

    Args:
        frame: a row for each run, as `read_results` and `sweep` give.
        y: quantities: columns of results with numbers.
        by: parameters whose values are rows; by default the first that varies.
        x: the parameter whose values are columns.
        panels: the parameter whose values are groups of rows.
        over: the parameter over which runs are one cell: their median, with the least and the greatest behind it.
        where: which runs, in the language of `dipsim.expressions`.

    Raises:
        DipsimError: no such column, no numbers in it, or runs of one cell that differ in what is not asked.
    """
    rows = succeeded(frame if where is None else matching(frame, where))
    first = first_varying(rows, [name for name in _ROWS if name not in (x, panels, over)])
    chosen = tuple(by) or ((first,) if first else ())
    if not chosen:
        raise DipsimError("by: nothing varies that could be rows; give a column to --by")
    for option, name in (*(("by", name) for name in chosen), ("x", x), ("panels", panels), ("over", over)):
        if name is not None:
            (need if option == "by" else need_swept)(rows, option, name)
    for quantity in y:
        need(rows, "y", quantity)
        if not pd.api.types.is_numeric_dtype(rows[quantity]):
            raise DipsimError(f"y: column '{quantity}' has no numbers, got {rows[quantity].iloc[0]!r}")
    places = [name for name in (panels, *chosen, x) if name is not None]
    if len(set(places)) < len(places) or over in places:
        raise DipsimError(f"by: got {', '.join(places)}{f' over {over}' if over else ''}; each column has one place")
    check_alone(rows, [], [*places, *([over] if over else [])])
    data = pd.concat([_cells_of(rows, quantity, places) for quantity in y], ignore_index=True)
    group = ["quantity", *(name for name in (panels, x) if name is not None)]
    data["is_best"] = data.groupby(group, sort=False, dropna=False)["value"].transform(_is_best(data)).astype(bool)
    return ResultTable(data, chosen, x, panels)


def _cells_of(rows: pd.DataFrame, quantity: str, places: list[str]) -> pd.DataFrame:
    """A row for each cell of one quantity, in the order of the results."""
    cells = rows.groupby(places, sort=False, dropna=False)[quantity].agg(["median", "min", "max"]).reset_index()
    cells.insert(len(places), "quantity", quantity)
    return cells.rename(columns={"median": "value", "min": "low", "max": "high"})


def _is_best(data: pd.DataFrame) -> Callable[[pd.Series[float]], pd.Series[bool]]:
    """Of the values of one column and group: which are the best; none where more is not better, nor less."""

    def of(values: pd.Series[float]) -> pd.Series[bool]:
        better = meaning_of(str(data.loc[values.index[0], "quantity"])).better
        if not better or len(values) < 2:
            return pd.Series(False, values.index)
        return values == (values.max() if better == "higher" else values.min())

    return of


def _heading(quantity: str, unit: str) -> str:
    label = meaning_of(quantity).label or quantity
    return f"{label} ({unit})" if unit else label


def _in_markdown(text: str) -> str:
    return re.sub(r"([\\|*_`<])", r"\\\1", text)


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
