"""Any method and any policy, one token after another."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dipsim import kernels
from dipsim.cache.replay import Replay, Tokens, Usage, usage_of
from dipsim.cache.weight_cache import WeightCache
from dipsim.kernels import BoolArray, Int64Array, Uint16Array
from dipsim.methods import Method, TopK, check_mask, select
from dipsim.model.groups import Group
from dipsim.registry import blaming


class PlainReplay(Replay):
    """One cache that asks its method and its policy about every token.

    Args:
        cache: whose policy is asked.
        masking: the method as it is in the layer.
        group: the group.
        top_k: what the method does in compiled form, where it has one.
    """

    is_plain: ClassVar[bool] = True

    def __init__(self, cache: WeightCache, masking: Method, group: Group, top_k: TopK | None = None) -> None:
        self._cache = cache
        self._masking = masking
        self._group = group
        self._top_k = top_k
        self._guess: Int64Array = np.full((kernels.N_SEARCHES, 2), kernels.ANY_THRESHOLD, np.int64)
        self._n_before = 0

    def start(self) -> None:
        """The cache is empty."""
        self._n_before = 0
        self._cache.start()

    def run(self, tokens: Tokens) -> Usage:
        """See `Replay`."""
        n_tokens, first_token, scores, next_use, masks, tells_held = tokens
        if first_token < 0:
            self._n_before = 1
        cache, shape = self._cache, (n_tokens, self._cache.resident.size)
        active: BoolArray = masks if masks is not None else np.full(shape, scores is None)
        missed: BoolArray = np.empty(shape, np.bool_)
        held: BoolArray | None = np.empty(shape, np.bool_) if tells_held else None
        for t in range(n_tokens):
            if held is not None:
                held[t] = cache.resident
            own = None if scores is None else scores[t]
            if own is not None and masks is None:
                self._choose(own, first_token + t, active[t])
            used = cache.look_up(active[t], missed[t])
            if not used.columns.size:
                check_mask(self._masking, self._group, active[t])
            with blaming(cache.policy, self._policy_name):
                if next_use is not None:
                    cache.policy.foresee(next_use[t])
                cache.take(used, own, first_token + t + self._n_before)
        return usage_of(active, missed, scores, held)

    def _choose(self, scores: Uint16Array, token: int, mask: BoolArray) -> None:
        resident = self._cache.resident
        if self._top_k is not None:
            gamma = np.float32(self._top_k.gamma_at(token))
            kernels.choose_columns(scores, resident, gamma, *self._top_k.choice, self._guess, mask)
            return
        seen = resident.copy() if self._masking.looks_at_residency else np.zeros_like(resident)
        select(self._masking, self._group, scores, seen, token, mask)

    def _policy_name(self) -> str:
        return f"policy {type(self._cache.policy).__name__}"
