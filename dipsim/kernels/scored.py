"""What becomes of the priorities of `dipsim.policies.scored` when a token uses columns, and who is lowest then."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import count_set, ctpop64, pack, unpack
from dipsim.kernels.chance import draw
from dipsim.kernels.compiled_code import inner
from dipsim.kernels.lowest_priority import mark_lowest_priority
from dipsim.kernels.reweighted import best_of
from dipsim.kernels.scores import score_value, score_values

# What a policy's priority is made of.
FADED_COUNT, KTH_USE, FIXED_COUNT, AVERAGE_SCORE, BLENDED_SCORE, CHANCE = range(6)
# Two token indices share a number; the smallest score above 0, and what one counts at most, in thresholds.
_TOKENS, _LEAST_SCORE, _MOST_THRESHOLDS = 2.0**26, 2.0**-24, 4.0


@inner
def _fade(priority, last_use, fading, active, now):  # type: ignore[no-untyped-def]
    for i in range(priority.size):
        faded = priority[i] * fading
        priority[i] = faded + 1.0 if active[i] else faded
        last_use[i] = now if active[i] else last_use[i]


@inner
def _shift(priority, uses, active, now):  # type: ignore[no-untyped-def]
    """The last uses, the latest in the last row; then the time of the first of them, and of the last. Whatever is
    loaded is loaded for all columns, so that many are worked on at once."""
    last = uses[uses.shape[0] - 1]
    for row in range(uses.shape[0] - 1):
        older, newer = uses[row], uses[row + 1]
        for i in range(older.size):
            own, later = older[i], newer[i]
            older[i] = later if active[i] else own
    first = uses[0]
    for i in range(last.size):
        own = last[i]
        last[i] = now if active[i] else own
    for i in range(priority.size):
        own, ranked = priority[i], first[i] * _TOKENS + now
        priority[i] = ranked if active[i] else own


@inner
def _blend(priority, averages, options, scores, n_active, guess):  # type: ignore[no-untyped-def]
    """`MagnitudeBlend`; the token's threshold is the lowest of its n best scores."""
    every, best = np.empty(scores.size // 64, np.uint64), np.empty(scores.size // 64, np.uint64)
    every[:] = ~np.uint64(0)
    best_of(scores, every, np.float32(1), n_active, guess, best)
    flags, lowest = np.empty(scores.size, np.bool_), np.uint16(0x7C00)
    unpack(best, flags)
    for i in range(scores.size):
        own = scores[i]
        lowest = min(lowest, own if flags[i] else np.uint16(0x7C00))
    threshold = max(np.float64(score_value(np.int64(lowest))), _LEAST_SCORE)
    fading, short_fading, short_weight, last_weight = options[0], options[1], options[2], options[3]
    values, long, short = np.empty(scores.size, np.float32), averages[0], averages[1]
    score_values(scores, values)
    for i in range(priority.size):
        value = min(np.float64(values[i]) / threshold, _MOST_THRESHOLDS)
        long[i] = long[i] * fading + (1 - fading) * value
        short[i] = short[i] * short_fading + (1 - short_fading) * value
        priority[i] = (long[i] + short_weight * short[i]) + last_weight * value


@inner
def rank_used(kind, priority, memory, options, scores, active, n_active, now, guess):  # type: ignore[no-untyped-def]
    """Priorities after a token's use.

    Args:
        kind: one of the constants above; nothing happens to CHANCE.
        priority: float64 [column], updated.
        memory: float64 [row, column], updated: last uses (FADED_COUNT, KTH_USE), or the long and the short average.
        options: float64: fading; or tokens still to be counted, updated; or fading, short fading and weights.
        scores: float16 bit patterns [column], in whole words; [0] where a dense group has none.
        active: bool [column].
        n_active: how many are.
        now: index of the token in its sequence.
        guess: int64 [2], where the search for a threshold begins, updated: see `best_of`.
    """
    if kind == FADED_COUNT:
        _fade(priority, memory[0], options[0], active, np.float64(now))
    elif kind == KTH_USE:
        _shift(priority, memory, active, np.float64(now))
    elif kind == FIXED_COUNT and options[0] > 0:
        options[0] -= 1
        for i in range(priority.size):
            priority[i] = priority[i] + 1.0 if active[i] else priority[i]
    elif kind == AVERAGE_SCORE and scores.size:
        values, fading = np.empty(scores.size, np.float32), options[0]
        score_values(scores, values)
        for i in range(priority.size):
            priority[i] = priority[i] * fading + (1 - fading) * np.float64(values[i])
    elif kind == BLENDED_SCORE and scores.size:
        _blend(priority, memory, options, scores, n_active, guess)


@inner
def mark_leaving(kind, priority, memory, words, candidates, n, spans, marked):  # type: ignore[no-untyped-def]
    """Sets `marked` to the n candidates of lowest priority; of equal ones to those used longest ago, where the kind has
    that (FADED_COUNT), then to those of lower index.

    Args:
        kind, priority, memory: as of `rank_used`.
        words: uint64 [4], of CHANCE: see `draw`; updated.
        candidates: uint64 [word], a set as of `dipsim.kernels.bits`, at least n columns.
        n: at least 1.
        spans: int64 [2, 2], where searches begin, updated: see `mark_lowest_priority`.
        marked: uint64 [word], to be filled.
    """
    if kind == CHANCE:
        draw(words, priority)
    mark_lowest_priority(priority, candidates, n, spans[0], marked)
    if kind != FADED_COUNT:
        return
    _use_ties(priority, memory[0], candidates, spans[1], marked)


@inner
def _use_ties(priority, last_use, candidates, span, marked):  # type: ignore[no-untyped-def]
    """Of equal priorities at the border those used longest ago are marked, no more and no fewer than were."""
    flags = np.empty(priority.size, np.bool_)
    unpack(marked, flags)
    border = -np.inf
    for i in range(flags.size):
        own = priority[i]
        border = max(border, own if flags[i] else -np.inf)
    for i in range(flags.size):
        flags[i] = priority[i] == border
    tied, n_marked = np.empty_like(marked), np.int64(0)
    pack(flags, tied)
    for w in range(marked.size):
        n_marked += ctpop64(marked[w] & tied[w])
        tied[w] &= candidates[w]
    if count_set(tied) == n_marked:
        return
    chosen = np.empty_like(marked)
    mark_lowest_priority(last_use, tied, n_marked, span, chosen)
    for w in range(marked.size):
        marked[w] = (marked[w] & ~tied[w]) | chosen[w]
