"""Tokens of one (layer, group) in one go: mask, hits and misses, and the cache after each token.

The same steps as `dipsim.methods` and `dipsim.cache.WeightCache` take for a token, for methods that are a top-k of
reweighted scores and for policies that rank columns by one integer; results are equal to theirs column by column.
"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import count_set, ctpop64
from dipsim.kernels.compiled_code import entry, inner
from dipsim.kernels.lanes import add_where, at_least, set_where
from dipsim.kernels.lowest import mark_lowest
from dipsim.kernels.reweighted import NEVER, best_of
from dipsim.kernels.rules import choose_set
from dipsim.kernels.scores import set_sum, whole_words

# What a column's priority is made of.
LAST_USE, USE_COUNT, USE_COUNT_IN_CACHE, ENTRY, NEXT_USE = range(5)
_STRETCH = 32768
# A next use counts down from here, never (2**31 - 1) to 0.
_SOONEST = np.int32(0x7FFFFFFB)


@entry
def count_true(flags):  # type: ignore[no-untyped-def]
    """How many of bool [column] are set."""
    total = np.int64(0)
    for start in range(0, flags.size, _STRETCH):
        stretch = flags[start : start + _STRETCH]
        count = np.uint16(0)
        for i in range(stretch.size):
            count = np.uint16(count + np.uint16(stretch[i]))
        total += np.int64(count)
    return total


@inner
def _rank(ranking, counts, times, active, missed, next_use, token):  # type: ignore[no-untyped-def]
    """Priorities after this token's use."""
    now = times.dtype.type(token)
    if ranking == NEXT_USE:
        for i in range(next_use.size):
            times[i] = times.dtype.type(max(_SOONEST - next_use[i], np.int32(0)))
        return
    used = missed if ranking == ENTRY else active
    for w in range(used.size):
        set_where(times, w, used[w], now)
    if ranking in (USE_COUNT, USE_COUNT_IN_CACHE):
        for w in range(active.size):
            add_where(counts, w, active[w])


@inner
def _expire(times, latest, resident):  # type: ignore[no-untyped-def]
    """Columns leave whose last use is no later. Returns how many are resident then."""
    for w in range(resident.size):
        resident[w] &= at_least(times, w, times.dtype.type(latest + 1))
    return count_set(resident)


@inner
def refuse(scores, missed, n_admitted, guess, refused):  # type: ignore[no-untyped-def]
    """Sets `refused` to the missed columns beyond the best `n_admitted`; without scores, the lower indices are best."""
    if n_admitted <= 0:
        for w in range(missed.size):
            refused[w] = missed[w]
        return
    if scores.size:
        best_of(scores, missed, NEVER, n_admitted, guess, refused)
        for w in range(missed.size):
            refused[w] = missed[w] & ~refused[w]
        return
    for w in range(missed.size):
        own = missed[w]
        while own != 0 and n_admitted > 0:
            own &= own - np.uint64(1)
            n_admitted -= 1
        refused[w] = own


@inner
def _admit(  # type: ignore[no-untyped-def]
    scores, active, missed, n_missed, counts, times, by_count, slots, n_resident, resident, highest, guess, gone
):
    """Admission `always`: misses enter, inactive columns make room. Sets `gone` to who leaves or is refused."""
    room = slots - n_resident
    if n_missed <= room:
        gone[:] = np.uint64(0)
        for w in range(resident.size):
            resident[w] |= missed[w]
        return n_resident + n_missed
    n_inactive = np.int64(0)
    for w in range(resident.size):
        gone[w] = resident[w] & ~active[w]
        n_inactive += ctpop64(gone[w])
    n_victims = min(n_missed - room, n_inactive)
    if 0 < n_victims < n_inactive:
        mark_lowest(counts, times, by_count, gone, n_victims, highest, guess, gone)
    elif n_victims <= 0:
        gone[:] = np.uint64(0)
    n_admitted = room + n_victims
    if n_admitted < n_missed:
        refused = np.empty_like(missed)
        refuse(scores, missed, n_admitted, guess[2], refused)
        for w in range(gone.size):
            gone[w] |= refused[w]
    for w in range(resident.size):
        resident[w] = (resident[w] | missed[w]) & ~gone[w]
    return n_resident + n_admitted - n_victims


@inner
def _keep_best(  # type: ignore[no-untyped-def]
    missed, n_missed, counts, times, by_count, slots, n_resident, resident, highest, guess, gone
):
    """Admission `priority`: of resident and active columns the best are kept. Sets `gone` to the others."""
    for w in range(resident.size):
        resident[w] |= missed[w]
    n_resident += n_missed
    if n_resident <= slots:
        gone[:] = np.uint64(0)
        return n_resident
    mark_lowest(counts, times, by_count, resident, n_resident - slots, highest, guess, gone)
    for w in range(resident.size):
        resident[w] &= ~gone[w]
    return slots


