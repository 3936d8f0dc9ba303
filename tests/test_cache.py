"""The cache against its plain twin, against libcachesim and against the published simulator's own cases."""

from __future__ import annotations

import itertools

import libcachesim
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dipsim import DipsimError, ScorePolicy
from dipsim.cache import ADMISSIONS, Admission, WeightCache
from dipsim.errors import choose
from dipsim.policies import Place, Policy, policies

NAMES = ("lru", "window", "lfu", "lfu-in-cache", "fifo", "belady")
NEVER = np.iinfo(np.int32).max


def next_uses(masks: NDArray[np.bool_]) -> NDArray[np.int32]:
    """First later token that uses each column, after each token: by looking, from the end."""
    uses = np.full(masks.shape, NEVER, np.int32)
    for t in range(len(masks) - 1, 0, -1):
        uses[t - 1] = np.where(masks[t], t, uses[t])
    return uses


def replay(cache: WeightCache, masks: NDArray[np.bool_], scores: NDArray[np.float16] | None = None) -> list[set[int]]:
    """What is resident after each token."""
    states = []
    later = next_uses(masks)
    for t, mask in enumerate(masks):
        if cache.policy.needs_future:
            cache.policy.foresee(later[t])
        cache.update(mask, None if scores is None else scores[t].view(np.uint16), t)
        states.append(set(np.flatnonzero(cache.resident).tolist()))
    return states


def masks_of(rows: list[list[int]], n: int) -> NDArray[np.bool_]:
    masks = np.zeros((len(rows), n), np.bool_)
    for row, columns in zip(masks, rows, strict=True):
        row[columns] = True
    return masks


@pytest.mark.parametrize("admission", ["always", "priority"])
@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(0, 9), st.integers(1, 9), st.booleans())
def test_equals_the_twin(
    name: str, admission: Admission, seed: int, slots: int, n_active: int, with_scores: bool
) -> None:
    n, n_tokens = 9, 14
    rng = np.random.default_rng(seed)
    masks = masks_of([rng.choice(n, rng.integers(1, n_active + 1), replace=False).tolist() for _ in range(n_tokens)], n)
    scores = (rng.integers(0, 4, (n_tokens, n)) / 2).astype(np.float16) if with_scores else None
    twin = reference.Cache(n, slots, name, admission, list(masks))
    states = replay(WeightCache(Place(n, slots), policies[name](), admission), masks, scores)
    for t, state in enumerate(states):
        twin.update(masks[t], None if scores is None else scores[t], t)
        assert state == twin.resident, t
        assert len(state) <= slots


def zipf_trace(seed: int, n: int = 60, length: int = 3000) -> NDArray[np.int64]:
    return np.minimum(np.random.default_rng(seed).zipf(1.2, length) - 1, n - 1)


