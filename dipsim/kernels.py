"""The compiled inner loops: selection, residency, reads. Each has a plain NumPy twin in tests/reference.py.

Scores come as the bit patterns of non-negative float16 (`uint16`): these order like the numbers they stand for.
Selection works on integer sort keys, so it is exact and the same on every machine.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
Float64Array = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
Uint16Array = NDArray[np.uint16]

LARGEST_FINITE = np.uint16(0x7BFF)
# Every float16 is a whole multiple of 2**-24, so sums of them are exact as integers in that unit.
ULP = 2.0**-24
_BINS_LOG2 = 11


@numba.njit(cache=True)
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


@numba.njit(cache=True)
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


@numba.njit(cache=True)
def top_k_rows(scores, k, chosen):  # type: ignore[no-untyped-def]
    """`top_k` for each row of a matrix."""
    for row in range(scores.shape[0]):
        top_k(scores[row], k, chosen[row])


@numba.njit(cache=True)
def score_values(scores, values):  # type: ignore[no-untyped-def]
    """float16 bit patterns to float32 numbers, exactly, subnormal ones included."""
    bits = values.view(np.uint32)
    for i in range(scores.size):
        bits[i] = np.uint32(scores[i]) << np.uint32(13)
    scale = np.float32(2.0**112)
    for i in range(scores.size):
        values[i] = values[i] * scale


@numba.njit(cache=True)
def reweighted_keys(scores, favoured, gamma, keys):  # type: ignore[no-untyped-def]
    """Sort keys of `score if favoured else gamma * score`, in float32."""
    values = keys.view(np.float32)
    score_values(scores, values)
    for i in range(scores.size):
        values[i] = values[i] if favoured[i] else gamma * values[i]


@numba.njit(cache=True)
def blended_keys(scores, favoured, gamma, keys):  # type: ignore[no-untyped-def]
    """Sort keys of `gamma * score / max(score) + (1 - gamma) * favoured`, in float32; all-zero scores count as 0."""
    values = keys.view(np.float32)
    score_values(scores, values)
    largest = np.float32(0)
    for i in range(values.size):
        largest = max(largest, values[i])
    if largest == 0:
        largest = np.float32(1)
    bonus = np.float32(1) - gamma
    for i in range(values.size):
        blended = gamma * (values[i] / largest)
        values[i] = blended + bonus if favoured[i] else blended


@numba.njit(cache=True)
def ranked_keys(scores, classes, keys):  # type: ignore[no-untyped-def]
    """Sort keys that order by class first and by score within a class."""
    for i in range(scores.size):
        keys[i] = (np.int32(classes[i]) << np.int32(16)) | np.int32(scores[i])


@numba.njit(cache=True)
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


@numba.njit(cache=True)
def score_sum(scores, active):  # type: ignore[no-untyped-def]
    """Sums of all scores and of the active ones, in units of 2**-24: exact, whatever the order."""
    total = np.int64(0)
    kept = np.int64(0)
    for i in range(scores.size):
        exponent = np.int64(scores[i]) >> 10
        fraction = np.int64(scores[i]) & 0x3FF
        # Subnormals have no hidden bit and the exponent of the smallest normal.
        units = fraction if exponent == 0 else (fraction | 0x400) << (exponent - 1)
        total += units
        kept += units if active[i] else 0
    return total, kept


@numba.njit(cache=True)
def first_bad(scores):  # type: ignore[no-untyped-def]
    """Flat index of the first score that is negative, infinite or not a number; -1 where all are fine."""
    for i in range(scores.size):
        if scores[i] > LARGEST_FINITE:
            return i
    return -1


@numba.njit(cache=True)
def form_reads(wanted, column_bytes, page_bytes):  # type: ignore[no-untyped-def]
    """Bytes of each Flash read for the wanted columns of one group, which lie one after another from a page's start.

    Neighbouring columns join into one read; a read is widened to whole pages; reads that then touch are one.
    """
    reads = np.empty(wanted.size, np.float64)
    n = 0
    start = np.float64(0)
    end = np.float64(-1)
    for i in range(wanted.size):
        if not wanted[i]:
            continue
        first = np.floor(i * column_bytes / page_bytes) * page_bytes
        last = np.ceil((i + 1) * column_bytes / page_bytes) * page_bytes
        if first <= end:
            end = last
            continue
        if end > start:
            reads[n] = end - start
            n += 1
        start = first
        end = last
    if end > start:
        reads[n] = end - start
        n += 1
    return reads[:n]


@numba.njit(cache=True)
def next_uses(active, first_token, after, uses):  # type: ignore[no-untyped-def]
    """Sets `uses[t, c]` to the first token strictly after first_token + t at which column c is active.

    `active` is bool [token, column] of a block that starts at `first_token`. `after` holds each column's first use
    beyond the block, and on return its first use from the block's start on.
    """
    for t in range(active.shape[0] - 1, -1, -1):
        for c in range(active.shape[1]):
            uses[t, c] = after[c]
            if active[t, c]:
                after[c] = first_token + t
