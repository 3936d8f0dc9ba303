"""The policies beyond the classic ones: against their twins, against libcachesim, and what their options mean."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libcachesim
import numpy as np
import pytest
import reference_policies as twins
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_cache import masks_of, replay, scan_and_loop, zipf_trace

from dipsim import DipsimError
from dipsim.cache import ADMISSIONS, Admission, WeightCache
from dipsim.policies import LruK, Place, Random, make, name_and_options, save_use_counts

QUEUES: list[tuple[str, dict[str, float], type[twins.QueueCache]]] = [
    ("clock", {}, twins.Clock),
    ("sieve", {}, twins.Sieve),
    ("s3-fifo", {}, twins.S3Fifo),
    ("s3-fifo", {"small": 0.4, "ghosts": 1.5}, twins.S3Fifo),
    ("two-queue", {}, twins.TwoQueue),
    ("two-queue", {"a1_in": 0.6, "a1_out": 2.0}, twins.TwoQueue),
    ("arc", {}, twins.Arc),
    ("w-tinylfu", {}, twins.WTinyLfu),
    ("w-tinylfu", {"window": 0.4}, twins.WTinyLfu),
]
RANKED: list[tuple[str, dict[str, float]]] = [
    ("lfu-decay", {"half_life": 3.0}),
    ("lru-k", {"k": 1}),
    ("lru-k", {"k": 3}),
    ("static", {"calibration_tokens": 5}),
    ("magnitude", {"half_life": 2.0}),
    ("magnitude-blend", {"half_life": 5.0, "short_half_life": 1.5, "short_weight": 0.75, "last_weight": 0.3}),
]


def batches(seed: int, n: int, n_tokens: int, n_active: int) -> tuple[NDArray[np.bool_], NDArray[np.float16]]:
    """Masks in which some columns are much more popular than others, and tied scores."""
    rng = np.random.default_rng(seed)
    popularity = rng.dirichlet(np.full(n, 0.5)) * 0.9 + 0.1 / n
    rows = [
        rng.choice(n, rng.integers(1, n_active + 1), replace=False, p=popularity / popularity.sum()).tolist()
        for _ in range(n_tokens)
    ]
    return masks_of(rows, n), (rng.integers(0, 4, (n_tokens, n)) / 2).astype(np.float16)


def assert_twins(
    cache: WeightCache,
    twin: twins.QueueCache | twins.RankedCache,
    masks: NDArray[np.bool_],
    scores: NDArray[np.float16] | None,
) -> None:
    for t, state in enumerate(replay(cache, masks, scores)):
        twin.update(masks[t], None if scores is None else scores[t], t)
        assert state == twin.resident, t


@pytest.mark.slow
@pytest.mark.parametrize("admission", ADMISSIONS)
@pytest.mark.parametrize(("name", "options", "twin"), QUEUES)
@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10_000), slots=st.integers(1, 14), n_active=st.integers(1, 14), with_scores=st.booleans())
@example(seed=6, slots=4, n_active=9, with_scores=True)  # a refused column takes the hand of sieve with it
def test_queues_equal_their_twins(
    name: str,
    options: dict[str, float],
    twin: Callable[..., twins.QueueCache],
    admission: Admission,
    seed: int,
    slots: int,
    n_active: int,
    with_scores: bool,
) -> None:
    masks, scores = batches(seed, 14, 40, n_active)
    cache = WeightCache(Place(14, slots), make(name, **options), admission)
    assert_twins(cache, twin(slots, admission, **options), masks, scores if with_scores else None)


@pytest.mark.parametrize("admission", ADMISSIONS)
@pytest.mark.parametrize(("name", "options", "twin"), QUEUES)
def test_queues_equal_their_twins_in_a_larger_group(
    name: str, options: dict[str, float], twin: Callable[..., twins.QueueCache], admission: Admission
) -> None:
    masks, scores = batches(7, 150, 60, 50)
    cache = WeightCache(Place(150, 70), make(name, **options), admission)
    assert_twins(cache, twin(70, admission, **options), masks, scores)


@pytest.mark.parametrize("admission", ADMISSIONS)
@pytest.mark.parametrize(("name", "options"), RANKED)
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(0, 9), st.integers(1, 9), st.booleans())
def test_ranked_policies_equal_their_twins(
    name: str,
    options: dict[str, float],
    admission: Admission,
    seed: int,
    slots: int,
    n_active: int,
    with_scores: bool,
) -> None:
    masks, scores = batches(seed, 9, 16, n_active)
    cache = WeightCache(Place(9, slots), make(name, **options), admission)
    assert_twins(cache, twins.RankedCache(9, slots, name, admission, **options), masks, scores if with_scores else None)


def shifting_trace(n: int = 60, length: int = 1500) -> NDArray[np.int64]:
    """Popularity moves on to other columns every 250 requests."""
    return (zipf_trace(9, n, length) * 37 + np.arange(length) // 250 * 11) % n


TRACES = {
    "zipf": zipf_trace(0, length=1500),
    "zipf-wide": zipf_trace(1, n=150, length=1500),
    "loop": scan_and_loop(length=1500),
    "scan": np.arange(1500) % 61,
    "shift": shifting_trace(),
}


def our_hits(policy: object, trace: NDArray[np.int64], slots: int) -> list[bool]:
    """One active column per token makes a token a request of an ordinary cache."""
    cache = WeightCache(Place(int(trace.max()) + 1, slots), policy, "always")  # type: ignore[arg-type]
    active = np.zeros(cache.place.n_columns, np.bool_)
    hits = []
    for t, column in enumerate(trace.tolist()):
        hits.append(bool(cache.resident[column]))
        active[column] = True
        cache.update(active, None, t)
        active[column] = False
    return hits


def their_hits(name: str, trace: NDArray[np.int64], slots: int, **options: object) -> list[bool]:
    other = getattr(libcachesim, name)(cache_size=slots, hashpower=10, **options)
    hits = []
    for column in trace.tolist():
        request = libcachesim.Request()
        request.obj_id, request.obj_size = column, 1
        hits.append(bool(other.get(request)))
    return hits


class ForgetfulLruK(LruK):
    """LRU-K that forgets the uses of a column when it leaves, as libcachesim does."""

    def on_evict(self, columns: NDArray[np.int64], token: int) -> None:
        self._uses[:, columns] = -1


@pytest.mark.parametrize("trace", TRACES.values(), ids=TRACES)
@pytest.mark.parametrize(
    ("policy", "theirs", "options", "sizes"),
    [
        (make("clock"), "Clock", {}, (1, 2, 7, 24, 45)),
        (make("sieve"), "Sieve", {}, (1, 2, 7, 24, 45)),
        # Theirs admits nothing where its small queue would hold less than two objects.
        (make("s3-fifo"), "S3FIFO", {}, (20, 24, 29, 45, 70)),
        (
            make("s3-fifo", small=0.3, ghosts=0.55),
            "S3FIFO",
            {"small_size_ratio": 0.3, "ghost_size_ratio": 0.55},
            (7, 11, 24),
        ),
        # Theirs admits nothing where its first queue would hold none.
        (make("two-queue"), "TwoQ", {}, (4, 5, 7, 24, 45)),
        (
            make("two-queue", a1_in=0.5, a1_out=0.8),
            "TwoQ",
            {"a_in_size_ratio": 0.5, "a_out_size_ratio": 0.8},
            (2, 7, 24),
        ),
        (make("arc"), "ARC", {}, (1, 2, 3, 7, 24, 45)),
        (make("lru-k", k=1), "LRUK", {"k": 1}, (1, 7, 45)),
        # With k above 2 theirs orders columns of fewer uses by their first use, ours by their last.
        (ForgetfulLruK(), "LRUK", {}, (1, 2, 7, 24, 45)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_hit_equals_libcachesim(
    policy: object, theirs: str, options: dict[str, float], sizes: tuple[int, ...], trace: NDArray[np.int64]
) -> None:
    for slots in sizes:
        assert our_hits(copy.deepcopy(policy), trace, slots) == their_hits(theirs, trace, slots, **options), slots


@pytest.mark.parametrize("slots", [100, 200, 350])
def test_w_tinylfu_hits_about_as_often_as_libcachesim(slots: int) -> None:
    """Theirs counts in a sketch, not in the window, once more on leaving it, and halves less often: within 2 points as
    long as popularity stays; one slot in a hundred is its window. Other policies are farther off."""
    popularity = 1 / np.arange(1, 1001) ** 0.8
    trace = np.random.default_rng(3).choice(1000, 8000, p=popularity / popularity.sum())
    theirs = np.mean(their_hits("WTinyLFU", trace, slots))
    assert abs(np.mean(our_hits(make("w-tinylfu"), trace, slots)) - theirs) < 0.02
    for other in ("lru", "arc"):
        assert abs(np.mean(our_hits(make(other), trace, slots)) - theirs) > 0.02


@pytest.mark.parametrize("slots", [7, 24, 45])
def test_random_hits_about_as_often_as_libcachesim(slots: int) -> None:
    trace = zipf_trace(0, length=6000)
    assert abs(np.mean(our_hits(Random(), trace, slots)) - np.mean(their_hits("Random", trace, slots))) < 0.02
    assert abs(np.mean(our_hits(make("lfu"), trace, slots)) - np.mean(their_hits("Random", trace, slots))) > 0.02


def test_random_is_seeded_and_fair() -> None:
    def left(policy: Random, place: Place, sequences: int = 1) -> list[list[int]]:
        chosen = []
        for _ in range(sequences):
            policy.start(place)
            for _ in range(400):
                out = np.zeros(10, np.bool_)
                policy.victims(np.arange(10) < 8, 2, out)
                chosen.append(np.flatnonzero(out).tolist())
        return chosen

    place = Place(10, 5, 3, "down")
    draws = left(Random(seed=1), place)
    assert left(Random(seed=1), place, 2) == draws * 2
    assert draws not in (
        left(Random(seed=2), place),
        left(Random(seed=1), Place(10, 5, 4, "down")),
        left(Random(seed=1), Place(10, 5, 3, "up")),
    )
    counts = np.bincount(np.concatenate([*draws]), minlength=10)
    assert not counts[8:].any()
    # 400 draws of 2 out of 8: 100 each, give or take four standard deviations.
    assert (np.abs(counts[:8] - 100) < 4 * np.sqrt(400 * 0.25 * 0.75)).all()


def last_state(policy: object, rows: list[list[int]], n: int, slots: int) -> set[int]:
    return replay(WeightCache(Place(n, slots), policy, "always"), masks_of(rows, n))[-1]  # type: ignore[arg-type]


def test_lfu_decay_lies_between_lfu_and_lru() -> None:
    """0 was used three times long ago, 1 twice since: a long half-life keeps 0, a short one 1; 2 needs the place."""
    rows = [[0], [0], [0], [1], [1], [2]]
    assert last_state(make("lfu-decay", half_life=1000.0), rows, 3, 2) == last_state(make("lfu"), rows, 3, 2) == {0, 2}
    assert last_state(make("lfu-decay", half_life=0.5), rows, 3, 2) == last_state(make("lru"), rows, 3, 2) == {1, 2}


@pytest.mark.parametrize("admission", ADMISSIONS)
def test_a_window_is_what_the_last_tokens_used(admission: Admission) -> None:
    """Where all of it fits, nothing less and nothing more; where it never does, it is `lru`."""
    masks, _ = batches(4, 60, 80, 9)
    for k in (1, 2, 5, 79):
        cache = WeightCache(Place(60, 60), make("window", k=k), admission)
        for t, state in enumerate(replay(cache, masks)):
            assert state == set(np.flatnonzero(masks[max(0, t - k + 1) : t + 1].any(axis=0)).tolist()), (k, t)
    ours, lru = (replay(WeightCache(Place(60, 8), make(*own), admission), masks) for own in (("window",), ("lru",)))
    assert sum(one != other for one, other in zip(ours, lru, strict=True)) < 8
    with pytest.raises(DipsimError, match="k: got 0; must be a whole number from 1 to 1,000,000"):
        make("window", k=0)


def test_lfu_decay_without_decay_is_lfu_ties_included() -> None:
    masks, _ = batches(3, 40, 60, 6)
    states = [
        replay(WeightCache(Place(40, 20), policy, "always"), masks)
        for policy in (make("lfu-decay", half_life=1e18), make("lfu"))
    ]
    assert states[0] == states[1]


def test_lfu_decay_outlives_any_number_of_tokens() -> None:
    """Counts that have faded to nothing are tied, and last use decides."""
    cache = WeightCache(Place(4, 3), make("lfu-decay", half_life=0.01), "always")
    states = replay(cache, masks_of([[1], [0], *[[2]] * 3000, [3]], 4))
    assert states[-1] == {0, 2, 3}
    assert np.isfinite(cache.policy.priority).all()  # type: ignore[attr-defined]


def test_statistics_survive_eviction() -> None:
    """0 leaves and comes back: its earlier uses count, and ghosts take it to the main queue."""
    rows = [[0], [1], [2], [0], [3], [4]]
    assert last_state(make("lru-k"), rows, 5, 2) == {0, 4}
    assert last_state(ForgetfulLruK(), rows, 5, 2) == {3, 4}
    # two-queue: 0 left the first queue, is remembered, and comes back to the queue that a scan does not reach.
    scan = [[0], [1], [2], [3], [4], [0], [5], [6], [7], [8], [9], [1]]
    assert 0 in last_state(make("two-queue"), scan, 10, 4)
    assert 0 not in last_state(make("two-queue", a1_out=0.0), scan, 10, 4)
    assert 0 in last_state(make("s3-fifo"), scan, 10, 4)
    assert 0 not in last_state(make("s3-fifo", ghosts=0.0), scan, 10, 4)


def test_static_counts_once_over_all_sequences() -> None:
    policy = make("static", calibration_tokens=4)
    cache = WeightCache(Place(5, 2), policy, "priority")
    replay(cache, masks_of([[0, 1], [1, 2], [2, 3]], 5))
    cache.start()
    # The fourth token is the last that counts: 1 and 2 were used twice, 3 twice, 4 thereafter however often.
    states = replay(cache, masks_of([[3, 4], *[[4, 0]] * 6, [1, 2], [3, 0]], 5))
    assert states[-1] == {2, 3}
    assert policy.priority.tolist() == [1, 2, 2, 2, 1]  # type: ignore[attr-defined]


def test_static_reads_a_file_of_its_own_layer_and_group(tmp_path: Path) -> None:
    path = tmp_path / "counts.npz"
    save_use_counts(path, {(0, "down"): np.array([9, 0, 5, 1]), (1, "down"): np.array([0, 9, 0, 5])})
    for layer, kept in ((0, {0, 2}), (1, {1, 3})):
        cache = WeightCache(Place(4, 2, layer, "down"), make("static", path=str(path)), "priority")
        assert replay(cache, masks_of([[0, 1], [2, 3], [0, 1, 2, 3]], 4))[-1] == kept


def test_static_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    def start(path: Path, place: Place) -> None:
        make("static", path=str(path)).start(place)

    good, bad, empty = tmp_path / "good.npz", tmp_path / "bad.npz", tmp_path / "empty.npz"
    save_use_counts(good, {(0, "down"): np.array([1, 2, 3])})
    bad.write_bytes(good.read_bytes()[:60])
    empty.write_bytes(b"")
    array = tmp_path / "array.npy"
    np.save(array, np.arange(3))
    nan = tmp_path / "nan.npz"
    np.savez(nan, **{"0/down": np.array([1.0, np.nan, 2.0])})
    with pytest.raises(DipsimError, match=r"path: got '.*none\.npz'; must be a file"):
        make("static", path=str(tmp_path / "none.npz"))
    with pytest.raises(DipsimError, match=r"good\.npz: has no array '1/down'; did you mean '0/down'"):
        start(good, Place(3, 1, 1, "down"))
    with pytest.raises(DipsimError, match=r"array '0/down', got shape \(3,\); must be one finite count for each of 4"):
        start(good, Place(4, 1, 0, "down"))
    with pytest.raises(DipsimError, match="must be one finite count"):
        start(nan, Place(3, 1, 0, "down"))
    for path in (bad, empty, array):
        with pytest.raises(DipsimError, match="cannot be read as a zip"):
            start(path, Place(3, 1, 0, "down"))


@pytest.mark.parametrize("name", ["magnitude", "magnitude-blend"])
def test_magnitudes_without_scores_evict_the_lowest_index(name: str) -> None:
    assert last_state(make(name), [[3], [1], [2], [0]], 4, 2) == {0, 3}


def test_the_blend_of_one_average_is_its_order_of_capped_multiples() -> None:
    """One huge score of column 0 outweighs two fair ones of column 1 in the plain average, not in the capped one."""
    scores = np.array([[100, 2, 1, 0], [0, 2, 1, 1], [0, 2, 1, 1], [0, 0, 1, 2]], np.float16)
    masks = masks_of([[0, 1], [1, 2], [1, 2], [3, 2]], 4)
    plain = WeightCache(Place(4, 3), make("magnitude"), "always")
    blend = WeightCache(Place(4, 3), make("magnitude-blend", short_weight=0.0, last_weight=0.0), "always")
    assert replay(plain, masks, scores)[-1] == {0, 2, 3}
    assert replay(blend, masks, scores)[-1] == {1, 2, 3}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("random", {"seed": -1}, "seed: got -1; must be a whole number from 0"),
        ("random", {"seed": 0.5}, "seed: got 0.5; must be a whole number"),
        ("lfu-decay", {"half_life": 0}, "half_life: got 0; must be above 0 tokens"),
        ("lfu-decay", {"half_life": float("nan")}, "half_life: got nan"),
        ("magnitude", {"half_life": -1}, "half_life: got -1; must be above 0 tokens"),
        ("magnitude-blend", {"half_life": 0}, "half_life: got 0; must be above 0 tokens"),
        ("magnitude-blend", {"short_half_life": 0}, "short_half_life: got 0; must be above 0 tokens"),
        ("magnitude-blend", {"short_weight": -1.0}, "short_weight: got -1.0; a weight from 0 to 1,000,000"),
        ("magnitude-blend", {"last_weight": float("nan")}, "last_weight: got nan"),
        ("lru-k", {"k": 0}, "k: got 0; must be a whole number from 1 to 64"),
        ("static", {"calibration_tokens": 0}, "calibration_tokens: got 0"),
        ("s3-fifo", {"small": 1.0}, "small: got 1.0; a share of the slots between 0 and 1"),
        ("s3-fifo", {"ghosts": -0.1}, "ghosts: got -0.1; a share of the slots, from 0"),
        ("two-queue", {"a1_in": 0.0}, "a1_in: got 0.0"),
        ("two-queue", {"a1_out": float("nan")}, "a1_out: got nan"),
        ("w-tinylfu", {"window": float("nan")}, "window: got nan"),
    ],
)
def test_options_out_of_range_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError, match=message):
        make(name, **options)


@pytest.mark.parametrize(
    "name", ["random", "lfu-decay", "static", "magnitude", "magnitude-blend", "clock", "s3-fifo", "w-tinylfu"]
)
def test_a_policy_is_its_name_and_options_again(name: str) -> None:
    same_name, options = name_and_options(make(name))
    assert same_name == name
    assert make(name, **options).__dict__ == make(name).__dict__
    assert not {"kind", "needs_scores"} & set(options)


def test_options_are_kept() -> None:
    assert name_and_options(make("s3-fifo", small=0.2)) == ("s3-fifo", {"small": 0.2, "ghosts": 0.9})
    assert name_and_options(make("magnitude", half_life=5.0)) == ("magnitude", {"half_life": 5.0})
