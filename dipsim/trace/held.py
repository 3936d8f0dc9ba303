"""Scores in memory, where a trace on disk would be written only to be read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class HeldScores:
    """The scores of one site, read as those of a file are.

    Attributes:
        layers: of each layer, float16 [token, column].
    """

    layers: Sequence[NDArray[np.float16]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Tokens, layers, columns."""
        n_tokens, n_columns = self.layers[0].shape
        return n_tokens, len(self.layers), n_columns

    def read(self, tokens: tuple[int, int], layers: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.float16]:
        """A copy of a region, [token, layer, column]; each bound is start and stop (exclusive)."""
        own = [scores[slice(*tokens), slice(*columns)] for scores in self.layers[slice(*layers)]]
        return np.stack(own, axis=1)
