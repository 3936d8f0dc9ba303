"""What does a run leave in the table: one row of plain values under dotted names."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd

from dipsim.description import Description
from dipsim.results import Headroom, Result
from dipsim.results.naming import flat

Row = dict[str, Any]
_PERCENTILES = np.linspace(0, 1, 101)
_FIRST = ("key", "error", "trace", *Description.model_fields)
_LAST = ("config", "trace_sha256", "dipsim_version")


def row_of(config: dict[str, Any], result: Result, more: dict[str, Any], headroom: Headroom | None) -> Row:
    """Inputs, then numbers.

    Args:
        config: everything needed to run it again.
        result: its outcome.
        more: further numbers, such as perplexity.
        headroom: its waterfall, where it was measured.
    """
    numbers = {key: value for key, value in result.to_dict().items() if key not in ("config", "dipsim_version")}
    row = inputs(config) | more | {name: value for name, value in flat(numbers).items() if value is not None}
    for group, rates in result.by_layer("hit_rate"):
        row[f"hit_rate_by_layer.{group}"] = [None if math.isnan(rate) else rate for rate in rates]
    row["token_s_percentiles"] = np.quantile(result.of_counted["token_s"], _PERCENTILES).tolist()
    if headroom is not None:
        row |= {f"headroom.{name}": values.tolist() for name, values in headroom.steps.items()}
    return row | {"config": json.dumps(config)}


def inputs(config: dict[str, Any]) -> Row:
    """Names and numbers of a configuration; the device's and the model's own names for what they are."""
    named = {key: config[key]["name"] for key in ("profile", "model")}
    plain = {key: value for key, value in config.items() if not isinstance(value, dict | list | tuple)}
    numbers = flat({key: value for key, value in config["profile"].items() if key != "schema"})
    own = {key: value for key, value in numbers.items() if _is_number(value) and ".units." not in key}
    return plain | named | {f"profile.{key}": value for key, value in own.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def frame_of(rows: list[Row]) -> pd.DataFrame:
    """The table, the same for the same rows however they came together: columns in one order, text where a column holds
    values of several kinds, columns of nothing left out."""
    names = sorted({name for row in rows for name in row}, key=_place)
    columns = {name: [row.get(name) for row in rows] for name in names}
    given = {name: values for name, values in columns.items() if name == "error" or any(v is not None for v in values)}
    return pd.DataFrame({name: _column(values) for name, values in given.items()})


def _place(name: str) -> tuple[int, int, str]:
    """Inputs in the order of `simulate`'s options, then the device's numbers, results, provenance."""
    if name in _FIRST:
        return 0, _FIRST.index(name), name
    if name.startswith("profile."):
        return 1, 0, name
    return (3, _LAST.index(name), name) if name in _LAST else (2, 0, name)


def _column(values: list[Any]) -> pd.Series[Any]:
    values = [list(value) if isinstance(value, tuple) else value for value in values]
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 and not kinds <= {int, float}:
        return pd.Series([None if value is None else _as_text(value) for value in values], dtype="object")
    if kinds and kinds <= {int, float} and (float in kinds or None in values):
        return pd.Series([np.nan if value is None else value for value in values], dtype="float64")
    return pd.Series(values, dtype="int64" if kinds == {int} else "object")


def _as_text(value: object) -> str:
    return f"{value:.15g}" if _is_number(value) else value if isinstance(value, str) else json.dumps(value)
