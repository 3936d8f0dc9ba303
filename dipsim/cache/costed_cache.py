"""What is resident where columns cost unlike: the weight cache of all (layer, group)s."""

from __future__ import annotations

import numpy as np

from dipsim import kernels
from dipsim.cache.weight_cache import Admission, Used, WeightCache, wrong_victims
from dipsim.kernels import BoolArray, Int64Array, Uint16Array
from dipsim.policies import Place, Policy


class CostedCache(WeightCache):
    """Columns of all (layer, group)s in DRAM; arguments as of `WeightCache`, and:

    Args:
        costs: int64 [column], what each takes of the capacity. Columns that are active together cost the same.
        capacity: of the cache.
    """

    def __init__(self, place: Place, policy: Policy, admission: Admission, costs: Int64Array, capacity: int) -> None:
        self._costs = costs
        self._dearest = int(costs.max())
        self._capacity = capacity
        self._used = 0  # of the capacity
        super().__init__(place, policy, admission)

    def start(self) -> None:
        """A new sequence: nothing is resident."""
        self._used = 0
        super().start()

    @property
    def _is_nothing(self) -> bool:
        return self._capacity == 0

    def _expire(self, active: BoolArray, outdated: BoolArray) -> Int64Array:
        leaving = super()._expire(active, outdated)
        self._used -= self._cost(leaving)
        return leaving

    def _settle(self, used: Used, scores: Uint16Array | None) -> Int64Array:
        """See `WeightCache`."""
        missed = used.missed_columns
        if self._bypasses:
            self.resident[missed] = True
            self._used += self._cost(missed)
            return self._evict(self.resident, self._used - self._capacity)
        if missed.size == 0:
            return missed
        victims = self._evict(self.resident & ~used.active, self._used + self._cost(missed) - self._capacity)
        admitted = self._highest_scoring(missed, (self._capacity - self._used) // int(self._costs[missed[0]]), scores)
        self.resident[missed[admitted]] = True
        self._used += self._cost(missed[admitted])
        return np.concatenate([victims, missed[~admitted]])

    def _cost(self, columns: Int64Array) -> int:
        return int(self._costs[columns].sum())

    def _evict(self, candidates: BoolArray, excess: int) -> Int64Array:
        """Candidates leave, one after another, until the excess is gone, or they are."""
        gone = [np.empty(0, np.int64)]
        n_left = int(candidates.sum()) if excess > 0 else 0
        while excess > 0 and n_left:
            # As many as are needed if all are of the dearest.
            victims = self._leave(candidates, min(n_left, -(-excess // self._dearest)))
            gone.append(victims)
            excess -= self._cost(victims)
            n_left -= victims.size
            candidates = candidates & self.resident
        return np.sort(np.concatenate(gone))

    def _leave(self, candidates: BoolArray, n_victims: int) -> Int64Array:
        self.policy.victims(candidates, n_victims, self._victims)
        victims = np.flatnonzero(self._victims)
        if victims.size != n_victims or not candidates[victims].all():
            raise wrong_victims(self.policy, victims.size, n_victims)
        self.resident[victims] = False
        self._used -= self._cost(victims)
        return victims

    def _highest_scoring(self, missed: Int64Array, n: int, scores: Uint16Array | None) -> BoolArray:
        """Which of the missed columns are the n best; without scores, the lowest indices."""
        chosen: BoolArray = np.arange(missed.size) < n
        if scores is not None and n < missed.size:
            kernels.top_k(scores[missed], n, chosen)
        return chosen
