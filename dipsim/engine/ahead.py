"""Which columns are read before they are needed: a prefetcher's guesses for layers that are read together, cut to its
bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dipsim import kernels
from dipsim.cache import Usage
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.model.groups import Group
from dipsim.planning.setup import Setup
from dipsim.prefetchers import Known, guess_columns
from dipsim.trace.reading import Block


class Guesses:
    """What a prefetcher thinks of the columns of one (layer, group), block after block.

    Args:
        setup: the run.
        layer, group: the place.
    """

    def __init__(self, setup: Setup, layer: int, group: Group) -> None:
        self._setup = setup
        self._layer = layer
        self._group = group
        n_columns, column_bytes = group.columns_in(layer), group.bytes_in(layer)
        share = group.n_matrices / sum(other.n_matrices for other in setup.groups if other.columns_in(layer))
        self.n_most = min(n_columns, math.floor(setup.prefetch_bytes * share / column_bytes)) if n_columns else 0
        self._last: Uint16Array = np.zeros(group.n_columns, np.uint16)

    @property
    def layer_before(self) -> int | None:
        """The layer whose scores are known when reads begin, if it wants to be given these."""
        n_together = self._setup.prefetch_layers
        first = self._layer - self._layer % n_together - n_together
        looks = self.n_most > 0 and first >= 0 and self._setup.prefetcher.looks_at_layer_before
        return first if looks else None

    def scores(
        self, block: Block, scores: Uint16Array | None, layer_before: Uint16Array | None, usage: Usage
    ) -> Uint16Array:
        """Of every column, [token, column]: 0 for those that are resident or not worth reading.

        Args:
            block: the tokens.
            scores: their own, [token, column]; None where the group is dense.
            layer_before: those of `layer_before`, where it is looked at.
            usage: what they use, and what was resident.
        """
        if self.n_most == 0 or usage.held is None:
            return np.zeros(usage.active.shape, np.uint16)
        return np.where(usage.held, np.uint16(0), self._guess(block, scores, layer_before, usage))

    def _guess(
        self, block: Block, scores: Uint16Array | None, layer_before: Uint16Array | None, usage: Usage
    ) -> Uint16Array:
        if scores is None:
            return np.ones(usage.active.shape, np.uint16)  # of a dense group every column is needed
        if block.start == self._setup.trace.sequences[block.sequence].start:
            self._last[:] = 0
        previous_token = np.concatenate([self._last[None], scores[:-1]])
        self._last = scores[-1].copy()
        before = np.zeros_like(scores) if layer_before is None else layer_before
        known = Known(self._group, previous_token, before, usage.missed)
        return guess_columns(self._setup.prefetcher, known)


def columns_ahead(guesses: Sequence[Uint16Array], n_most: int) -> BoolArray:
    """What is read ahead for each token, in all of the layers that are read together: bool [token, column].

    Args:
        guesses: of each layer, as `Guesses.scores` gives them; the best columns are those of the highest sums.
        n_most: columns for one token.
    """
    guess = guesses[0] if len(guesses) == 1 else _mean(guesses)
    ahead: BoolArray = np.zeros(guess.shape, np.bool_)
    if n_most:
        for t in range(len(ahead)):
            kernels.top_k(guess[t], n_most, ahead[t])
    return ahead & (guess > 0)


def _mean(guesses: Sequence[Uint16Array]) -> Uint16Array:
    """Above 0 where any of them is."""
    total = np.zeros(guesses[0].shape, np.float32)
    for guess in guesses:
        total += guess.view(np.float16)
    mean: Uint16Array = (total / np.float32(len(guesses))).astype(np.float16).view(np.uint16)
    return np.where(total > 0, np.maximum(mean, np.uint16(1)), np.uint16(0))
