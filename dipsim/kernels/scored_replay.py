"""Tokens of one (layer, group) in one go, for policies that rank columns by a float64.

The same steps as `dipsim.cache.WeightCache` takes for a token; results are equal to its column by column.
"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import count_set, unpack
from dipsim.kernels.compiled_code import entry
from dipsim.kernels.making_room import let_in, seek_room
from dipsim.kernels.replay import note_use
from dipsim.kernels.rules import choose_set
from dipsim.kernels.scored import mark_leaving, rank_used
from dipsim.kernels.scores import whole_words


@entry
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
        guess: int64 [2 + N_SEARCHES, 2], where searches begin: for an admitted score, for a threshold, and those of
            `choose_set`; kept.
        spans: as of `mark_leaving`; kept.
        scores, gammas, k, rule, exempt, m, bypass, slots, first, resident, active, missed, counts, held: as of
            `replay_tokens`.
    """
    no_scores, flags, n_resident = np.empty(0, np.uint16), np.empty(priority.size, np.bool_), count_set(resident)
    candidates, victims, refused = np.empty_like(resident), np.empty_like(resident), np.empty_like(resident)
    for t in range(active.shape[0]):
        own = whole_words(scores[t]) if scores.size else no_scores
        if gammas.size:
            choose_set(own, priority.size, resident, gammas[t], k, rule, exempt, m, guess[2:], active[t])
        note_use(t, own, resident, active, missed, held, counts)
        n_active, n_missed = counts[t, 0], counts[t, 1]
        if slots == 0:
            continue
        unpack(active[t], flags)
        rank_used(kind, priority, memory, options, own, flags, n_active, first + t, guess[1])
        n_victims = seek_room(bypass, slots, active[t], missed[t], n_missed, resident, n_resident, candidates)
        victims[:] = np.uint64(0)
        if n_victims > 0:
            mark_leaving(kind, priority, memory, words, candidates, n_victims, spans, victims)
        n_admitted = n_missed if bypass else min(n_missed, slots - n_resident + n_victims)
        let_in(own, missed[t], n_admitted, n_missed, victims, guess[0], resident, refused)
        n_resident += n_admitted - n_victims
