"""The best k columns by scores of which some are penalised: exact, and the same on every machine.

The threshold is found by counting how many columns reach a value, again and again, 64 columns at a time, until few are
left between two values; these are ranked. A pass without a branch costs less than moving columns about.
"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import ctpop64, cttz64, pack, unpack
from dipsim.kernels.compiled_code import entry, inner
from dipsim.kernels.lanes import at_least
from dipsim.kernels.scores import pattern_below, score_value, whole_words
from dipsim.kernels.selection import add_best

# Above every finite float16 (0x7BFF) and above one more than it, which is a key too.
_BEYOND = 0x7C01
# A guess for scores of which nothing is known: 1.0; also the guess of how far patterns lie apart.
ANY_THRESHOLD = 0x3C00
# A penalty that leaves nothing to those that are not favoured.
NEVER = np.float32(-1)
# Columns that are rather ranked than told apart by another pass.
_FEW = 128
_PATIENCE = 8


@inner
def _first_reaching(gamma, threshold):  # type: ignore[no-untyped-def]
    """The lowest float16 pattern whose product with gamma is at least the threshold, or the one beyond all."""
    if gamma * score_value(_BEYOND - 1) < threshold:
        return np.int64(_BEYOND)
    quotient = np.float32(threshold / gamma) if gamma > 0 else np.float32(0)
    pattern = min(pattern_below(quotient), _BEYOND - 1)
    while pattern > 0 and gamma * score_value(pattern - 1) >= threshold:
        pattern -= 1
    while gamma * score_value(pattern) < threshold:
        pattern += 1
    return pattern


@inner
def _find_reaching(scores, favoured, own, other, found):  # type: ignore[no-untyped-def]
    """Sets `found` to the columns whose score is at least `own` where favoured, and `other`, which is no lower,
    elsewhere. Returns how many they are."""
    total, own, other = np.int64(0), np.uint16(own), np.uint16(other)
    for w in range(favoured.size):
        found[w] = (at_least(scores, w, own) & favoured[w]) | at_least(scores, w, other)
        total += ctpop64(found[w])
    return total


@inner
def _bracket(scores, favoured, gamma, k, guess):  # type: ignore[no-untyped-def]
    """The columns that reach a value, at least k, and those that reach a higher one, fewer than k; such that few are
    between, or no other float16. Returns these sets, and how many the columns are."""
    sets = np.empty((3, favoured.size), np.uint64)
    low_set, high_set, found = sets[0], sets[1], sets[2]
    low, high, n_low, n_high = np.int64(0), np.int64(_BEYOND), np.int64(0), np.int64(0)
    for w in range(favoured.size):
        low_set[w] = favoured[w] if gamma < 0 else ~np.uint64(0)
        high_set[w] = np.uint64(0)
        n_low += ctpop64(low_set[w])
    last, n_last = np.int64(0), np.int64(0)
    probe, per_column, passes = guess[0], guess[1] * 2.0**-16, 0
    while high - low > 1 and n_low - n_high > _FEW:
        n = _find_reaching(scores, favoured, probe, _first_reaching(gamma, score_value(probe)), found)
        passes += 1
        if passes > 1 and n != n_last:  # the secant through the last two
            per_column = abs(probe - last) / abs(n - n_last)
            if passes == 2:
                guess[1] = min(max(np.int64(per_column * 2.0**16), 1), 2**24)
        last, n_last = probe, n
        margin = 8 + (abs(n - k) >> 3)  # a little further than to k, so that k comes to lie between
        step = np.int64((abs(n - k) + margin) * per_column) + 1
        if n >= k:
            low, n_low, probe = probe, n, probe + step
            low_set, found = found, low_set
        else:
            high, n_high, probe = probe, n, probe - step
            high_set, found = found, high_set
        if passes > _PATIENCE:  # not a smooth distribution
            probe = (low + high) >> 1
        probe = min(max(probe, low + 1), high - 1)
    return low_set, high_set, n_low, n_high


@inner
def best_of(scores, favoured, gamma, k, guess, chosen):  # type: ignore[no-untyped-def]
    """Sets `chosen` to the k columns of largest `score if favoured else gamma * score` (in float32); of equal ones to
    those of lower index.

    Args:
        scores: float16 bit patterns [column], in whole words, 0x7C00 at most, which counts as 2**16.
        favoured: uint64 [word], a set as of `dipsim.kernels.bits`.
        gamma: float32 in [0, 1]; 1 is a plain top-k; `NEVER` is one of the favoured, at least k, alone.
        k: at least 1.
        guess: int64 [2], where to begin, a pattern from 1 to 0x7BFF, and how many patterns lie between two columns, in
            2**-16; updated. Any is right, those of similar scores are fast.
        chosen: uint64 [word], to be filled.
    """
    low_set, high_set, n_low, n_high = _bracket(scores, favoured, gamma, k, guess)
    columns, values = np.empty(n_low - n_high, np.int32), np.empty(n_low - n_high, np.float32)
    n = 0
    for w in range(favoured.size):
        chosen[w] = high_set[w]
        between = low_set[w] & ~high_set[w]
        while between != 0:
            bit = cttz64(between)
            columns[n] = 64 * w + bit
            value = score_value(scores[columns[n]])
            values[n] = value if (favoured[w] >> np.uint64(bit)) & np.uint64(1) else gamma * value
            between &= between - np.uint64(1)
            n += 1
    # Numbers of no sign are ordered as their bits.
    bits = values.view(np.int32)
    keys = bits.astype(np.int64)
    bits[0] = add_best(columns, keys, k - n_high, chosen)
    guess[0] = min(max(pattern_below(values[0]), 1), 0x7BFF)


@entry
def reweighted_top_k(scores, favoured, gamma, k, guess, chosen):  # type: ignore[no-untyped-def]
    """As `best_of`, for bool [column] and any number of columns, 1 <= k <= n, with a guess of its own: a pattern from 1
    to 0x7BFF. Returns the guess for scores like these."""
    whole = whole_words(scores)
    guesses, sets = np.full(2, guess), np.empty((2, whole.size // 64), np.uint64)
    pack(favoured, sets[0])
    best_of(whole, sets[0], gamma, k, guesses, sets[1])
    unpack(sets[1], chosen)
    return guesses[0]
