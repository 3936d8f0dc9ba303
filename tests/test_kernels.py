"""Every kernel equals its plain twin, ties, zeros and borders included."""

from __future__ import annotations

import math
from fractions import Fraction

import numba
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dipsim import kernels
from dipsim.kernels.chance import draw
from dipsim.kernels.lanes import add_where, at_least, set_where
from dipsim.kernels.lowest_priority import mark_lowest_priority
from dipsim.kernels.scores import score_value

# Few levels make ties; 0 and the smallest subnormal are always among them.
TIED = st.sampled_from([0.0, 6e-8, 1e-7, 0.25, 0.5, 0.75, 1.0, 3.0, 65504.0])
ANY = st.floats(0, 65504, width=16)


@st.composite
def score_arrays(draw: st.DrawFn) -> NDArray[np.float16]:
    values = draw(st.lists(draw(st.sampled_from([TIED, ANY])), min_size=1, max_size=80))
    return np.abs(np.array(values, np.float16))


@st.composite
def scores_and_k(draw: st.DrawFn) -> tuple[NDArray[np.float16], int]:
    scores = draw(score_arrays())
    return scores, draw(st.one_of(st.just(1), st.just(scores.size), st.integers(1, scores.size)))


def chosen_by_kernel(keys: NDArray[np.generic], k: int) -> NDArray[np.bool_]:
    mask = np.ones(keys.size, np.bool_)
    kernels.top_k(keys, k, mask)
    return mask


def bools(size: int, seed: int) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random(size) < 0.5


@settings(deadline=None)
@given(scores_and_k())
def test_top_k_of_scores(case: tuple[NDArray[np.float16], int]) -> None:
    scores, k = case
    np.testing.assert_array_equal(chosen_by_kernel(scores.view(np.uint16), k), reference.top_k(scores, k))


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=60), st.data())
def test_top_k_of_wide_integers(values: list[int], data: st.DataObject) -> None:
    keys = np.array(values, np.int64)
    k = data.draw(st.integers(0, keys.size))
    np.testing.assert_array_equal(chosen_by_kernel(keys, k), reference.top_k(keys, k))


def test_top_k_of_a_whole_layer() -> None:
    rng = np.random.default_rng(3)
    scores = np.abs(rng.standard_normal(17920) * rng.standard_normal(17920)).astype(np.float16)
    for k in (1, 6289, 17920):
        np.testing.assert_array_equal(chosen_by_kernel(scores.view(np.uint16), k), reference.top_k(scores, k))


@settings(deadline=None)
@given(scores_and_k(), st.integers(0, 99), st.sampled_from([0.0, 1e-40, 0.2, 0.6, 1.0]))
def test_blended_keys(case: tuple[NDArray[np.float16], int], seed: int, gamma: float) -> None:
    scores, k = case
    resident = bools(scores.size, seed)
    keys = np.empty(scores.size, np.int32)
    kernels.blended_keys(scores.view(np.uint16), resident, np.float32(gamma), keys)
    blended = reference.blended(scores, resident, gamma)
    np.testing.assert_array_equal(keys.view(np.float32), blended)
    np.testing.assert_array_equal(chosen_by_kernel(keys, k), reference.top_k(blended, k))


@settings(deadline=None, max_examples=300)
@given(
    scores_and_k(),
    st.integers(0, 99),
    st.sampled_from([0.0, 1e-40, 1e-6, 0.2, 0.6, 0.999, 1.0]),
    st.integers(1, 0x7BFF),
)
def test_reweighted_top_k(case: tuple[NDArray[np.float16], int], seed: int, gamma: float, guess: int) -> None:
    scores, k = case
    favoured, chosen = bools(scores.size, seed), np.ones(scores.size, np.bool_)
    kernels.reweighted_top_k(scores.view(np.uint16), favoured, np.float32(gamma), k, guess, chosen)
    np.testing.assert_array_equal(chosen, reference.top_k(reference.reweighted(scores, favoured, gamma), k))


def test_keys_may_be_one_above_the_largest_score() -> None:
    keys, chosen = np.array([0x7BFF, 0x7C00, 0x7BFF, 0x7C00, 0x7C00], np.uint16), np.zeros(5, np.bool_)
    for k, expected in ((1, [1]), (2, [1, 3]), (3, [1, 3, 4]), (4, [0, 1, 3, 4])):
        kernels.reweighted_top_k(keys, np.ones(5, np.bool_), np.float32(1), k, kernels.ANY_THRESHOLD, chosen)
        assert np.flatnonzero(chosen).tolist() == expected


