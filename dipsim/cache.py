"""What is resident: the weight cache of one (layer, group), with any policy and either admission."""

from __future__ import annotations

from typing import Literal

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError, suggestion
from dipsim.kernels import BoolArray, Int64Array, Uint16Array
from dipsim.policies import Policy

Admission = Literal["always", "priority"]
ADMISSIONS: tuple[Admission, ...] = ("always", "priority")


def check_admission(admission: str) -> Admission:
    """The admission of that name.

    Raises:
        DipsimError: there is none.
    """
    for known in ADMISSIONS:
        if admission == known:
            return known
    raise DipsimError(f"admission: unknown name, got '{admission}'{suggestion(admission, ADMISSIONS)}")


class WeightCache:
    """Columns of one (layer, group) in DRAM.

    Args:
        n_columns: columns of the group.
        slots: most columns that fit.
        policy: decides who leaves; owned by this cache.
        admission: `always`: the active columns enter and victims are resident inactive columns; if the misses do
            not fit even then, the highest-scoring ones are admitted. `priority`: of resident and active columns the
            best are kept (bypass).

    Attributes:
        resident: bool [column].
    """

    def __init__(self, n_columns: int, slots: int, policy: Policy, admission: Admission = "always") -> None:
        self.slots = policy.capacity(slots)
        self.policy = policy
        self.admission = admission
        self.resident: BoolArray = np.zeros(n_columns, np.bool_)
        self._victims: BoolArray = np.zeros(n_columns, np.bool_)
        self._n_resident = 0
        policy.start(n_columns)

    def start(self) -> None:
        """A new sequence: nothing is resident."""
        self.resident[:] = False
        self._n_resident = 0
        self.policy.start(self.resident.size)

    def update(self, active: BoolArray, scores: Uint16Array | None, token: int) -> None:
        """The cache after a token that used the active columns.

        Args:
            active: bool [column].
            scores: float16 bit patterns [column] that decide who is admitted when not all misses fit; None where the
                group is dense, then lower indices are.
            token: index in the sequence.
        """
        if self.slots == 0:
            return
        columns = np.flatnonzero(active)
        missed = columns[~self.resident[columns]]
        self.policy.on_access(columns, token)
        if self.admission == "priority":
            self._keep_best(missed, token)
        else:
            self._admit(active, missed, columns.size - missed.size, scores, token)

    def _keep_best(self, missed: Int64Array, token: int) -> None:
        self.policy.on_insert(missed, token)
        self.resident[missed] = True
        self._n_resident += missed.size
        self._evict(self.resident, self._n_resident - self.slots, token)

    def _admit(
        self, active: BoolArray, missed: Int64Array, n_hits: int, scores: Uint16Array | None, token: int
    ) -> None:
        room = self.slots - self._n_resident
        if missed.size > room:
            n_victims = min(missed.size - room, self._n_resident - n_hits)
            self._evict(self.resident & ~active, n_victims, token)
            missed = self._highest_scoring(missed, room + n_victims, scores, token)
        self.policy.on_insert(missed, token)
        self.resident[missed] = True
        self._n_resident += missed.size

    def _evict(self, candidates: BoolArray, n_victims: int, token: int) -> None:
        if n_victims <= 0:
            return
        self.policy.victims(candidates, n_victims, self._victims)
        if np.count_nonzero(self._victims & candidates) != n_victims or np.count_nonzero(self._victims) != n_victims:
            raise DipsimError(
                f"policy {type(self.policy).__name__}: victims() chose {np.count_nonzero(self._victims)} columns; "
                f"must be exactly {n_victims} of the candidates"
            )
        self.resident &= ~self._victims
        self._n_resident -= n_victims
        self.policy.on_evict(np.flatnonzero(self._victims), token)

    def _highest_scoring(self, missed: Int64Array, n: int, scores: Uint16Array | None, token: int) -> Int64Array:
        """The n best of the missed columns; the policy hears of the refused ones."""
        if n >= missed.size:
            return missed
        chosen = np.arange(missed.size) < n
        if scores is not None:
            kernels.top_k(scores[missed], n, chosen)
        self.policy.on_evict(missed[~chosen], token)
        return missed[chosen]
