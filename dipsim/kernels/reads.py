"""Which reads fetch the missed columns, and what do they cost together?"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.arrays import Float64Array
from dipsim.kernels.bits import cttz64
from dipsim.kernels.compiled_code import entry, inner

# So many costs are added up together, each in the order of the reads.
COSTS_AT_ONCE = 4
_NONE, _ONE = np.uint64(0), np.uint64(1)


def costs_by_read(costs: Float64Array) -> Float64Array:
    """What `batch_reads` takes, of float64 [cost, unit]: some more costs, of nothing."""
    n_costs, n_units = costs.shape
    n_sets = -(-n_costs // COSTS_AT_ONCE)
    padded = np.zeros((n_sets * COSTS_AT_ONCE, n_units))
    padded[:n_costs] = costs
    return np.ascontiguousarray(padded.reshape(n_sets, COSTS_AT_ONCE, n_units).transpose(0, 2, 1))


@inner
def _add_costs(wanted, starts, stops, gap, costs, totals):  # type: ignore[no-untyped-def]
    """Adds up four costs of the reads of one token; columns lie in the order of `wanted`.

    Whether a column begins a read is no branch, since nobody could foresee it: one that does adds what the read before
    it costs, one that does not what no units cost, which is nothing."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    end = np.int64(-1) - gap
    start = end
    for w in range(wanted.size):
        word = wanted[w]
        while word != 0:
            i = np.uint64(64 * w) + np.uint64(cttz64(word))
            word &= word - _ONE
            own = np.int64(starts[i])
            begins = own > end + gap
            size = np.uint64(end - start) if begins else _NONE
            start = own if begins else start
            end = np.int64(stops[i])
            a += costs[size, np.uint64(0)]
            b += costs[size, np.uint64(1)]
            c += costs[size, np.uint64(2)]
            d += costs[size, np.uint64(3)]
    size = np.uint64(end - start)
    totals[0], totals[1] = a + costs[size, 0], b + costs[size, 1]
    totals[2], totals[3] = c + costs[size, 2], d + costs[size, 3]


@inner
def _place(wanted, places, placed):  # type: ignore[no-untyped-def]
    """Fills `placed` with what is wanted, in the order in which it lies in the file."""
    placed[:] = 0
    for w in range(wanted.size):
        word = wanted[w]
        while word != 0:
            place = np.uint64(places[np.uint64(64 * w) + np.uint64(cttz64(word))])
            word &= word - _ONE
            placed[place >> np.uint64(6)] |= _ONE << (place & np.uint64(63))


@entry
def batch_reads(wanted, places, starts, stops, gap, costs):  # type: ignore[no-untyped-def]
    """The Flash reads for the wanted columns of one group, a batch for each token.

    Columns lie one after another, in units (pages, say) that are read whole. Neighbours, and columns that share a unit
    or lie at most `gap` units apart, join into one read.

    Args:
        wanted: uint64 [token, word], sets of columns.
        places: int32 [column], where each column lies; empty for the order of their indices.
        starts, stops: int32 [column], the units that the column at each place reaches from and up to.
        gap: units that are read rather than skipped.
        costs: float64 [cost // 4, unit, cost % 4], what a read of so many units costs, of none nothing; see
            `costs_by_read`.

    Returns:
        float64 [token, cost]: sums over the reads.
    """
    totals = np.empty((wanted.shape[0], COSTS_AT_ONCE * costs.shape[0]))
    placed = np.empty(wanted.shape[1], np.uint64)
    for t in range(wanted.shape[0]):
        if places.size:
            _place(wanted[t], places, placed)
        lying = placed if places.size else wanted[t]
        for i in range(costs.shape[0]):
            own = totals[t, COSTS_AT_ONCE * i : COSTS_AT_ONCE * (i + 1)]
            _add_costs(lying, starts, stops, gap, costs[i], own)
    return totals
