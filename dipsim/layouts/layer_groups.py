"""The layout that puts the same column of some consecutive layers side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int32Array
from dipsim.layouts.protocol import register_layout


@register_layout("layer-groups")
@dataclass(frozen=True)
class LayerGroups:
    """The same column of some consecutive layers side by side, to be read ahead together.

    Source: ActiveFlow, arXiv 2504.08378, cross-layer preloading.

    What is read ahead is read for all of these layers: one read fetches their slices of a column, also those that are
    resident there or that nobody will use. A read on demand fetches the slice of one layer, and neighbours do not join.
    Groups that are dense lie as ever. Pays where layers use the same columns, as they do at the MLP's input of recorded
    traces; layers of synthetic ones have nothing in common.

    Args:
        n_layers: layers side by side.
        bundled: the matrices of a group are interleaved; a slice is one piece.
    """

    n_layers: int = 4
    bundled: bool = True
    calibration_tokens: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if not isinstance(self.n_layers, int) or self.n_layers < 1:
            raise DipsimError(f"n_layers: got {self.n_layers}; must be a whole number from 1")

    def order(self, active: BoolArray) -> Int32Array:
        """By index."""
        return np.arange(active.shape[1], dtype=np.int32)
