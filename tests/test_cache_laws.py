"""What holds for every policy under every history: counts, residency, the queues' own books, and who beats whom."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray
from test_cache import replay
from test_policies import batches

from dipsim.cache import ADMISSIONS, Admission, WeightCache
from dipsim.policies import Arc, Place, QueuePolicy, make, policies

BUILT_IN = sorted(name for name in policies if policies[name].__module__.startswith("dipsim.policies"))
N = 12
COLUMNS = st.sets(st.integers(0, N - 1), min_size=1)
COLUMN_BYTES = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])


class CacheLaws(RuleBasedStateMachine):
    """One cache of any policy, used and started again at will."""

    @initialize(
        name=st.sampled_from(BUILT_IN),
        admission=st.sampled_from(ADMISSIONS),
        slots=st.integers(0, N),
        seed=st.integers(0, 99),
    )
    def build(self, name: str, admission: Admission, slots: int, seed: int) -> None:
        self.cache = WeightCache(Place(N, slots, 1, "down"), make(name), admission)
        self.rng = np.random.default_rng(seed)
        self.token = 0
        self.ever_active: set[int] = set()

    @rule(columns=COLUMNS, with_scores=st.booleans())
    def use(self, columns: set[int], with_scores: bool) -> None:
        self.step(np.isin(np.arange(N), list(columns)), with_scores)

    @precondition(lambda self: self.token < 200)
    @rule(n_active=st.integers(1, N), n_tokens=st.integers(10, 40))
    def use_often(self, n_active: int, n_tokens: int) -> None:
        """Enough tokens for ghosts, laps of the hand and halved counts."""
        for _ in range(n_tokens):
            weights = self.rng.random(N) / np.arange(1, N + 1)
            self.step(weights >= np.sort(weights)[-n_active], True)

    @rule()
    def start_again(self) -> None:
        self.cache.start()
        assert not self.cache.resident.any()
        self.token = 0
        self.ever_active = set()

    def step(self, active: NDArray[np.bool_], with_scores: bool) -> None:
        cache, before = self.cache, self.cache.resident.copy()
        if cache.policy.needs_future:
            # A future that need not come true: the laws hold for whatever it says.
            cache.policy.foresee(self.rng.integers(self.token + 1, self.token + 9, N).astype(np.int32))
        scores = self.rng.integers(0, 4, N).astype(np.float16).view(np.uint16) if with_scores else None
        cache.update(active, scores, self.token)
        self.token += 1
        self.ever_active |= set(np.flatnonzero(active).tolist())
        hits, misses = active & before, active & ~before
        assert hits.sum() + misses.sum() == active.sum()
        assert COLUMN_BYTES[hits].sum() + COLUMN_BYTES[misses].sum() == COLUMN_BYTES[active].sum()
        assert not (cache.resident & ~before & ~active).any(), "only active columns enter"
        if not hasattr(cache.policy, "outdated"):
            assert cache.resident.sum() == min(cache.place.slots, (before | active).sum()), "no slot stays idle"
        if cache.admission == "always" and cache.place.slots >= active.sum():
            assert cache.resident[active].all(), "active columns stay"
        if cache.admission == "always":
            assert cache.resident[hits].all() or not cache.place.slots

    @invariant()
    def residency_is_possible(self) -> None:
        if hasattr(self, "cache"):
            resident = set(np.flatnonzero(self.cache.resident).tolist())
            assert len(resident) <= self.cache.place.slots
            assert resident <= self.ever_active

    @invariant()
    def queues_hold_what_is_resident(self) -> None:
        if not hasattr(self, "cache") or not isinstance(self.cache.policy, QueuePolicy):
            return
        nodes, rings = self.cache.policy.queues
        lists = [walk(nodes, int(ring["sentinel"])) for ring in rings]
        assert [len(members) for members in lists] == rings["length"].tolist()
        assert sorted(itertools.chain(*lists[:3])) == np.flatnonzero(self.cache.resident).tolist()
        for which, members in enumerate(lists):
            assert (nodes["where"][members] == which).all()
        assert sum(map(len, lists)) == (nodes["where"][:N] >= 0).sum(), "each column is in one list"
        for which in (3, 4):
            assert len(lists[which]) <= rings["limit"][which]
        if isinstance(self.cache.policy, Arc):
            t1, t2, _, b1, b2 = map(len, lists)
            assert t1 + b1 <= self.cache.place.slots
            assert t1 + t2 + b1 + b2 <= 2 * self.cache.place.slots
            assert 0 <= rings["dial"][0] <= self.cache.place.slots


def walk(nodes: NDArray[np.void], sentinel: int) -> list[int]:
    """The columns of a ring, oldest first; both directions agree."""
    newer, older = [], []
    for members, direction in ((newer, "newer"), (older, "older")):
        node = int(nodes[direction][sentinel])
        while node != sentinel:
            members.append(node)
            node = int(nodes[direction][node])
    assert newer == older[::-1]
    return newer


CacheLaws.TestCase.settings = settings(deadline=None, max_examples=250, stateful_step_count=12)
TestCacheLaws = CacheLaws.TestCase


def n_hits(name: str, masks: NDArray[np.bool_], slots: int, admission: Admission, scores: NDArray[np.float16]) -> int:
    states = replay(WeightCache(Place(masks.shape[1], slots), make(name), admission), masks, scores)
    return sum(len(states[t] & set(np.flatnonzero(masks[t + 1]).tolist())) for t in range(len(masks) - 1))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 11), st.integers(1, 10))
def test_nobody_hits_more_often_than_belady_that_may_refuse(seed: int, slots: int, n_active: int) -> None:
    masks, scores = batches(seed, N, 40, n_active)
    best = n_hits("belady", masks, slots, "priority", scores)
    for name in BUILT_IN:
        for admission in ADMISSIONS:
            assert n_hits(name, masks, slots, admission, scores) <= best, (name, admission)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_more_slots_never_cost_hits_to_belady_and_lru(seed: int, n_active: int) -> None:
    """LRU where the active columns fit, so that a smaller cache always holds a part of what a larger one holds."""
    masks, scores = batches(seed, N, 40, n_active)
    most_active = int(masks.sum(axis=1).max())
    for name, admission, fewest in (("belady", "priority", 1), ("lru", "always", most_active)):
        hits = [n_hits(name, masks, slots, admission, scores) for slots in range(fewest, N + 1)]  # type: ignore[arg-type]
        assert hits == sorted(hits), name


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_everybody_agrees_where_active_columns_fill_the_slots(seed: int, slots: int) -> None:
    masks, scores = batches(seed, N, 40, N)
    masks = masks[masks.sum(axis=1) >= slots]
    assert len({n_hits(name, masks, slots, "always", scores) for name in BUILT_IN}) == 1


@pytest.mark.parametrize("admission", ADMISSIONS)
def test_the_policies_differ_where_there_is_something_to_choose(admission: Admission) -> None:
    """Or the laws above would prove little: most of them end up with different hits."""
    masks, scores = batches(5, 60, 300, 12)
    hits = {name: n_hits(name, masks, 30, admission, scores) for name in BUILT_IN}
    assert len(set(hits.values())) >= len(BUILT_IN) - 3
