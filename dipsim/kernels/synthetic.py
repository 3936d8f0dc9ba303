"""Scores of columns that no model was asked for: random processes in time, bent to a given distribution."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import entry, inner

# Magnitudes are looked up by their float32 bits: octaves from 2**-24 on, each in 2**7 steps.
BEND_LOWEST_LOG2, BEND_OCTAVES, _STEPS_LOG2 = -24, 36, 7
BEND_STEPS = 1 << _STEPS_LOG2


@inner
def _random_bits(place):  # type: ignore[no-untyped-def]
    """64 random bits of a place in a stream (SplitMix64): the same on every machine, in any order."""
    bits = place * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@inner
def _advance(place, normals, gain, static, steps, slow, fast, m):  # type: ignore[no-untyped-def]
    """One token: the two processes take a step, and `m` is worked out."""
    keep_slow, new_slow, share_slow, keep_fast, new_fast, share_fast = steps
    for j in range(m.size):
        bits = _random_bits(place + np.uint64(j))
        slow[j] = keep_slow * slow[j] + new_slow * normals[bits >> np.uint64(48)]
        fast[j] = keep_fast * fast[j] + new_fast * normals[(bits >> np.uint64(32)) & np.uint64(0xFFFF)]
        m[j] = gain[j] * abs(static[j] + share_slow * slow[j] + share_fast * fast[j])


@inner
def _bend(m, table, scores):  # type: ignore[no-untyped-def]
    """Looks m up, linearly between two steps, and rounds to the bit patterns of float16."""
    shift = np.uint32(23 - _STEPS_LOG2)
    first = np.uint32((127 + BEND_LOWEST_LOG2) << _STEPS_LOG2)
    low, high = np.float32(2.0**BEND_LOWEST_LOG2), np.float32(2.0 ** (BEND_LOWEST_LOG2 + BEND_OCTAVES) * 0.999)
    unit, down = np.float32(2.0 ** (_STEPS_LOG2 - 23)), np.float32(2.0**-112)
    for j in range(m.size):
        m[j] = min(max(m[j], low), high)
    bits = m.view(np.uint32)
    for j in range(m.size):
        i = (bits[j] >> shift) - first
        rest = np.float32(bits[j] & np.uint32((1 << shift) - 1)) * unit
        m[j] = (table[i] + rest * (table[i + np.uint32(1)] - table[i])) * down
    for j in range(m.size):  # to the nearest float16, ties to even: 2**-112 has aligned the exponents
        scores[j] = (bits[j] + np.uint32(0xFFF) + ((bits[j] >> np.uint32(13)) & np.uint32(1))) >> np.uint32(13)


@entry
def synthetic_scores(  # type: ignore[no-untyped-def]
    place, starts, normals, gain, static, first_steps, steps, slow, fast, table, scores
):
    """The next tokens of some columns: table(gain |static + share_slow slow + share_fast fast|), where both processes
    take the step `y = keep y + new normal`.

    Args:
        place: uint64, of the first token and column in the random numbers; each (token, column) takes one place.
        starts: bool [token], whether it begins a document.
        normals: float32 [2**16], values that 16 random bits choose from.
        gain, static: float32 [column].
        first_steps: keep, new and share of the slow, then of the fast process, as float32, at the start of a document.
        steps: the same elsewhere.
        slow, fast: float32 [column], the processes; updated.
        table: float32 [BEND_OCTAVES * BEND_STEPS + 1], what magnitudes are worth at the steps of each octave.
        scores: uint16 [token, column], float16 bit patterns; to be filled.
    """
    m = np.empty(gain.size, np.float32)
    for t in range(starts.size):
        own = first_steps if starts[t] else steps
        _advance(place + np.uint64(t * gain.size), normals, gain, static, own, slow, fast, m)
        _bend(m, table, scores[t])
