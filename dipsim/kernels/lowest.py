"""The columns of lowest priority: who leaves a cache."""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.selection import top_k

_NO_KEY = np.int64(0x7FFFFFFFFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def _count_below(keys, bound, next_bound):  # type: ignore[no-untyped-def]
    """How many keys lie below each of two bounds."""
    below, next_below = np.int64(0), np.int64(0)
    for i in range(keys.size):
        below += np.int64(keys[i] < bound)
        next_below += np.int64(keys[i] < next_bound)
    return below, next_below


@numba.njit(cache=True, nogil=True)
def _interval_of(keys, n, low, high, shift, guess):  # type: ignore[no-untyped-def]
    """The p in [low, high] for which the n-th lowest key lies in [p << shift, (p + 1) << shift), and how many keys lie
    below that."""
    probe, step = min(max(guess, low), high), np.int64(1)
    while True:
        below, next_below = _count_below(keys, probe << shift, (probe + 1) << shift)
        if below >= n:
            high = probe - 1
            jump = probe - step
        elif next_below < n:
            low = probe + 1
            jump = probe + step
        else:
            return probe, below
        step *= 4
        middle = low + ((high - low) >> 1)
        probe = jump if abs(jump - probe) < abs(middle - probe) else middle
        probe = min(max(probe, low), high)


@numba.njit(cache=True, nogil=True)
def mark_lowest(priority, candidates, n, scratch, guess, marked):  # type: ignore[no-untyped-def]
    """Sets `marked` to the n candidates of lowest priority; of equal ones to those of lower index.

    Args:
        priority: int64 [column], below 2**62. Its upper and lower 32 bits are searched one after the other, which suits
            a count above a time.
        candidates: bool [column], at least n of them.
        n: at least 1.
        scratch: int64 [column].
        guess: int64 [2], where to begin; updated.
        marked: bool [column], to be filled.
    """
    lowest, highest = _NO_KEY, -_NO_KEY
    for i in range(priority.size):
        key = priority[i] if candidates[i] else _NO_KEY
        scratch[i] = key
        lowest = min(lowest, key)
        highest = max(highest, priority[i] if candidates[i] else -_NO_KEY)
    upper = lowest >> 32
    if upper < highest >> 32:
        upper, _ = _interval_of(scratch, n, upper, highest >> 32, 32, guess[0])
    base = upper << 32
    low, high = max(lowest, base), min(highest, base + np.int64(0xFFFFFFFF))
    threshold, n_below = _interval_of(scratch, n, low, high, 0, base + guess[1])
    guess[0], guess[1] = upper, threshold - base
    for i in range(scratch.size):
        marked[i] = scratch[i] < threshold
    wanted = n - n_below
    for start in range(0, scratch.size, 64):
        if wanted <= 0:
            return
        stretch, taken = scratch[start : start + 64], marked[start : start + 64]
        found = False
        for i in range(stretch.size):
            found |= stretch[i] == threshold
        if found:
            for i in range(stretch.size):
                if wanted > 0 and stretch[i] == threshold:
                    taken[i] = True
                    wanted -= 1


@numba.njit(cache=True, nogil=True)
def choose_victims(priority, candidates, n_victims, victims):  # type: ignore[no-untyped-def]
    """Sets `victims` to the candidates of lowest priority; equal priorities give up the lower index first."""
    columns = np.flatnonzero(candidates)
    values = np.empty(columns.size, np.float64)
    for i in range(columns.size):
        values[i] = -priority[columns[i]] + 0.0  # + 0.0 makes one zero of the two
    # float64 to integers of the same order: a negative number's bits run backwards.
    keys = values.view(np.int64)
    for i in range(keys.size):
        if keys[i] < 0:
            keys[i] = keys[i] ^ np.int64(0x7FFFFFFFFFFFFFFF)
    chosen = np.empty(columns.size, np.bool_)
    top_k(keys, n_victims, chosen)
    victims[:] = False
    for i in range(columns.size):
        victims[columns[i]] = chosen[i]