@inner
def _update(  # type: ignore[no-untyped-def]
    scores,
    ranking,
    window,
    bypass,
    slots,
    token,
    next_use,
    resident,
    n_resident,
    uses,
    times,
    guess,
    active,
    missed,
    n_missed,
):
    """The cache after a token; arguments as in `replay_tokens`, but of one token. Returns how many are resident."""
    gone, by_count = np.empty_like(resident), ranking in (USE_COUNT, USE_COUNT_IN_CACHE)
    _rank(ranking, uses, times, active, missed, next_use, token)
    if 0 < window <= token:
        n_resident = _expire(times, token - window, resident)
    highest = _SOONEST if ranking == NEXT_USE else token + 1
    if bypass is not None:
        n_resident = _keep_best(
            missed, n_missed, uses, times, by_count, slots, n_resident, resident, highest, guess, gone
        )
    else:
        n_resident = _admit(
            scores, active, missed, n_missed, uses, times, by_count, slots, n_resident, resident, highest, guess, gone
        )
    if ranking == USE_COUNT_IN_CACHE:
        nothing = times.dtype.type(0)
        for w in range(resident.size):
            set_where(uses, w, gone[w], nothing)
            set_where(times, w, gone[w], nothing)
    return n_resident


@inner
def note_use(t, scores, resident, active, missed, held, counts):  # type: ignore[no-untyped-def]
    """Of one token what is missed, held, counted and summed; scores in whole words, else as of `replay_tokens`."""
    for w in range(resident.size):
        missed[t, w] = active[t, w] & ~resident[w]
    for w in range(held.shape[1]):
        held[t, w] = resident[w]
    counts[t, 0], counts[t, 1] = count_set(active[t]), count_set(missed[t])
    if scores.size:
        counts[t, 2], counts[t, 3], counts[t, 4] = set_sum(scores, active[t])


@entry
def replay_tokens(  # type: ignore[no-untyped-def]
    scores,
    gammas,
    k,
    rule,
    exempt,
    m,
    ranking,
    window,
    bypass,
    slots,
    first,
    next_use,
    resident,
    uses,
    times,
    guess,
    active,
    missed,
    counts,
    held,
):
    """Runs a cache through some tokens of one sequence. Sets of columns are words, as of `dipsim.kernels.bits`.

    Args:
        scores: float16 bit patterns [token, column]; [0, 0] where a dense group has none.
        gammas: float32 [token], the penalty of what is not resident; [0] where `active` is given, not chosen.
        k, rule, exempt, m: how columns are chosen, as of `choose_set`.
        ranking: one of the constants above.
        window: after so many tokens without use a column leaves in any case; 0 for never; of LAST_USE alone.
        bypass: True for admission `priority`, None for `always`: numba compiles one of the two.
        slots: most columns that fit.
        first: index of the first of these tokens in its sequence.
        next_use: int32 [token, column] for NEXT_USE, [0, 0] else.
        resident: uint64 [word], before the first token; updated.
        uses, times: [column], in whole words, what priorities are made of; updated. int32, or uint16 where two more
            than the tokens of the sequence is one (not of NEXT_USE).
        guess: int64 [3 + N_SEARCHES, 2], where searches begin: for a count, a time and an admitted score, and those of
            `choose_set`; kept.
        active, missed: uint64 [token, word], to be filled (`active` where it is chosen).
        counts: int64 [token, 5], to be filled: active columns, missed ones, sum of all scores and of the active ones
            in units of 2**-24, share of the active ones' squares in units of 2**-40 (0 without scores).
        held: uint64 [token, word], to be filled: what was resident before each token; [0, 0] if nobody asks.
    """
    no_scores, no_future = np.empty(0, np.uint16), np.empty(0, np.int32)
    n_resident = count_set(resident)
    for t in range(active.shape[0]):
        own = whole_words(scores[t]) if scores.size else no_scores
        if gammas.size:
            n_columns = scores.shape[1]
            choose_set(own, n_columns, resident, gammas[t], k, rule, exempt, m, guess[3:], active[t])
        note_use(t, own, resident, active, missed, held, counts)
        if slots > 0:
            future = next_use[t] if next_use.size else no_future
            n_resident = _update(
                own,
                ranking,
                window,
                bypass,
                slots,
                first + t,
                future,
                resident,
                n_resident,
                uses,
                times,
                guess,
                active[t],
                missed[t],
                counts[t, 1],
            )
