"""What is resident: one weight cache, of one (layer, group) or of all, with any policy and either admission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int64Array, Uint16Array
from dipsim.policies import Place, Policy
from dipsim.registry import blaming

Admission = Literal["always", "priority"]
ADMISSIONS: tuple[Admission, ...] = ("always", "priority")


class WeightCache:
    """Columns of one (layer, group) in DRAM, or of all of them.

    Args:
        place: columns of the group and slots, the most of them that fit.
        policy: decides who leaves; owned by this cache.
        admission: `always`: the active columns enter and victims are resident inactive columns; if the misses do
            not fit even then, the highest-scoring ones are admitted. `priority`: of resident and active columns the
            best are kept (bypass).
        costs: int64 [column], what each takes of the capacity; a slot unless given. Columns that are active together
            cost the same.
        capacity: of the cache; its slots unless given.

    Attributes:
        resident: bool [column].
    """

    def __init__(
        self,
        place: Place,
        policy: Policy,
        admission: Admission = "always",
        costs: Int64Array | None = None,
        capacity: int | None = None,
    ) -> None:
        self.place = place
        self.policy = policy
        self.admission = admission
        self._outdated: Callable[[int], BoolArray] | None = getattr(policy, "outdated", None)
        self.resident: BoolArray = np.zeros(place.n_columns, np.bool_)
        self._victims: BoolArray = np.zeros(place.n_columns, np.bool_)
        self._costs: Int64Array = np.ones(place.n_columns, np.int64) if costs is None else costs
        self._dearest = int(self._costs.max())
        self._capacity = place.slots if capacity is None else capacity
        self._used = 0  # of the capacity
        self._start_policy()

    def start(self) -> None:
        """A new sequence: nothing is resident."""
        self.resident[:] = False
        self._used = 0
        self._start_policy()

    def _start_policy(self) -> None:
        with blaming(self.policy, lambda: f"policy {type(self.policy).__name__}: start"):
            self.policy.start(self.place)

    def update(self, active: BoolArray, scores: Uint16Array | None, token: int) -> None:
        """The cache after a token that used the active columns.

        Args:
            active: bool [column].
            scores: float16 bit patterns [column] that decide who is admitted when not all misses fit; None where the
                group is dense, then lower indices are.
            token: index in the sequence.
        """
        if self._capacity == 0:
            return
        if self.policy.needs_scores and scores is not None:
            values = np.empty(scores.size, np.float32)
            kernels.score_values(scores, values)
            self.policy.on_scores(values, token)
        columns = np.flatnonzero(active)
        missed = columns[~self.resident[columns]]
        self.policy.on_access(columns, token)
        self.policy.on_insert(missed, token)
        expired = self._expire(active, token)
        if self.admission == "priority":
            self.resident[missed] = True
            self._used += self._cost(missed)
            gone = self._evict(self.resident, self._used - self._capacity)
        else:
            gone = self._admit(active, missed, scores)
        gone = np.concatenate([expired, gone])
        if gone.size:
            self.policy.on_evict(gone, token)

    def _expire(self, active: BoolArray, token: int) -> Int64Array:
        """Who leaves whether or not there is room."""
        if self._outdated is None:
            return np.empty(0, np.int64)
        leaving = np.flatnonzero(self.resident & ~active & self._outdated(token))
        self.resident[leaving] = False
        self._used -= self._cost(leaving)
        return leaving

    def _cost(self, columns: Int64Array) -> int:
        return int(self._costs[columns].sum())

    def _admit(self, active: BoolArray, missed: Int64Array, scores: Uint16Array | None) -> Int64Array:
        """Misses enter and inactive columns make room; returns who leaves or is refused."""
        if missed.size == 0:
            return missed
        victims = self._evict(self.resident & ~active, self._used + self._cost(missed) - self._capacity)
        admitted = self._highest_scoring(missed, (self._capacity - self._used) // int(self._costs[missed[0]]), scores)
        self.resident[missed[admitted]] = True
        self._used += self._cost(missed[admitted])
        return np.concatenate([victims, missed[~admitted]])

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
            raise DipsimError(
                f"policy {type(self.policy).__name__}: victims() chose {victims.size} columns; "
                f"must be exactly {n_victims} of the candidates"
            )
        self.resident[victims] = False
        self._used -= self._cost(victims)
        return victims

    def _highest_scoring(self, missed: Int64Array, n: int, scores: Uint16Array | None) -> BoolArray:
        """Which of the missed columns are the n best; without scores, the lowest indices."""
        chosen: BoolArray = np.arange(missed.size) < n
        if scores is not None and n < missed.size:
            kernels.top_k(scores[missed], n, chosen)
        return chosen
