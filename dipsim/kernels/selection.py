"""The best k of n by integer keys of any kind, by radix."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import entry, inner

_BINS_LOG2 = 11


@inner
def _kth_largest(keys, k):  # type: ignore[no-untyped-def]
    """The k-th largest key (1 <= k <= n) and how many are larger: a radix select over the keys' own range."""
    pool = keys.copy()
    n = keys.size
    larger = 0
    while True:
        lowest = np.int64(pool[0])
        highest = lowest
        for i in range(n):
            key = np.int64(pool[i])
            lowest = min(lowest, key)
            highest = max(highest, key)
        if lowest == highest:
            return lowest, larger
        # Unsigned: the span of float64 sort keys exceeds int64.
        span = np.uint64(highest) - np.uint64(lowest)
        shift = np.uint64(0)
        while (span >> shift) >> np.uint64(_BINS_LOG2):
            shift += np.uint64(1)
        counts = np.zeros(1 << _BINS_LOG2, np.int32)
        for i in range(n):
            counts[(np.uint64(np.int64(pool[i])) - np.uint64(lowest)) >> shift] += 1
        bin_ = counts.size - 1
        while larger + counts[bin_] < k:
            larger += counts[bin_]
            bin_ -= 1
        survivors = np.empty(counts[bin_] + 1, keys.dtype)
        m = 0
        for i in range(n):
            survivors[m] = pool[i]
            m += (np.uint64(np.int64(pool[i])) - np.uint64(lowest)) >> shift == np.uint64(bin_)
        pool = survivors
        n = counts[bin_]


@entry
def top_k(keys, k, chosen):  # type: ignore[no-untyped-def]
    """Sets `chosen` to the k largest keys; equal keys go to the lower index. 0 <= k <= n."""
    if k == 0:
        chosen[:] = False
        return
    threshold, larger = _kth_largest(keys, k)
    for i in range(keys.size):
        chosen[i] = keys[i] > threshold
    wanted = k - larger
    i = 0
    while wanted > 0:
        if keys[i] == threshold:
            chosen[i] = True
            wanted -= 1
        i += 1


@inner
def _value_of_rank(keys, k):  # type: ignore[no-untyped-def]
    """A value that k keys reach, if one does, else the k-th largest of them."""
    low, high = keys[0], keys[0]
    for i in range(1, keys.size):
        low, high = min(low, keys[i]), max(high, keys[i])
    while low < high:
        middle, n = low + (high - low + 1) // 2, np.int64(0)
        for i in range(keys.size):
            n += np.int64(keys[i] >= middle)
        if n == k:
            return middle
        if n > k:
            low = middle
        else:
            high = middle - 1
    return low


@inner
def add_best(columns, keys, k, chosen):  # type: ignore[no-untyped-def]
    """Adds to a set those k of a few columns that have the largest keys; of equal ones those of lower index.

    Args:
        columns: ascending.
        keys: int64, one for each of them.
        k: 1 to as many as there are.
        chosen: uint64 [word], a set as of `dipsim.kernels.bits`.

    Returns:
        A value that these keys reach, and no others but for equal ones.
    """
    threshold, n_ties = _value_of_rank(keys, k), k
    for i in range(keys.size):
        n_ties -= keys[i] > threshold
    for i in range(keys.size):
        is_tie = keys[i] == threshold
        if keys[i] > threshold or (is_tie and n_ties > 0):
            chosen[columns[i] >> 6] |= np.uint64(1) << np.uint64(columns[i] & 63)
            n_ties -= is_tie
    return threshold
