"""Which active columns hit, where the hit rate is given rather than made by a cache."""

from __future__ import annotations

import math

import numpy as np

from dipsim.cache.replay import Replay, Tokens, Usage, usage_of
from dipsim.kernels import BoolArray, Int64Array, Uint64Array
from dipsim.methods import Method, choose
from dipsim.model.groups import Group


class GivenHits(Replay):
    """Masks as usual; of each token's active columns a fixed share hits, drawn anew for each token.

    Shares that are no whole number of columns are rounded so that the sum over the tokens of a sequence is never more
    than half a column away. A column that is not active is resident with the same probability.

    Args:
        layer: of the model, which makes draws differ; of layers side by side the first, so that they miss alike.
        masking: the method as it is in that layer.
        group: the group.
        hit_rate: in [0, 1].
    """

    def __init__(self, layer: int, masking: Method, group: Group, hit_rate: float) -> None:
        self._layer = layer
        self._masking = masking
        self._group = group
        self._missed_share = 1 - hit_rate
        self._n_active = 0

    def start(self) -> None:
        """Nothing was used."""
        self._n_active = 0

    def run(self, tokens: Tokens) -> Usage:
        """See `Replay`."""
        n_tokens, first_token, scores, _, active, _ = tokens
        if active is None and scores is not None:
            active = choose(self._masking, self._group, scores, first_token)
        if active is None:
            active = np.ones((n_tokens, self._group.n_columns), np.bool_)
        draws = drawn(self._layer, np.arange(first_token, first_token + n_tokens), self._group.n_columns)
        missed: BoolArray = draws < np.uint64(min(self._missed_share * 2.0**64, 2.0**64 - 2048))
        for t, own in enumerate(active):
            missed[t, own] = False
            columns = np.flatnonzero(own)
            before, self._n_active = self._n_active, self._n_active + columns.size
            n_missed = self._rounded(self._n_active) - self._rounded(before)
            missed[t, columns[np.argsort(draws[t, columns], kind="stable")[:n_missed]]] = True
        return usage_of(active, active & missed, scores, ~missed if tokens.tells_held else None)

    def _rounded(self, n_active: int) -> int:
        return math.floor(n_active * self._missed_share + 0.5)


def drawn(layer: int, tokens: Int64Array, n_columns: int) -> Uint64Array:
    """A number for each (token, column), uint64 [token, column], the same on every machine and in any order of tokens:
    the outputs of SplitMix64 (Steele, Lea, Flood 2014) at states that are these places, counted."""
    places: Int64Array = (layer << 44) + 1 + (tokens[:, None] << 20) + np.arange(n_columns)
    state: Uint64Array = places.astype(np.uint64)
    state *= np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Uint64Array = state ^ (state >> np.uint64(31))
    return mixed