@pytest.mark.parametrize("gamma", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("n_levels", [0, 5])
def test_reweighted_top_k_of_more_columns_than_a_count_holds(gamma: float, n_levels: int) -> None:
    rng = np.random.default_rng(4)
    values = np.abs(rng.standard_normal(70_000))
    scores = (np.round(values * n_levels) / n_levels if n_levels else values).astype(np.float16)
    favoured = rng.random(scores.size) < 0.5
    for k in (1, 30_000, 69_999):
        chosen = np.zeros(scores.size, np.bool_)
        kernels.reweighted_top_k(scores.view(np.uint16), favoured, np.float32(gamma), k, kernels.ANY_THRESHOLD, chosen)
        np.testing.assert_array_equal(chosen, reference.top_k(reference.reweighted(scores, favoured, gamma), k))
        assert kernels.count_true(chosen) == k


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 1, 2, 3, 700, 2**31 - 5])), min_size=1, max_size=90),
    st.booleans(),
    st.integers(0, 99),
    st.tuples(st.integers(0, 2**31 - 5), st.integers(0, 900)),
    st.data(),
)
def test_mark_lowest(
    priorities: list[tuple[int, int]], by_count: bool, seed: int, guess: tuple[int, int], data: st.DataObject
) -> None:
    counts, times = (np.array(values, np.int32) for values in zip(*priorities, strict=True))
    candidates = bools(times.size, seed)
    candidates[0] = True
    n = data.draw(st.integers(1, int(candidates.sum())))
    highest = max(counts.max(), times.max())
    order = sorted(np.flatnonzero(candidates).tolist(), key=lambda c: (counts[c] if by_count else 0, times[c], c))
    among, marked = kernels.pack_bits(candidates[None])[0], np.full((1, -(-times.size // 64)), 2**64 - 1, np.uint64)
    for kind in (np.uint16, np.int32) if highest < 0xFFFF else (np.int32,):
        uses, last = (np.resize(values.astype(kind), 64 * among.size) for values in (counts, times))
        kernels.mark_lowest(
            uses, last, by_count, among, n, highest, np.array([guess, guess[::-1]], np.int64), marked[0]
        )
        found = kernels.unpack_bits(marked, times.size)[0]
        assert sorted(np.flatnonzero(found).tolist()) == sorted(order[:n])


def test_every_float16_becomes_its_float32() -> None:
    bits = np.arange(kernels.LARGEST_FINITE + 1, dtype=np.uint16)
    values = np.empty(bits.size, np.float32)
    kernels.score_values(bits, values)
    np.testing.assert_array_equal(values, bits.view(np.float16).astype(np.float32))
    assert [score_value(int(b)) for b in bits[::7]] == values[::7].tolist()


@pytest.mark.parametrize("kind", ["uint16", "int32"])
def test_lanes_are_64_numbers_each(kind: str) -> None:
    """Of two words the second: compared, set and counted up where bits are, the first as it was."""
    rng = np.random.default_rng(7)
    numbers = rng.integers(0, np.iinfo(kind).max, 128).astype(kind)
    numbers[70] = value = numbers[100]
    flags = rng.random((1, 128)) < 0.5

    @numba.njit
    def lanes(numbers, bits, value):  # type: ignore[no-untyped-def]
        found = at_least(numbers, 1, value)
        add_where(numbers, 1, bits)
        more = numbers.copy()
        set_where(more, 1, bits, value)
        return found, more

    before = numbers.copy()
    found, more = lanes(numbers, kernels.pack_bits(flags)[0, 1], value)
    assert found == kernels.pack_bits((before >= value)[None])[0, 1]
    there = flags[0] & (np.arange(128) >= 64)
    np.testing.assert_array_equal(numbers, before + there)
    np.testing.assert_array_equal(more, np.where(there, value, numbers))


@settings(deadline=None)
@given(score_arrays(), st.integers(0, 99))
def test_score_sum_is_exact(scores: NDArray[np.float16], seed: int) -> None:
    active = bools(scores.size, seed)
    total, kept, share = kernels.score_sum(scores.view(np.uint16), active)
    squares = [Fraction(score) ** 2 for score in scores.tolist()]
    exact = sum(s for s, own in zip(squares, active, strict=True) if own) / sum(squares) if any(squares) else 1
    assert share * kernels.SHARE_ULP == pytest.approx(float(exact), abs=1e-6)
    assert total * kernels.ULP == math.fsum(scores.tolist())
    assert kept * kernels.ULP == math.fsum(scores[active].tolist())


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([-3.5, -1.0, -0.0, 0.0, 1e-300, 2.0, 1e18, math.inf]), min_size=1, max_size=40),
    st.integers(0, 99),
    st.data(),
)
def test_choose_victims(priorities: list[float], seed: int, data: st.DataObject) -> None:
    priority = np.array(priorities)
    candidates = bools(priority.size, seed)
    n_victims = data.draw(st.integers(0, int(candidates.sum())))
    victims = np.ones(priority.size, np.bool_)
    kernels.choose_victims(priority, candidates, n_victims, victims)
    order = sorted(np.flatnonzero(candidates).tolist(), key=lambda c: (priority[c], c))
    assert sorted(np.flatnonzero(victims).tolist()) == sorted(order[:n_victims])


@settings(deadline=None)
@given(st.sampled_from([0, 1, 8, 63, 64, 65, 127, 128, 200]), st.integers(0, 4), st.integers(0, 99))
def test_bit_sets(n_columns: int, n_tokens: int, seed: int) -> None:
    flags = bools(n_tokens * n_columns, seed).reshape(n_tokens, n_columns)
    words = kernels.pack_bits(flags)
    assert words.tolist() == [reference.bit_set(row) for row in flags]
    assert kernels.count_bits(words).tolist() == [sum(row) for row in flags.tolist()]
    assert kernels.unpack_bits(words, n_columns).tolist() == flags.tolist()
    assert kernels.pack_bits(np.asfortranarray(flags)).tolist() == words.tolist()


@settings(deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=71, max_size=71), min_size=1, max_size=4),
    st.sampled_from([1.0, 76.5, 100.0, 2560.0, 4096.0, 5000.0, 17920.0]),
    st.sampled_from([1, 512, 4096, 16384]),
    st.sampled_from([0, 1, 4096, 9000, 40000]),
    st.none() | st.integers(0, 1000),
    st.sampled_from([3, 4, 5]),
)
def test_batch_reads(
    wanted: list[list[bool]], column_bytes: float, page_bytes: int, gap_bytes: int, seed: int | None, n_costs: int
) -> None:
    """Any cost of a read of so many pages, summed over the reads that the plain twin forms."""
    masks, n = np.array(wanted), len(wanted[0])
    places = np.empty(0, np.int32)
    lying = masks
    if seed is not None:
        places = np.random.default_rng(seed).permutation(n).astype(np.int32)
        lying = np.empty_like(masks)
        lying[:, places] = masks
    starts = np.array([math.floor(i * column_bytes / page_bytes) for i in range(n)], np.int32)
    stops = np.array([math.ceil((i + 1) * column_bytes / page_bytes) for i in range(n)], np.int32)
    pages = np.arange(stops[-1] + 1.0)
    costs = np.stack([pages, pages > 0, np.sqrt(pages), pages**2, np.cbrt(pages)])[:n_costs]
    region = starts, stops, gap_bytes // page_bytes, kernels.costs_by_read(costs)
    totals = kernels.batch_reads(kernels.pack_bits(masks), places, *region)
    for mask, total in zip(lying, totals, strict=True):
        sizes = [size // page_bytes for size in reference.read_sizes(mask, column_bytes, page_bytes, gap_bytes)]
        assert total[:n_costs].tolist() == [sum(own[sizes].tolist()) for own in costs]  # added up in the same order


def test_next_uses_across_two_blocks() -> None:
    active = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], np.bool_)
    never = np.iinfo(np.int32).max
    after = np.full(3, never, np.int32)
    later, earlier = np.empty((2, 3), np.int32), np.empty((2, 3), np.int32)
    kernels.next_uses(active[2:], 2, after, later)
    kernels.next_uses(active[:2], 0, after, earlier)
    assert earlier.tolist() == [[2, 1, never], [2, never, never]]
    assert later.tolist() == [[never] * 3, [never] * 3]
    assert after.tolist() == [0, 1, never]


