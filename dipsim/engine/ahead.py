"""Which columns are read before they are needed: a prefetcher's guesses, cut to its bytes."""

from __future__ import annotations

import math

import numpy as np

from dipsim import kernels
from dipsim.cache import Usage
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.model.groups import Group
from dipsim.planning.setup import Setup
from dipsim.prefetchers import Known, guess_columns
from dipsim.trace.reading import Block


class ReadAhead:
    """The columns that one (layer, group) has read ahead, block after block.

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
        self._n_most = min(n_columns, math.floor(setup.prefetch_bytes * share / column_bytes)) if n_columns else 0
        self._last: Uint16Array = np.zeros(group.n_columns, np.uint16)

    @property
    def looks_at_layer_before(self) -> bool:
        """Whether it wants to be given that layer's scores."""
        return self._n_most > 0 and self._layer > 0 and self._setup.prefetcher.looks_at_layer_before

    def columns(
        self, block: Block, scores: Uint16Array | None, layer_before: Uint16Array | None, usage: Usage
    ) -> BoolArray:
        """bool [token, column]: what is read ahead for each token, and resident before it in no case.

        Args:
            block: the tokens.
            scores: their own, [token, column]; None where the group is dense.
            layer_before: those of the layer before, where they are looked at.
            usage: what they use, and what was resident.
        """
        ahead: BoolArray = np.zeros(usage.active.shape, np.bool_)
        if self._n_most == 0 or usage.held is None:
            return ahead
        guess = np.where(usage.held, np.uint16(0), self._guess(block, scores, layer_before, usage))
        for t in range(len(ahead)):
            kernels.top_k(guess[t], self._n_most, ahead[t])
        return ahead & (guess > 0)

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
