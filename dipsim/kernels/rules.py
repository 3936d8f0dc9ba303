"""Which columns does a token use, by a rule that looks at what is resident?"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import count_set, pack, unpack
from dipsim.kernels.compiled_code import entry, inner
from dipsim.kernels.lanes import at_least
from dipsim.kernels.reweighted import NEVER, best_of
from dipsim.kernels.scores import ULP, blended_keys, score_value, set_sum, whole_words
from dipsim.kernels.selection import top_k

REWEIGHT, BLEND, TOP_M, DROP = 0, 1, 2, 3
_PLAIN = np.float32(1)
# Whose searches begin where: for the k, the exempt, the m, and those of either that compete.
_K, _EXEMPT, _M, _COMPETING = range(4)
N_SEARCHES = 4


@inner
def _top_m(scores, resident, k, exempt, m, guess, chosen):  # type: ignore[no-untyped-def]
    """The rule `top-m`: the best k, of which those that are neither exempt nor resident give way, the lowest first, to
    residents among the best m, the highest first."""
    best_of(scores, resident, _PLAIN, k, guess[_K], chosen)
    if exempt >= k or m <= k:
        return
    some, best, yielding = np.empty_like(resident), np.empty_like(resident), np.empty_like(resident)
    best[:] = np.uint64(0)
    if exempt > 0:
        best_of(scores, resident, _PLAIN, exempt, guess[_EXEMPT], best)
    for w in range(resident.size):
        yielding[w] = chosen[w] & ~(resident[w] | best[w])
    best_of(scores, resident, _PLAIN, m, guess[_M], best)
    for w in range(resident.size):
        best[w] &= resident[w] & ~chosen[w]
    n_yielding, n_entering = count_set(yielding), count_set(best)
    if n_yielding == 0 or n_entering == 0:
        return
    if n_entering < n_yielding:
        best_of(scores, yielding, NEVER, n_yielding - n_entering, guess[_COMPETING], some)
        for w in range(resident.size):
            chosen[w] = (chosen[w] & ~yielding[w]) | best[w] | some[w]
    else:
        best_of(scores, best, NEVER, n_yielding, guess[_COMPETING], some)
        for w in range(resident.size):
            chosen[w] = (chosen[w] & ~yielding[w]) | some[w]


@inner
def _drop(scores, resident, least_share, k, exempt, guess, chosen):  # type: ignore[no-untyped-def]
    """The rule `drop`: the best k, less those that are neither exempt nor resident and whose score is below this share
    of all k; the best of all stays."""
    best_of(scores, resident, _PLAIN, k, guess[_K], chosen)
    safe = np.empty_like(resident)
    best_of(scores, resident, _PLAIN, min(max(exempt, 1), k), guess[_EXEMPT], safe)
    _, kept, _ = set_sum(scores, chosen)
    least = np.float64(least_share) * np.float64(kept)
    pattern, above = np.int64(0), np.int64(0x7C01)
    while pattern < above:
        middle = (pattern + above) >> 1
        if np.float64(score_value(middle)) / ULP < least:
            pattern = middle + 1
        else:
            above = middle
    for w in range(resident.size):
        chosen[w] &= safe[w] | resident[w] | at_least(scores, w, np.uint16(pattern))


@inner
def _blend(scores, n_columns, favoured, gamma, k, chosen):  # type: ignore[no-untyped-def]
    """The rule `blend`."""
    flags, keys = np.empty(n_columns, np.bool_), np.empty(n_columns, np.int32)
    unpack(favoured, flags)
    blended_keys(scores[:n_columns], flags, gamma, keys)
    top_k(keys, k, flags)
    pack(flags, chosen)


@inner
def choose_set(scores, n_columns, resident, gamma, k, rule, exempt, m, guess, chosen):  # type: ignore[no-untyped-def]
    """Sets `chosen` to k columns, or fewer under `DROP`; of equal ones to those of lower index.

    Args:
        scores: float16 bit patterns [column], in whole words.
        n_columns: how many columns there are.
        resident: uint64 [word], a set as of `dipsim.kernels.bits`.
        gamma: float32 in [0, 1]; of no use to `TOP_M`.
        k: 1 to n.
        rule: `REWEIGHT` takes the largest `score if favoured else gamma * score`; `BLEND` the largest `gamma * score /
            max(score) + (1 - gamma) * favoured`; favoured is what is resident or exempt. `TOP_M` fills its places from
            the exempt, the best k that are resident, the best m that are resident, and the best k that are not. `DROP`
            takes the best k without those that are not favoured and have less than the share gamma of their sum, but
            for the very best. None is `REWEIGHT`, too, and known when numba compiles this, which then leaves out the
            others: a third of the time until the first run.
        exempt: the best columns by score that are exempt, 0 to n.
        m: of `TOP_M`, 0 to n.
        guess: int64 [N_SEARCHES, 2], as of `best_of`.
        chosen: uint64 [word], to be filled.
    """
    if rule is not None and rule == TOP_M:
        _top_m(scores, resident, k, exempt, m, guess, chosen)
        return
    if rule is not None and rule == DROP:
        _drop(scores, resident, gamma, k, exempt, guess, chosen)
        return
    favoured = resident
    if exempt > 0:
        favoured = np.empty_like(resident)
        best_of(scores, resident, _PLAIN, exempt, guess[_EXEMPT], favoured)
        for w in range(resident.size):
            favoured[w] |= resident[w]
    if rule is not None and rule == BLEND:
        _blend(scores, n_columns, favoured, gamma, k, chosen)
    else:
        best_of(scores, favoured, gamma, k, guess[_K], chosen)


@entry
def choose_columns(scores, resident, gamma, k, rule, exempt, m, guess, chosen):  # type: ignore[no-untyped-def]
    """As `choose_set`, for bool [column] and any number of columns."""
    whole = whole_words(scores)
    sets = np.empty((2, whole.size // 64), np.uint64)
    pack(resident, sets[0])
    choose_set(whole, scores.size, sets[0], gamma, k, rule, exempt, m, guess, sets[1])
    unpack(sets[1], chosen)
