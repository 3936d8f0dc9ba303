"""The layout that needs to know nothing: columns by their index, as a checkpoint stores them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dipsim.kernels import BoolArray, Int32Array
from dipsim.layouts.protocol import register_layout


@register_layout("column")
@dataclass(frozen=True)
class Column:
    """Columns by index, as a checkpoint stores them.

    Source: bundles as in LLM in a flash, arXiv 2312.11514.

    Args:
        bundled: the matrices of a group are interleaved; a column is one piece.
    """

    bundled: bool = True
    calibration_tokens: ClassVar[int] = 0

    def order(self, active: BoolArray) -> Int32Array:
        """By index."""
        return np.arange(active.shape[1], dtype=np.int32)
