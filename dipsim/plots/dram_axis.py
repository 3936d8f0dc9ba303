"""DRAM as numbers on an axis: `0.5x` is a share, `4GB` are bytes."""

from __future__ import annotations

import pandas as pd

from dipsim.errors import DipsimError
from dipsim.units import parse_dram

_SHARES = {"model": "DRAM (share of the model)", "mlp": "DRAM (share of the MLP)"}
BYTES = "dram.capacity_bytes"


def with_dram(frame: pd.DataFrame, column: str) -> tuple[pd.DataFrame, str]:
    """The rows, and the column to draw: of `dram` numbers, where its values are all shares or all bytes."""
    if column != "dram" or column not in frame:
        return frame, column
    try:
        said = {value: parse_dram(value) for value in frame[column].dropna().unique()}
    except DipsimError:
        return frame, column
    kinds = {kind for _, kind in said.values()}
    if len(kinds) != 1 or frame[column].isna().any():
        return frame, column
    (kind,) = kinds
    if kind == "bytes":
        return (frame.drop(columns=column), BYTES) if BYTES in frame else (frame, column)
    numbers = frame[column].map({value: number for value, (number, _) in said.items()}).astype(float)
    return frame.assign(**{_SHARES[kind]: numbers}).drop(columns=column), _SHARES[kind]
