"""Who leaves where priorities are numbers of any kind: the columns of lowest float64.

The border is looked for in a span of values where it was for the token before; only columns within are compared.
"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import count_set, ctpop64, cttz64, pack, unpack
from dipsim.kernels.compiled_code import entry, inner
from dipsim.kernels.lanes import at_least, set_where

# Above the bits of every number.
_NEVER = np.int64(0x7FFFFFFFFFFFFFFF)
# Columns that a span should hold, half its width at most, and how often a crowded one is halved.
_WITHIN, _WIDEST, _HALVINGS = 256, np.int64(2**58), 8


@inner
def _keys_of(priority, candidates, keys):  # type: ignore[no-untyped-def]
    """Integers in the order of the priorities, `_NEVER` for who is no candidate, in whole words."""
    bits, lowest = priority.view(np.int64), np.int64(-0x8000000000000000)
    for i in range(bits.size):
        own = np.int64(0) if bits[i] == lowest else bits[i]  # one zero of the two
        # A negative number's bits run backwards.
        keys[i] = own ^ ((own >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF))
    for w in range(candidates.size):
        set_where(keys, w, ~candidates[w], _NEVER)


@inner
def _count_from(keys, low, high):  # type: ignore[no-untyped-def]
    """How many keys are lower than a span, and how many are lower or within."""
    n_lower, n_not_higher = np.int64(0), np.int64(0)
    for w in range(keys.size // 64):
        n_lower += 64 - ctpop64(at_least(keys, w, low))
        n_not_higher += 64 - ctpop64(at_least(keys, w, high + 1))
    return n_lower, n_not_higher


@inner
def _below(value, step):  # type: ignore[no-untyped-def]
    """That much lower, but no lower than there are numbers."""
    return value - (step if value >= 0 else min(step, value + _NEVER))


@inner
def _above(value, step):  # type: ignore[no-untyped-def]
    """That much higher, but no higher than there are numbers."""
    return value + (step if value <= 0 else min(step, _NEVER - 1 - value))


@inner
def _find_span(keys, n, middle, width):  # type: ignore[no-untyped-def]
    """A span of values that the n-th lowest is in, how many keys are below it, and how many below or within: near the
    middle, or further and further on, and then halved while it is crowded."""
    low, high = _below(middle, width), _above(middle, width)
    n_lower, n_not_higher = _count_from(keys, low, high)
    while not n_lower < n <= n_not_higher:
        width = min(max(4 * width, 1 << 20), np.int64(2**60))
        if n_lower >= n:
            high = low - 1
            low = _below(high, width)
        else:
            low = high + 1
            high = _above(low, width)
        n_lower, n_not_higher = _count_from(keys, low, high)
    for _ in range(_HALVINGS):
        if n_not_higher - n_lower <= 2 * _WITHIN or low == high:
            break
        half = low + np.int64(np.uint64(high - low) >> np.uint64(1))
        _, n_half = _count_from(keys, half, half)
        if n_half >= n:
            high, n_not_higher = half, n_half
        else:
            low, n_lower = half + 1, n_half
    return low, high, n_lower, n_not_higher


@inner
def _split(keys, low, high, marked, columns):  # type: ignore[no-untyped-def]
    """Sets `marked` to the keys lower than a span, and fills in the columns within, ascending."""
    n = 0
    for w in range(marked.size):
        reaching = at_least(keys, w, low)
        marked[w] = ~reaching
        within = reaching & ~at_least(keys, w, high + 1)
        while within != 0:
            columns[n] = 64 * w + cttz64(within)
            within &= within - np.uint64(1)
            n += 1


@inner
def _value_of_rank(pool, rank):  # type: ignore[no-untyped-def]
    """The value that so many are lower than, or equal to if it is there more than once; moves them about."""
    low, high = 0, pool.size - 1
    while low < high:
        pivot = pool[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while pool[i] < pivot:
                i += 1
            while pool[j] > pivot:
                j -= 1
            if i <= j:
                pool[i], pool[j] = pool[j], pool[i]
                i, j = i + 1, j - 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            return pool[rank]
    return pool[rank]


@entry
def mark_lowest_priority(priority, candidates, n, span, marked):  # type: ignore[no-untyped-def]
    """Sets `marked` to the n candidates of lowest priority; of equal ones to those of lower index.

    Args:
        priority: float64 [column], none of them NaN.
        candidates: uint64 [word], a set as of `dipsim.kernels.bits`, at least n columns.
        n: at least 1.
        span: int64 [2], middle and half the width of where to look, updated; any is right, zeros for one of which
            nothing is known, that of a similar search is fast.
        marked: uint64 [word], to be filled.
    """
    if count_set(candidates) == n:
        marked[:] = candidates
        return
    keys = np.empty(64 * candidates.size, np.int64)
    _keys_of(priority, candidates, keys)
    low, high, n_lower, n_not_higher = _find_span(keys, n, span[0], span[1])
    n_within = n_not_higher - n_lower
    columns, pool = np.empty(n_within, np.int64), np.empty(n_within, np.int64)
    _split(keys, low, high, marked, columns)
    for j in range(n_within):
        pool[j] = keys[columns[j]]
    border, n_wanted = _value_of_rank(pool, n - n_lower - 1), n - n_lower
    for j in range(n_within):
        n_wanted -= np.int64(keys[columns[j]] < border)
    for j in range(n_within):
        key = keys[columns[j]]
        is_tie = key == border and n_wanted > 0
        if key < border or is_tie:
            marked[columns[j] >> 6] |= np.uint64(1) << np.uint64(columns[j] & 63)
        n_wanted -= np.int64(is_tie)
    is_near = abs(border - span[0]) <= span[1]
    span[0] = border
    if is_near and n_within > 2 * _WITHIN:
        span[1] //= 2
    elif not is_near or n_within < _WITHIN // 2:
        span[1] = min(2 * span[1] + 1, _WIDEST)


@entry
def choose_victims(priority, candidates, n_victims, victims):  # type: ignore[no-untyped-def]
    """Sets `victims` to the candidates of lowest priority, both bool [column]; equal priorities give up the lower index
    first."""
    sets = np.zeros((2, (priority.size + 63) // 64), np.uint64)
    pack(candidates, sets[0])
    if n_victims > 0:
        mark_lowest_priority(np.ascontiguousarray(priority), sets[0], n_victims, np.zeros(2, np.int64), sets[1])
    unpack(sets[1], victims)
