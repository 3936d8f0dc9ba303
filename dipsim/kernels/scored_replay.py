"""Tokens of one (layer, group) in one go, for policies that rank columns by a float64.

The same steps as `dipsim.cache.WeightCache` takes for a token; results are equal to its column by column.
"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.making_room import let_in, seek_room
from dipsim.kernels.replay import count_true
from dipsim.kernels.rules import choose_columns
from dipsim.kernels.scored import mark_leaving, rank_used
from dipsim.kernels.scores import score_sum


@numba.njit(cache=True, nogil=True)
def replay_scored(  # type: ignore[no-untyped-def]
    scores,
    gammas,
    k,
    rule,
    exempt,
    m,
    kind,
    priority,
    memory,
    options,
    words,
    bypass,
    slots,
    first,
    resident,
    guess,
    spans,
    active,
    missed,
    counts,
    held,
):
    """Runs a cache through some tokens of one sequence.

    Args:
        kind, priority, memory, options, words: of the policy, as of `rank_used` and `mark_leaving`; updated.
        guess: int64 [2 + N_GUESSES], where searches begin: bits of an admitted score and of a threshold, and those of
            `choose_columns`; kept.
        spans: as of `mark_leaving`; kept.
        scores, gammas, k, rule, exempt, m, bypass, slots, first, resident, active, missed, counts, held: as of
            `replay_tokens`.
    """
    n, no_scores = resident.size, np.empty(0, np.uint16)
    candidates, victims, refused = np.empty(n, np.bool_), np.empty(n, np.bool_), np.empty(n, np.bool_)
    n_resident = count_true(resident)
    for t in range(active.shape[0]):
        own = scores[t] if scores.size else no_scores
        if gammas.size:
            choose_columns(own, resident, gammas[t], k, rule, exempt, m, guess[2:], active[t])
        for i in range(n):
            missed[t, i] = active[t, i] & ~resident[i]
        for i in range(held.shape[1]):
            held[t, i] = resident[i]
        n_active, n_missed = count_true(active[t]), count_true(missed[t])
        counts[t, 0], counts[t, 1] = n_active, n_missed
        if own.size:
            counts[t, 2], counts[t, 3], counts[t, 4] = score_sum(own, active[t])
        if slots == 0:
            continue
        rank_used(kind, priority, memory, options, own, active[t], n_active, first + t, guess[1:2])
        n_victims = seek_room(bypass, slots, active[t], missed[t], n_missed, resident, n_resident, candidates)
        if n_victims > 0:
            mark_leaving(kind, priority, memory, words, candidates, n_victims, spans, victims)
        else:
            victims[:] = False
        n_admitted = n_missed if bypass else min(n_missed, slots - n_resident + n_victims)
        let_in(own, missed[t], n_admitted, n_missed, victims, guess[0:1], resident, refused)
        n_resident += n_admitted - n_victims
