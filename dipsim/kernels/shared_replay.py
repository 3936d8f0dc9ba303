"""Tokens through one cache that all layers share: masks, misses, and the cache after each (token, layer, group).

The same steps as `dipsim.cache.shared` takes with a `WeightCache` of all columns, for the methods and policies of
`replay_tokens`; results are equal column by column. A heap finds who leaves: what stays costs no time.
"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import pack, unpack
from dipsim.kernels.compiled_code import entry, inner
from dipsim.kernels.heap import heap_push, heap_remove
from dipsim.kernels.replay import ENTRY, NEXT_USE, USE_COUNT, USE_COUNT_IN_CACHE, count_true, refuse
from dipsim.kernels.rules import choose_columns
from dipsim.kernels.scores import score_sum, whole_words

# A rank is a count and a time, which stays below this.
_TIMES = np.int64(2**32)


@inner
def _rank(ranking, rank, is_missed, next_use, now):  # type: ignore[no-untyped-def]
    """The rank of an active column whose rank was this."""
    if ranking == NEXT_USE:
        return -next_use
    if ranking == ENTRY:
        return now if is_missed else rank
    if ranking in (USE_COUNT, USE_COUNT_IN_CACHE):
        return (rank // _TIMES + 1) * _TIMES + now
    return now


@inner
def _first_leaves(ranking, heap, n, where, rank, costs, resident):  # type: ignore[no-untyped-def]
    """What its leaving frees."""
    column = heap[0]
    heap_remove(heap, n, where, rank, column)
    resident[column] = False
    if ranking == USE_COUNT_IN_CACHE:
        rank[column] = 0
    return costs[column]


@inner
def _refuse(scores, missed, n_admitted, guess, refused):  # type: ignore[no-untyped-def]
    """Sets `refused` to the missed columns beyond the best `n_admitted`, as `refuse` does."""
    sets = np.empty((2, (missed.size + 63) // 64), np.uint64)
    pack(missed, sets[0])
    refuse(whole_words(scores), sets[0], n_admitted, guess[2], sets[1])
    unpack(sets[1], refused)


@inner
def _update(  # type: ignore[no-untyped-def]
    scores,
    ranking,
    window,
    bypass,
    capacity,
    now,
    next_use,
    first,
    active,
    missed,
    n_missed,
    costs,
    guess,
    state,
    cache,
):
    """The cache after one batch, whose columns begin at `first`."""
    resident, rank, heap, where = cache
    used, n = state[0], state[1]
    cost = costs[first]
    for i in range(active.size):
        if active[i]:
            if not missed[i]:
                heap_remove(heap, n, where, rank, first + i)
                n -= 1
            later = next_use[i] if next_use.size else np.int64(0)
            rank[first + i] = _rank(ranking, rank[first + i], missed[i], later, now)
    while window > 0 and n > 0 and rank[heap[0]] <= now - window:
        used -= _first_leaves(ranking, heap, n, where, rank, costs, resident)
        n -= 1
    refused = np.zeros(active.size, np.bool_)
    if not bypass:
        while used + n_missed * cost > capacity and n > 0:
            used -= _first_leaves(ranking, heap, n, where, rank, costs, resident)
            n -= 1
        n_admitted = min(n_missed, (capacity - used) // cost)
        if n_admitted < n_missed:
            _refuse(scores, missed, n_admitted, guess, refused)
        n_missed = n_admitted
    for i in range(active.size):
        if refused[i] and ranking == USE_COUNT_IN_CACHE:
            rank[first + i] = 0
        if active[i] and not refused[i]:
            resident[first + i] = True
            heap_push(heap, n, where, rank, first + i)
            n += 1
    used += n_missed * cost
    while used > capacity:
        used -= _first_leaves(ranking, heap, n, where, rank, costs, resident)
        n -= 1
    state[0], state[1] = used, n


@entry
def share_replay(  # type: ignore[no-untyped-def]
    scores,
    gammas,
    choices,
    ranking,
    window,
    bypass,
    capacity,
    times,
    next_use,
    edges,
    costs,
    guesses,
    state,
    cache,
    out,
):
    """Runs a shared cache through some tokens of one sequence, at some neighbouring (layer, group)s, its parts.

    What belongs to tokens lies flat, part after part: [part, token, column].

    Args:
        scores: float16 bit patterns; [0] where dense groups have none.
        gammas: float32 [token, part], the penalty of what is not resident; [0, 0] where `active` is given.
        choices: int64 [part, 4], k, rule, exempt and m of `choose_columns`.
        ranking: one of the constants of `replay_tokens`.
        window: as there, but in batches.
        bypass: admission `priority` instead of `always`.
        capacity: of the cache.
        times: int64 [token, part], ascending, from 0 to 2**32 - 1.
        next_use: int64, when each column is used next, for NEXT_USE; [0] else.
        edges: int64 [part + 1], among all columns of the cache, where the parts begin.
        costs: int64 [column], above 0 and the same within a part, what each takes of the capacity.
        guesses: int64 [part, 3 + N_SEARCHES, 2], as of `replay_tokens`; kept.
        state: int64 [2], what is used of the capacity and how many columns are resident; updated.
        cache: resident (bool [column]), rank (int64 [column]), and the heap's two arrays (int32 [column]); updated.
        out: `active` (filled where it is chosen), `missed` and `held` (bool; `held` [0] if nobody asks), and `counts`
            (int64 [part, token, 5]), as of `replay_tokens`.
    """
    resident, (active, missed, held, counts) = cache[0], out
    no_scores, no_future = np.empty(0, np.uint16), np.empty(0, np.int64)
    n_tokens = counts.shape[1]
    for t in range(n_tokens):
        for p in range(edges.size - 1):
            first, n = edges[p], edges[p + 1] - edges[p]
            low = n_tokens * (first - edges[0]) + t * n
            high = low + n
            mask, own_missed, before = active[low:high], missed[low:high], resident[first : first + n]
            own = scores[low:high] if scores.size else no_scores
            if gammas.size:
                k, rule, exempt, m = choices[p]
                choose_columns(own, before, gammas[t, p], k, rule, exempt, m, guesses[p, 3:], mask)
            for i in range(n):
                own_missed[i] = mask[i] & ~before[i]
            if held.size:
                for i in range(n):
                    held[low + i] = before[i]
            n_missed = count_true(own_missed)
            counts[p, t, 0], counts[p, t, 1] = count_true(mask), n_missed
            if own.size:
                counts[p, t, 2], counts[p, t, 3], counts[p, t, 4] = score_sum(own, mask)
            if capacity > 0:
                later = next_use[low:high] if next_use.size else no_future
                _update(
                    *(own, ranking, window, bypass, capacity, times[t, p], later, first, mask, own_missed),
                    *(n_missed, costs, guesses[p], state, cache),
                )