def test_first_bad_score() -> None:
    scores = np.array([0, 1, 65504, np.inf, 2], np.float16)
    assert kernels.first_bad(scores[:3].view(np.uint16)) == -1
    assert kernels.first_bad(scores.view(np.uint16)) == 3
    assert kernels.first_bad(np.array([1, -1], np.float16).view(np.uint16)) == 1
    assert kernels.first_bad(np.array([np.nan], np.float16).view(np.uint16)) == 0


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1)), max_size=80))
def test_word_sum(values: list[int]) -> None:
    words = np.array(values, np.int64)
    assert kernels.word_sum(words) == reference.word_sum(words)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(1, 9), st.data())
def test_columns_are_added(n_columns: int, n_rows: int, data: st.DataObject) -> None:
    """Whole numbers, so that the order of sums does not matter."""
    active = np.array(sorted(data.draw(st.sets(st.integers(0, n_columns - 1)))), np.int64)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    columns = rng.integers(-8, 9, (n_columns, n_rows)).astype(np.float32)
    factors, out = rng.integers(-8, 9, active.size).astype(np.float32), np.ones(n_rows, np.float32)
    kernels.add_columns(columns, active, factors, out)
    assert out.tolist() == reference.add_columns(columns, active, factors, np.ones(n_rows, np.float32))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(0, 6), st.integers(0, 2**64 - 1), st.integers(-20, 12), st.integers(0, 99))
