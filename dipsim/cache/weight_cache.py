"""What is resident: one weight cache, of one (layer, group) or of all, with any policy and either admission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int64Array, Uint16Array
from dipsim.policies import Place, Policy, ScorePolicy, priority_of, wrong_priority
from dipsim.registry import blaming

Admission = Literal["always", "priority"]
ADMISSIONS: tuple[Admission, ...] = ("always", "priority")


_NO_SCORES: Uint16Array = np.empty(0, np.uint16)


class Used(NamedTuple):
    """What a token uses of a cache.

    Attributes:
        active, missed: bool [column], missed are those that are not resident.
        columns, missed_columns: the same, their indices, ascending.
    """

    active: BoolArray
    missed: BoolArray
    columns: Int64Array
    missed_columns: Int64Array


class WeightCache:
    """Columns of one (layer, group) in DRAM.

    Args:
        place: columns of the group and slots, the most of them that fit.
        policy: decides who leaves; owned by this cache.
        admission: `always`: the active columns enter and victims are resident inactive columns; if the misses do
            not fit even then, the highest-scoring ones are admitted. `priority`: of resident and active columns the
            best are kept (bypass).

    Attributes:
        resident: bool [column].
    """

    def __init__(self, place: Place, policy: Policy, admission: Admission = "always") -> None:
        self.place = place
        self.policy = policy
        self.admission = admission
        self.resident: BoolArray = np.zeros(place.n_columns, np.bool_)
        self._bypasses = admission == "priority"
        self._n_resident = 0
        self._outdated: Callable[[int], BoolArray] | None = getattr(policy, "outdated", None)
        # One that chooses in its own way is asked.
        self._ranked = ranking_by_priority(policy)
        self._candidates, self._victims = np.zeros((2, place.n_columns), np.bool_)
        self._span: Int64Array = np.zeros(2, np.int64)
        self._guess: Int64Array = np.full(2, kernels.ANY_THRESHOLD, np.int64)
        self._start_policy()

    def start(self) -> None:
        """A new sequence: nothing is resident."""
        self.resident[:] = False
        self._n_resident = 0
        self._start_policy()

    def _start_policy(self) -> None:
        with blaming(self.policy, lambda: f"policy {type(self.policy).__name__}: start"):
            self.policy.start(self.place)

    @property
    def _is_nothing(self) -> bool:
        """Whether nothing fits."""
        return self.place.slots == 0

    def update(self, active: BoolArray, scores: Uint16Array | None, token: int) -> None:
        """The cache after a token that used the active columns.

        Args:
            active: bool [column].
            scores: float16 bit patterns [column] that decide who is admitted when not all misses fit; None where the
                group is dense, then lower indices are.
            token: index in the sequence.
        """
        self.take(self.look_up(active, np.empty(active.size, np.bool_)), scores, token)

    def look_up(self, active: BoolArray, missed: BoolArray) -> Used:
        """What is used of what is resident; `missed` is to be filled. A policy may keep the indices that it is told."""
        columns, missed_columns = np.empty(active.size, np.int64), np.empty(active.size, np.int64)
        n_active, n_missed = kernels.look_up(active, self.resident, missed, columns, missed_columns)
        return Used(active, missed, columns[:n_active], missed_columns[:n_missed])

    def take(self, used: Used, scores: Uint16Array | None, token: int) -> None:
        """As `update`, of what was looked up."""
        if self._is_nothing:
            return
        if self.policy.needs_scores and scores is not None:
            values = np.empty(scores.size, np.float32)
            kernels.score_values(scores, values)
            self.policy.on_scores(values, token)
        self.policy.on_access(used.columns, token)
        self.policy.on_insert(used.missed_columns, token)
        expired = None if self._outdated is None else self._expire(used.active, self._outdated(token))
        gone = self._settle(used, scores)
        if expired is not None and expired.size:
            gone = np.concatenate([expired, gone])
        if gone.size:
            self.policy.on_evict(gone, token)

    def _expire(self, active: BoolArray, outdated: BoolArray) -> Int64Array:
        """Who leaves whether or not there is room."""
        leaving = np.flatnonzero(self.resident & ~active & outdated)
        self.resident[leaving] = False
        self._n_resident -= leaving.size
        return leaving

    def _settle(self, used: Used, scores: Uint16Array | None) -> Int64Array:
        """Misses enter and others make room; returns who leaves or is refused."""
        n_missed, known = used.missed_columns.size, _NO_SCORES if scores is None else scores
        if self._n_resident + n_missed <= self.place.slots:
            self.resident |= used.missed
            self._n_resident += n_missed
            return used.missed_columns[:0]
        gone: Int64Array = np.empty(used.active.size, np.int64)
        room = self._bypasses, self.place.slots, used.active, used.missed, n_missed, self.resident, self._n_resident
        if self._ranked is not None:
            priority = priority_of(self._ranked, used.active.size)
            n_resident, n_gone = kernels.settle_lowest(*room, known, priority, self._span, self._guess, gone)
            if n_resident < 0:
                raise wrong_priority(self._ranked, used.active.size)
            self._n_resident = n_resident
            return gone[:n_gone]
        n_victims = kernels.find_candidates(*room, self._candidates)
        self._victims[:] = False
        if n_victims:
            self.policy.victims(self._candidates, n_victims, self._victims)
        n_room = n_missed if self._bypasses else self.place.slots - self._n_resident + n_victims
        n_admitted, n_gone = kernels.settle_chosen(
            *(n_room, known, used.missed, n_missed, self.resident, self._candidates, n_victims, self._victims),
            *(self._guess, gone),
        )
        if n_admitted < 0:
            raise wrong_victims(self.policy, -1 - n_admitted, n_victims)
        self._n_resident += n_admitted - n_victims
        return gone[:n_gone]


def ranking_by_priority(policy: Policy) -> ScorePolicy | None:
    """The policy, where it leaves it to `ScorePolicy` who leaves."""
    if not isinstance(policy, ScorePolicy) or type(policy).victims is not ScorePolicy.victims:
        return None
    return None if "victims" in vars(policy) else policy


def wrong_victims(policy: Policy, n_chosen: int, n_victims: int) -> DipsimError:
    """What is said of a choice of others, of too many or of too few."""
    return DipsimError(
        f"policy {type(policy).__name__}: victims() chose {n_chosen} columns; must be exactly {n_victims} of the "
        "candidates"
    )
