"""Scores in memory, where a trace on disk would be written only to be read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class HeldScores:
    """The scores of one site, read as those of a file are.

    Attributes:
        layers: of each layer, float16 [token, column].
    """

    layers: Sequence[NDArray[np.float16]]

    @classmethod
    def empty(cls, n_tokens: int, n_layers: int, n_columns: int) -> Self:
        """To be written."""
        return cls(list(np.zeros((n_layers, n_tokens, n_columns), np.float16)))

    def write(self, layer: int, start: int, scores: NDArray[np.floating[Any]]) -> None:
        """Scores [token, column] of one layer, for the tokens from `start` on."""
        self.layers[layer][start : start + len(scores)] = scores

    @property
    def shape(self) -> tuple[int, int, int]:
        """Tokens, layers, columns."""
        n_tokens, n_columns = self.layers[0].shape
        return n_tokens, len(self.layers), n_columns

    def read(self, tokens: tuple[int, int], layers: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.float16]:
        """A region, [token, layer, column], of one layer as it lies there; each bound is start and stop (exclusive)."""
        own = [scores[slice(*tokens), slice(*columns)] for scores in self.layers[slice(*layers)]]
        return own[0][:, None] if len(own) == 1 else np.stack(own, axis=1)