def test_synthetic_scores(n_columns: int, n_tokens: int, place: int, scale_log2: int, seed: int) -> None:
    """Magnitudes from far below the table to far above; below the normal range a score may be one unit off."""
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal(1 << 16).astype(np.float32)
    gain, static, slow, fast = rng.standard_normal((4, n_columns)).astype(np.float32)
    gain = np.ldexp(np.abs(gain), scale_log2)
    first_steps, steps = (tuple(row) for row in rng.random((2, 6)).astype(np.float32))
    steep = np.sort(np.exp2(rng.uniform(-26, 15.9, kernels.BEND_OCTAVES * kernels.BEND_STEPS + 1))).astype(np.float32)
    starts = rng.random(n_tokens) < 0.3
    slow_before, fast_before = slow.copy(), fast.copy()
    scores = np.zeros((n_tokens, n_columns), np.uint16)
    state = starts, normals, gain, static, first_steps, steps
    kernels.synthetic_scores(np.uint64(place), *state, slow, fast, steep, scores)
    expected = reference.synthetic_scores(place, *state, slow_before, fast_before, steep)
    np.testing.assert_array_equal(slow, slow_before)
    np.testing.assert_array_equal(fast, fast_before)
    smallest_normal = 1 << 10
    off = np.abs(scores.astype(int) - expected.view(np.uint16).astype(int))
    assert (off <= (expected.view(np.uint16) <= smallest_normal)).all()


