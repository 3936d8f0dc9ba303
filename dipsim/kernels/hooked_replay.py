"""Tokens of one (layer, group) in one go, for policies and methods that somebody else has written.

The same steps as `dipsim.cache.WeightCache` takes for a token, with hooks in compiled code; results are equal to its
column by column.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types

from dipsim.kernels.hooks import ON_COLUMNS, ON_SCORES
from dipsim.kernels.making_room import look_up, settle_lowest
from dipsim.kernels.replay import count_true
from dipsim.kernels.rules import choose_columns
from dipsim.kernels.scores import score_sum

# What `replay_hooked` returns.
FINE, EMPTY_MASK, NO_NUMBER = range(3)
_HOOK, _SELECT = types.FunctionType(ON_COLUMNS), types.FunctionType(ON_SCORES)
_FLAGS, _FLAG_ROWS, _NUMBERS = types.boolean[::1], types.boolean[:, ::1], types.float64[::1]
_WHOLE, _WHOLE_ROWS, _SCORES = types.int64[::1], types.int64[:, ::1], types.uint16[:, ::1]


@numba.njit(cache=True, nogil=True)
def _replay(  # type: ignore[no-untyped-def]
    select,
    on_access,
    on_insert,
    on_evict,
    selects,
    tells_missed,
    tells_gone,
    select_options,
    access_options,
    insert_options,
    evict_options,
    scores,
    gammas,
    k,
    rule,
    exempt,
    m,
    priority,
    bypass,
    slots,
    first,
    n_before,
    resident,
    guess,
    span,
    active,
    missed,
    counts,
    held,
):
    n, no_scores = resident.size, np.empty(0, np.uint16)
    columns, n_resident = np.empty(n + 1, np.int64), count_true(resident)
    missed_columns = np.empty(n + 1 if tells_missed else 0, np.int64)
    gone = np.empty(n + 1 if tells_gone else 0, np.int64)
    for t in range(active.shape[0]):
        own = scores[t] if scores.size else no_scores
        if selects:
            select(own, resident.copy(), first + t, active[t], select_options)
        elif gammas.size:
            choose_columns(own, resident, gammas[t], k, rule, exempt, m, guess[1:], active[t])
        for i in range(held.shape[1]):
            held[t, i] = resident[i]
        n_active, n_missed = look_up(active[t], resident, missed[t], columns, missed_columns)
        counts[t, 0], counts[t, 1] = n_active, n_missed
        if n_active == 0:
            return EMPTY_MASK
        if own.size:
            counts[t, 2], counts[t, 3], counts[t, 4] = score_sum(own, active[t])
        if slots == 0:
            continue
        now = first + n_before + t
        on_access(priority, columns[:n_active], now, access_options)
        if tells_missed:
            on_insert(priority, missed_columns[:n_missed], now, insert_options)
        if n_resident + n_missed <= slots:
            for i in range(n):
                resident[i] |= missed[t, i]
            n_resident += n_missed
            continue
        n_resident, n_gone = settle_lowest(
            *(bypass, slots, active[t], missed[t], n_missed, resident, n_resident, own, priority, span, guess[0:1]),
            gone,
        )
        if n_resident < 0:
            return NO_NUMBER
        if n_gone:
            on_evict(priority, gone[:n_gone], now, evict_options)
    return FINE


@cache
def _compiled() -> Any:
    """The loop, once for all hooks, when it is first asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", numba.core.errors.NumbaExperimentalFeatureWarning)
        _replay.compile(
            (
                *(_SELECT, _HOOK, _HOOK, _HOOK, *3 * [types.boolean], *4 * [_NUMBERS], _SCORES, types.float32[::1]),
                *(*4 * [types.int64], _NUMBERS, types.boolean, *3 * [types.int64]),
                *(_FLAGS, _WHOLE, _WHOLE, _FLAG_ROWS, _FLAG_ROWS, _WHOLE_ROWS, _FLAG_ROWS),
            )
        )
    _replay.disable_compile()
    return _replay


def replay_hooked(*arguments: Any) -> int:
    """Runs a cache through some tokens of one sequence.

    Args:
        select: of the method, as `hook_of` makes it.
        on_access, on_insert, on_evict: of the policy, likewise.
        selects: whether masks are what `select` says; `active` is all False then.
        tells_missed, tells_gone: whether there is something for `on_insert` and `on_evict` to do.
        select_options, access_options, insert_options, evict_options: float64, what these are given.
        scores: uint16 [token, column], writable.
        priority: float64 [column], of the policy; updated.
        first: index of the first token in its sequence.
        n_before: 1 after a prompt, else 0.
        guess: int64 [1 + N_GUESSES], where searches begin: bits of an admitted score, and those of `choose_columns`;
            kept.
        span: int64 [2], see `mark_lowest_priority`; kept.
        gammas, k, rule, exempt, m, bypass, slots, resident, active, missed, counts, held: as of `replay_tokens`.

    Returns:
        `FINE`, or `EMPTY_MASK`, or `NO_NUMBER` where a priority is NaN.
    """
    found: int = _compiled()(*arguments)
    return found