def scan_and_loop(n: int = 60, length: int = 3000) -> NDArray[np.int64]:
    """Loops over a working set, with scans of everything in between."""
    t = np.arange(length)
    return np.where(t // 300 % 2 == 0, t % 25, t % n)


@pytest.mark.parametrize("slots", [1, 7, 24, 45])
@pytest.mark.parametrize("trace", [zipf_trace(0), zipf_trace(1, n=50), scan_and_loop()], ids=["zipf0", "zipf1", "loop"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("fifo", "FIFO"), ("lru", "LRU"), ("lfu-in-cache", "LFU"), ("belady", "Belady")],
)
def test_hits_equal_libcachesim(name: str, theirs: str, trace: NDArray[np.int64], slots: int) -> None:
    """One active column per token makes a token a request of an ordinary cache."""
    masks = np.eye(trace.max() + 1, dtype=np.bool_)[trace]
    states = replay(WeightCache(Place(masks.shape[1], slots), policies[name](), "always"), masks)
    hits = sum(int(trace[t]) in states[t - 1] for t in range(1, len(trace)))

    other = getattr(libcachesim, theirs)(cache_size=slots)
    their_hits = 0
    for t, column in enumerate(trace.tolist()):
        later = np.flatnonzero(trace[t + 1 :] == column)
        request = libcachesim.Request()
        request.obj_id, request.obj_size = column, 1
        request.next_access_vtime = int(t + 1 + later[0]) if later.size else 2**60
        their_hits += bool(other.get(request))
    assert hits == their_hits


def preset(policy: Policy, resident: list[int], n: int, slots: int) -> WeightCache:
    cache = WeightCache(Place(n, slots), policy, "always")
    cache.update(masks_of([resident], n)[0], None, 0)
    return cache


def test_published_lru_case() -> None:
    """Capacity 3, resident {0, 1, 2} of ages 0, 1, 2 (the last is the oldest), mask {2, 3}: {0, 2, 3} stay."""
    cache = WeightCache(Place(5, 3), policies["lru"](), "always")
    for t, column in enumerate([2, 1, 0]):
        cache.update(masks_of([[column]], 5)[0], None, t)
    cache.update(masks_of([[2, 3]], 5)[0], None, 3)
    assert np.flatnonzero(cache.resident).tolist() == [0, 2, 3]


def test_published_lfu_case() -> None:
    """Capacity 3, resident {0, 1, 2}, use counts 2, 3, 1, 1, 1, mask {2, 3}: {1, 2, 3} stay."""
    cache = WeightCache(Place(5, 3), policies["lfu"](), "always")
    # 3 and 4 are used once and evicted again; their counts survive.
    for t, columns in enumerate([[3], [4], [0, 1], [0, 1], [1, 2]]):
        cache.update(masks_of([columns], 5)[0], None, t)
    assert np.flatnonzero(cache.resident).tolist() == [0, 1, 2]
    cache.update(masks_of([[2, 3]], 5)[0], None, 5)
    assert np.flatnonzero(cache.resident).tolist() == [1, 2, 3]


def test_published_belady_case() -> None:
    masks = masks_of([[2, 3], [0, 1], [1, 4], [1, 2], [1, 2]], 5)
    assert replay(WeightCache(Place(5, 3), policies["belady"](), "always"), masks)[-1] == {1, 2, 4}


def test_misses_that_do_not_fit_are_admitted_by_score() -> None:
    scores = np.array([[1, 5, 5, 9, 0]], np.float16)
    masks = masks_of([[0, 1, 2, 3]], 5)
    assert replay(WeightCache(Place(5, 2), policies["lru"](), "always"), masks, scores) == [{1, 3}]


def test_a_new_sequence_starts_cold_and_forgets_counts() -> None:
    cache = preset(policies["lfu"](), [0, 1], 4, 2)
    for t in range(1, 5):
        cache.update(masks_of([[0, 1]], 4)[0], None, t)
    cache.start()
    assert not cache.resident.any()
    assert replay(cache, masks_of([[0], [2, 3], [2, 3]], 4))[-1] == {2, 3}


@pytest.mark.parametrize("admission", ADMISSIONS)
def test_a_policy_hears_everything_in_one_order(admission: Admission) -> None:
    """access, insert, victims, evict; who was never inserted is never evicted, so a queue of one's own stays true."""
    calls: list[tuple[str, list[int]]] = []

    class Queue(ScorePolicy):
        def start(self, place: Place) -> None:
            super().start(place)
            self.queue: list[int] = []

        def on_access(self, columns: NDArray[np.int64], token: int) -> None:
            calls.append(("access", columns.tolist()))

        def on_insert(self, columns: NDArray[np.int64], token: int) -> None:
            calls.append(("insert", columns.tolist()))
            self.queue += columns.tolist()

        def on_evict(self, columns: NDArray[np.int64], token: int) -> None:
            calls.append(("evict", columns.tolist()))
            for column in columns.tolist():
                self.queue.remove(column)

        def victims(self, candidates: NDArray[np.bool_], n_victims: int, out: NDArray[np.bool_]) -> None:
            calls.append(("victims", []))
            out[:] = False
            out[[column for column in self.queue if candidates[column]][:n_victims]] = True

    policy = Queue()
    cache = WeightCache(Place(6, 2), policy, admission)
    for t, columns in enumerate([[0, 1, 2], [2, 3], [4], [1, 4, 5]]):
        cache.update(masks_of([columns], 6)[0], None, t)
        assert sorted(policy.queue) == np.flatnonzero(cache.resident).tolist()
    order = {"access": 0, "insert": 1, "victims": 2, "evict": 3}
    steps = [order[name] for name, _ in calls]
    assert all(after > before or after == 0 for before, after in itertools.pairwise(steps))


def test_statistics_survive_eviction_in_lfu_but_not_in_lfu_in_cache() -> None:
    """0 is used three times, evicted by a pair that fills the cache, and comes back against 1 and 2, used twice."""
    rows = [[0], [0], [0], [1, 2], [1, 2], [0, 1], [0, 1, 2], [1, 3]]
    masks = masks_of(rows, 4)
    after = {
        name: replay(WeightCache(Place(4, 2), policies[name](), "always"), masks) for name in ("lfu", "lfu-in-cache")
    }
    assert 0 not in after["lfu"][3]
    twins = {name: reference.Cache(4, 2, name, "always") for name in after}
    for name, twin in twins.items():
        for t, mask in enumerate(masks):
            twin.update(mask, None, t)
            assert after[name][t] == twin.resident
    rows = [[0], [0], [0], [1, 2], [0, 1], [3], [3]]
    kept = {
        name: replay(WeightCache(Place(4, 2), policies[name](), "always"), masks_of(rows, 4))[-1]
        for name in ("lfu", "lfu-in-cache")
    }
    assert kept == {"lfu": {0, 3}, "lfu-in-cache": {1, 3}}


def test_policies_differ_only_where_slots_exceed_active_columns() -> None:
    """The border: with slots at most the active columns every policy agrees under `always`; above it they do not."""
    rng = np.random.default_rng(5)
    popular = np.array([8, 8, 6, 6, 4, 4, 2, 2, 1, 1]) / 42
    masks = masks_of([rng.choice(10, 4, replace=False, p=popular).tolist() for _ in range(200)], 10)

    def hits(name: str, slots: int) -> int:
        states = replay(WeightCache(Place(10, slots), policies[name](), "always"), masks)
        return sum(len(states[t] & set(np.flatnonzero(masks[t + 1]).tolist())) for t in range(len(masks) - 1))

    assert len({hits(name, 4) for name in NAMES}) == 1
    assert hits("belady", 6) > hits("lfu", 6) > hits("lru", 6)


def test_a_broken_policy_is_named() -> None:
    class Greedy(ScorePolicy):
        def victims(self, candidates: NDArray[np.bool_], n_victims: int, out: NDArray[np.bool_]) -> None:
            out[:] = True

    cache = WeightCache(Place(4, 1), Greedy(), "always")
    cache.update(masks_of([[0]], 4)[0], None, 0)
    with pytest.raises(DipsimError, match="policy Greedy: victims"):
        cache.update(masks_of([[1]], 4)[0], None, 1)


@pytest.mark.parametrize("priority", [np.ones(3), np.full(4, np.nan), 5.0])
def test_a_priority_that_is_not_one_number_per_column_is_named(priority: object) -> None:
    class Odd(ScorePolicy):
        def on_access(self, columns: NDArray[np.int64], token: int) -> None:
            self.priority = priority  # type: ignore[assignment]

    cache = WeightCache(Place(4, 1), Odd(), "always")
    cache.update(masks_of([[0]], 4)[0], None, 0)
    with pytest.raises(DipsimError, match="policy Odd: priority: got shape"):
        cache.update(masks_of([[1]], 4)[0], None, 1)


def test_unknown_names() -> None:
    with pytest.raises(DipsimError, match="admission: unknown name, got 'allways'; did you mean 'always'"):
        choose("admission", "allways", ADMISSIONS)
    with pytest.raises(DipsimError, match="policy: unknown name, got 'lfru'"):
        policies["lfru"]