def test_random_bits_are_those_of_splitmix64() -> None:
    """The first outputs for seed 0, as published with the generator (Steele, Lea, Flood 2014; Vigna's C code): state
    advances by the same odd constant that a place is multiplied by."""
    assert [reference.random_bits(place) for place in (1, 2, 3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(
        st.tuples(
            *(st.integers(0, 50), st.just(0.0) | st.floats(1, 1e6), st.sampled_from([0.0, 0.1])),
            st.lists(st.floats(1e-6, 1), min_size=4, max_size=4),
        ),
        min_size=1,
    ),
    st.sampled_from([0.0, 1e-4]),
    st.sampled_from([1.0, 3.0, 40.0, math.inf]),
    st.sampled_from([(1.0,), (4.0,), (1.0, 4.0), (2.0, 8.0, 32.0), (1.0, 2.0, 16.0, 128.0)]),
    st.booleans(),
    st.sampled_from([(0.0, 1), (1e-4, 1), (0.02, 1), (0.02, 3)]),
)
def test_times_of_batches(
    batches: list[tuple[int, float, float, list[float]]],
    latency_s: float,
    deepest: float,
    depths: tuple[float, ...],
    has_depths: bool,
    submitting: tuple[float, int],
) -> None:
    depths = depths if has_depths else (1.0,)
    costs = np.array([[n_reads, *seconds[: len(depths)]] for n_reads, _, _, seconds in batches])
    n_bytes, copy_s = (np.array([batch[i] for batch in batches]) for i in (1, 2))
    sums = np.column_stack([n_bytes / 2, copy_s, n_bytes, costs])
    derated, out = np.column_stack([costs[:, 0], costs[:, 1:] / 0.7]), np.empty((7, len(batches)))
    given = 1e7, latency_s, deepest, np.array(depths), has_depths, *submitting
    kernels.time_batches(sums, 0.7, *given, out)
    assert out[:3].tolist() == [costs[:, 0].tolist(), (n_bytes / 2).tolist(), n_bytes.tolist()]
    assert pytest.approx(reference.batch_times(n_bytes, copy_s, derated, *given), rel=1e-9) == out[3:].T


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1e12), max_size=5),
    st.sampled_from([0.0, 4096.0]),
    st.sampled_from([np.inf, 4096.0, 1e5]),
    st.sampled_from([0.0, 1e-4]),
    st.sampled_from([(0.0, 1), (1e-5, 1), (0.02, 3)]),
)
def test_times_of_streams(
    wanted_bytes: list[float], page_bytes: float, longest_bytes: float, latency_s: float, submitting: tuple[float, int]
) -> None:
    """To the last bit: the engine that takes tokens one by one gives this one stream after another."""
    wanted, given = np.array(wanted_bytes), (page_bytes, longest_bytes, 3.1e9, latency_s, *submitting)
    batches = np.empty((7, len(wanted)))
    kernels.time_streams(wanted, *given, batches)
    assert batches.tolist() == reference.stream_times(wanted, *given).tolist()


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 999), st.sampled_from([0.0, 0.3, 0.7]))
def test_paths_of_stages(seed: int, share_absent: float) -> None:
    """Few different seconds, so that devices end together; some jobs take no time."""
    rng = np.random.default_rng(seed)
    shape = 2, 3, 5
    service_s, wait_s, gave_way_s = (rng.integers(0, 4, shape) * 1.0 for _ in range(3))
    service_s[rng.random(shape) < share_absent] = 0
    ready_s = rng.integers(0, 4, shape) * 1.0
    start_s = ready_s + wait_s
    end_s = start_s + service_s + gave_way_s
    jobs = np.stack([ready_s, start_s, end_s, start_s, service_s, gave_way_s, wait_s + gave_way_s], axis=-1)
    first_data_s, queued_s, more_s = (rng.integers(0, 4, shape[:2]) * 1.0 for _ in range(3))
    planned_s = np.where(service_s[:, :, 0] > 0, queued_s + more_s + 0.5, 0)
    queued_s = np.minimum(queued_s, planned_s)
    paths = np.empty((6, *shape[:2]))
    kernels.path_of_stages(jobs, first_data_s, planned_s, queued_s, paths)
    for t, s in np.ndindex(*shape[:2]):
        expected = reference.path_of_stage(jobs[t, s].tolist(), first_data_s[t, s], planned_s[t, s], queued_s[t, s])
        assert paths[:, t, s].tolist() == pytest.approx(expected, abs=1e-12)


def marked_lowest(
    priority: NDArray[np.float64], candidates: NDArray[np.bool_], n: int, span: NDArray[np.int64]
) -> NDArray[np.bool_]:
    sets = kernels.pack_bits(candidates[None])
    marked = np.empty_like(sets)
    mark_lowest_priority(priority, sets[0], n, span, marked[0])
    found: NDArray[np.bool_] = kernels.unpack_bits(marked, priority.size)[0]
    return found


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf]), min_size=1),
    st.integers(0, 10_000),
    st.tuples(st.integers(-(2**63) + 1, 2**63 - 1), st.integers(0, 2**58)),
)
def test_lowest_priorities_from_any_span(values: list[float], seed: int, span: tuple[int, int]) -> None:
    """Searched for twice: from anywhere, then from where they were."""
    rng, priority = np.random.default_rng(seed), np.array(values)
    candidates = rng.random(priority.size) < 0.8
    candidates[0] = True
    n = int(rng.integers(1, candidates.sum() + 1))
    where = np.array(span, np.int64)
    for _ in range(2):
        found = marked_lowest(priority, candidates, n, where)
        np.testing.assert_array_equal(found, reference.lowest_priority(priority, candidates, n))


@pytest.mark.parametrize("spread", [1.0, 1e-9, 0.0])
def test_lowest_priorities_in_a_crowd(spread: float) -> None:
    """More columns near the border than are looked at one by one, or all of them alike."""
    rng = np.random.default_rng(4)
    priority, candidates = 1000 + spread * rng.random(9000), rng.random(9000) < 0.9
    span = np.zeros(2, np.int64)
    for n in (4000, 4100, 700, 701):
        found = marked_lowest(priority, candidates, n, span)
        np.testing.assert_array_equal(found, reference.lowest_priority(priority, candidates, n))


def test_draws_are_numpys_bits() -> None:
    bits, drawn = np.random.PCG64([3, 1, 4]), np.empty(1000)
    pair = bits.state["state"]
    words = np.array([word for key in ("state", "inc") for word in divmod(pair[key], 2**64)], np.uint64)
    for _ in range(3):
        draw(words, drawn)
        np.testing.assert_array_equal(drawn, bits.random_raw(1000).astype(np.float64))
