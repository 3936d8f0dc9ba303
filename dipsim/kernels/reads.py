"""Which reads fetch the missed columns, and what do they cost together?"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def _first_set_byte(word):  # type: ignore[no-untyped-def]
    """Which byte of a word of bools is the first that is set: counts the bits below it."""
    below = (word & (~word + np.uint64(1))) - np.uint64(1)
    below = below - ((below >> np.uint64(1)) & np.uint64(0x5555555555555555))
    below = (below & np.uint64(0x3333333333333333)) + ((below >> np.uint64(2)) & np.uint64(0x3333333333333333))
    below = (below + (below >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((below * np.uint64(0x0101010101010101)) >> np.uint64(59))


@numba.njit(cache=True, nogil=True)
def _join(wanted, starts, stops, gap, reads):  # type: ignore[no-untyped-def]
    """Fills `reads` with the units of each read of one token, after one entry that means nothing; returns how many
    entries that are. Columns lie in the order of `wanted`; eight are looked at together, since few are wanted."""
    n = 0
    start = np.int64(0)
    end = np.int64(-1) - gap
    n_words = wanted.size // 8
    words = wanted[: 8 * n_words].view(np.uint64)
    for w in range(n_words + 1):
        word = np.uint64(0)
        if w < n_words:
            word = words[w]
        else:
            for i in range(8 * n_words, wanted.size):
                word |= np.uint64(wanted[i]) << np.uint64(8 * (i % 8))
        while word != 0:
            i = 8 * w + _first_set_byte(word)
            word &= word - np.uint64(1)
            if starts[i] > end + gap:
                reads[n] = end - start
                n += 1
                start = np.int64(starts[i])
            end = np.int64(stops[i])
    reads[n] = end - start
    return n + 1


@numba.njit(cache=True, nogil=True)
def _place(wanted, places, placed):  # type: ignore[no-untyped-def]
    """Fills `placed` with what is wanted, in the order in which it lies in the file."""
    for i in range(wanted.size):
        placed[places[i]] = wanted[i]


@numba.njit(cache=True, nogil=True)
def batch_reads(wanted, places, starts, stops, gap, costs):  # type: ignore[no-untyped-def]
    """The Flash reads for the wanted columns of one group, a batch for each token.

    Columns lie one after another, in units (pages, say) that are read whole. Neighbours, and columns that share a unit
    or lie at most `gap` units apart, join into one read.

    Args:
        wanted: bool [token, column].
        places: int32 [column], where each column lies; empty for the order of their indices.
        starts, stops: int32 [column], the units that the column at each place reaches from and up to.
        gap: units that are read rather than skipped.
        costs: float64 [cost, unit], what a read of so many units costs.

    Returns:
        float64 [token, cost]: sums over the reads.
    """
    n_tokens, n = wanted.shape
    totals = np.zeros((n_tokens, costs.shape[0]))
    placed = np.empty(n, np.bool_)
    reads = np.empty(n + 1, np.int64)
    for t in range(n_tokens):
        if places.size:
            _place(wanted[t], places, placed)
        n_reads = _join(placed if places.size else wanted[t], starts, stops, gap, reads)
        for c in range(costs.shape[0]):
            total = 0.0
            for r in range(1, n_reads):  # the first is the empty one before all
                total += costs[c, reads[r]]
            totals[t, c] = total
    return totals
