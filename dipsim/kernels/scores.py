"""Scores as the bit patterns of non-negative float16: what they are worth, and their exact sums."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import unpack
from dipsim.kernels.compiled_code import entry, inner

LARGEST_FINITE = np.uint16(0x7BFF)
# Every float16 is a whole multiple of 2**-24, so sums of them are exact as integers in that unit.
ULP = 2.0**-24
SHARE_ULP = 2.0**-40  # the unit of shares that are kept as integers
_FRACTION_BITS, _FRACTION, _LOW = np.uint64(10), np.uint64(0x3FF), np.uint64(0xFFFFFFFF)


@entry
def score_value(bits):  # type: ignore[no-untyped-def]
    """The number of one float16 bit pattern, as float32; patterns above the finite ones go on in the same way."""
    exponent, fraction = bits >> 10, bits & 0x3FF
    if exponent == 0:
        return np.float32(fraction * 2.0**-24)
    return np.float32(((fraction | 0x400) << exponent) * 2.0**-25)


@inner
def pattern_below(value):  # type: ignore[no-untyped-def]
    """A float16 pattern at or a little below that of a non-negative float32, and 0 for one below the normal range."""
    return max(np.int64(np.float32(value).view(np.int32) >> 13) - (112 << 10), 0)


@entry
def score_values(scores, values):  # type: ignore[no-untyped-def]
    """float16 bit patterns to float32 numbers, exactly, subnormal ones included."""
    bits = values.view(np.uint32)
    for i in range(scores.size):
        bits[i] = np.uint32(scores[i]) << np.uint32(13)
    scale = np.float32(2.0**112)
    for i in range(scores.size):
        values[i] = values[i] * scale


@inner
def whole_words(scores):  # type: ignore[no-untyped-def]
    """Scores [column] up to a multiple of 64: they themselves, or a copy with zeros behind."""
    n = (scores.size + 63) & ~63
    if n == scores.size:
        return scores
    padded = np.zeros(n, scores.dtype)
    for i in range(scores.size):  # for `padded[:n] = scores` numba compiles a message about shapes: 2 s
        padded[i] = scores[i]
    return padded


@entry
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


@entry
def score_sum(scores, active):  # type: ignore[no-untyped-def]
    """Sums of all scores and of the active ones, in units of 2**-24, and the active ones' share of all squares, in
    units of 2**-40 (all of it where all scores are 0): in integers, so that no order matters.

    Where the largest score has 21 bits above the smallest unit or more, squares lose what is below its 21.
    """
    highest = np.uint16(0)
    for i in range(scores.size):
        highest = scores[i] if scores[i] > highest else highest
    shift = np.uint64(max(0, int(highest >> 10) - 11))
    total, kept = np.uint64(0), np.uint64(0)
    squares, kept_squares = np.uint64(0), np.uint64(0)
    for i in range(scores.size):
        exponent = np.uint64(scores[i]) >> _FRACTION_BITS
        is_normal = np.uint64(exponent != 0)
        # Subnormals have no hidden bit and the exponent of the smallest normal.
        fraction = (np.uint64(scores[i]) & _FRACTION) | (is_normal << _FRACTION_BITS)
        units = fraction << (exponent - is_normal)
        # Products of 32 bits, and a mask instead of a branch: so several scores are summed at once.
        square = ((units >> shift) & _LOW) * ((units >> shift) & _LOW)
        mask = np.uint64(0) - np.uint64(active[i])
        total += units
        kept += units & mask
        squares += square
        kept_squares += square & mask
    share = np.float64(kept_squares) / np.float64(squares) if squares else 1.0
    return np.int64(total), np.int64(kept), np.int64(share * 2.0**40)


@inner
def set_sum(scores, active):  # type: ignore[no-untyped-def]
    """As `score_sum`, of scores in whole words and uint64 [word], a set as of `dipsim.kernels.bits`."""
    flags = np.empty(scores.size, np.bool_)
    unpack(active, flags)
    return score_sum(scores, flags)


@entry
def first_bad(scores):  # type: ignore[no-untyped-def]
    """Flat index of the first score that is negative, infinite or not a number; -1 where all are fine."""
    for i in range(scores.size):
        if scores[i] > LARGEST_FINITE:
            return i
    return -1


@entry
def clean_scores(scores):  # type: ignore[no-untyped-def]
    """Makes one zero of the two, in place; then as `first_bad`."""
    highest = np.uint16(0)
    for i in range(scores.size):
        score = np.uint16(0) if scores[i] == np.uint16(0x8000) else scores[i]
        scores[i] = score
        highest = max(highest, score)
    return first_bad(scores) if highest > LARGEST_FINITE else -1
