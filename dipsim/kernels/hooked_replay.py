"""Tokens of one (layer, group) in one go, for policies and methods that somebody else has written.

The same steps as `dipsim.cache.WeightCache` takes for a token, with hooks in compiled code; results are equal to its
column by column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from dipsim.kernels.bits import count_set, pack, unpack
from dipsim.kernels.compiled_code import entry
from dipsim.kernels.hooks import ON_COLUMNS, ON_SCORES, compile_once
from dipsim.kernels.making_room import list_columns, settle
from dipsim.kernels.replay import note_use
from dipsim.kernels.rules import choose_set
from dipsim.kernels.scores import whole_words

# What `replay_hooked` returns.
FINE, EMPTY_MASK, NO_NUMBER = range(3)
_HOOK, _SELECT = types.FunctionType(ON_COLUMNS), types.FunctionType(ON_SCORES)
_SET, _SETS, _NUMBERS = types.uint64[::1], types.uint64[:, ::1], types.float64[::1]
_WHOLE_ROWS, _SCORES = types.int64[:, ::1], types.uint16[:, ::1]


@entry
def _replay(  # type: ignore[no-untyped-def]
    select,
    on_access,
    on_insert,
    on_evict,
    selects,
    tells_active,
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
    n, no_scores, n_resident = priority.size, np.empty(0, np.uint16), count_set(resident)
    columns, flags, mask = np.empty(n, np.int64), np.empty(n, np.bool_), np.empty(n, np.bool_)
    gone = np.empty(n if tells_gone else 0, np.int64)
    for t in range(active.shape[0]):
        own = whole_words(scores[t]) if scores.size else no_scores
        if selects:
            unpack(resident, flags)
            mask[:] = False
            select(scores[t], flags, first + t, mask, select_options)
            pack(mask, active[t])
        elif gammas.size:
            choose_set(own, n, resident, gammas[t], k, rule, exempt, m, guess[1:], active[t])
        note_use(t, own, resident, active, missed, held, counts)
        n_active, n_missed = counts[t, 0], counts[t, 1]
        if n_active == 0:
            return EMPTY_MASK
        if slots == 0:
            continue
        now = first + n_before + t
        if tells_active:
            on_access(priority, columns[: list_columns(active[t], columns)], now, access_options)
        if tells_missed:
            on_insert(priority, columns[: list_columns(missed[t], columns)], now, insert_options)
        n_resident, n_gone = settle(
            *(bypass, slots, active[t], missed[t], n_missed, resident, n_resident, own, priority, span, guess[0]),
            gone,
        )
        if n_resident < 0:
            return NO_NUMBER
        if n_gone:
            on_evict(priority, gone[:n_gone], now, evict_options)
    return FINE


_SIGNATURE = (
    *(_SELECT, _HOOK, _HOOK, _HOOK, *4 * [types.boolean], *4 * [_NUMBERS], _SCORES, types.float32[::1]),
    *(*4 * [types.int64], _NUMBERS, types.boolean, *3 * [types.int64]),
    *(_SET, _WHOLE_ROWS, types.int64[::1], _SETS, _SETS, _WHOLE_ROWS, _SETS),
)


def replay_hooked(*arguments: Any) -> int:
    """Runs a cache through some tokens of one sequence.

    Args:
        select: of the method, as `hook_of` makes it.
        on_access, on_insert, on_evict: of the policy, likewise.
        selects: whether masks are what `select` says.
        tells_active, tells_missed, tells_gone: whether there is something for `on_access`, `on_insert` and `on_evict`.
        select_options, access_options, insert_options, evict_options: float64, what these are given.
        scores: uint16 [token, column], writable.
        priority: float64 [column], of the policy; updated.
        first: index of the first token in its sequence.
        n_before: 1 after a prompt, else 0.
        guess: int64 [1 + N_SEARCHES, 2], where searches begin: for an admitted score, and those of `choose_set`; kept.
        span: int64 [2], see `mark_lowest_priority`; kept.
        gammas, k, rule, exempt, m, bypass, slots, resident, active, missed, counts, held: as of `replay_tokens`.

    Returns:
        `FINE`, or `EMPTY_MASK`, or `NO_NUMBER` where a priority is NaN.
    """
    found: int = compile_once(_replay, _SIGNATURE)(*arguments)
    return found
