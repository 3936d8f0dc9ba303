"""The columns of lowest priority: who leaves a cache."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import count_set, ctpop64, cttz64
from dipsim.kernels.compiled_code import entry, inner
from dipsim.kernels.lanes import at_least
from dipsim.kernels.selection import add_best, n_few

_PATIENCE = 8


@inner
def _find_lower(keys, candidates, value, found):  # type: ignore[no-untyped-def]
    """Sets `found` to the candidates whose key is lower than the value. Returns how many they are."""
    total, bound = np.int64(0), keys.dtype.type(value)
    for w in range(candidates.size):
        found[w] = candidates[w] & ~at_least(keys, w, bound)
        total += ctpop64(found[w])
    return total


@inner
def _narrow(keys, candidates, n_candidates, n, highest, guess, sets):  # type: ignore[no-untyped-def]
    """Moves from the candidates to `sets[0]` those that are among the n of lowest key for certain: what stays is few,
    or of one key. Returns how many stay, and how many of these are among the n."""
    lower, upper, found = sets[1], sets[2], sets[3]
    low, high, n_lower, n_upper = np.int64(0), np.int64(highest + 1), np.int64(0), n_candidates
    for w in range(candidates.size):
        lower[w], upper[w] = np.uint64(0), candidates[w]
    probe, per_column, passes = min(max(guess[0], 1), highest), guess[1] * 2.0**-16, 0
    last, n_last, few = np.int64(0), np.int64(0), n_few(candidates.size)
    while high - low > 1 and n_upper - n_lower > few and n_lower < n:
        n_found = _find_lower(keys, candidates, probe, found)
        passes += 1
        if passes > 1 and n_found != n_last:  # the secant through the last two
            per_column = abs(probe - last) / abs(n_found - n_last)
            guess[1] = min(max(np.int64(per_column * 2.0**16), 1), 2**24)
        last, n_last = probe, n_found
        step = np.int64(abs(n_found - n) * per_column) + 1
        if n_found <= n:
            low, n_lower, probe = probe, n_found, probe + step
            lower, found = found, lower
        else:
            high, n_upper, probe = probe, n_found, probe - step
            upper, found = found, upper
        if passes > _PATIENCE:  # not a smooth distribution
            probe = (low + high) >> 1
        probe = min(max(probe, low + 1), high - 1)
    guess[0] = low
    for w in range(candidates.size):
        sets[0, w] |= lower[w]
        candidates[w] = upper[w] & ~lower[w]
    return n_upper - n_lower, n - n_lower


@inner
def _add_first(columns, n, marked):  # type: ignore[no-untyped-def]
    """Adds the first n of a set."""
    for w in range(columns.size):
        own = columns[w]
        while n > 0 and own != 0:
            first = own & (~own + np.uint64(1))
            marked[w] |= first
            own ^= first
            n -= 1


@entry
def mark_lowest(counts, times, by_count, candidates, n, highest, guess, marked):  # type: ignore[no-untyped-def]
    """Sets `marked` to the n candidates of lowest priority; of equal ones to those of lower index.

    Args:
        counts, times: uint16 or int32 [column], in whole words, at least 0.
        by_count: priority is the count, then the time; else the time alone.
        candidates: uint64 [word], a set of at least n columns.
        n: at least 1.
        highest: what no count and no time exceeds; one more is a number of their kind, too.
        guess: int64 [2, 2], where to begin, a count and a time, and how far two columns are apart in it, in 2**-16;
            updated. Any is right, those of a similar search are fast.
        marked: uint64 [word], to be filled; may be the candidates.
    """
    sets = np.empty((4, candidates.size), np.uint64)
    sets[0, :] = np.uint64(0)
    left, n_left = candidates.copy(), count_set(candidates)
    if by_count:
        n_left, n = _narrow(counts, left, n_left, n, highest, guess[0], sets)
    if not by_count or n_left > n_few(left.size):
        n_left, n = _narrow(times, left, n_left, n, highest, guess[1], sets)
    for w in range(marked.size):
        marked[w] = sets[0, w]
    if n_left > n_few(left.size):
        _add_first(left, n, marked)
    elif n > 0:
        columns, keys, i = np.empty(n_left, np.int32), np.empty(n_left, np.int64), 0
        for w in range(left.size):
            own = left[w]
            while own != 0:
                column = 64 * w + cttz64(own)
                count = np.int64(counts[column]) if by_count else np.int64(0)
                columns[i], keys[i] = column, -((count << 32) | np.int64(times[column]))
                own &= own - np.uint64(1)
                i += 1
        add_best(columns, keys, n, marked)
