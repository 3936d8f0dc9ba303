"""Tokens of one (layer, group) in one go, for policies that keep queues.

The same steps as `dipsim.cache.WeightCache` and `dipsim.policies.queued` take for a token; results are equal to theirs
column by column.
"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import count_set, pack, unpack
from dipsim.kernels.compiled_code import entry, inner
from dipsim.kernels.making_room import let_in, list_columns, seek_room
from dipsim.kernels.queues import enter, evict, forget, touch
from dipsim.kernels.replay import note_use
from dipsim.kernels.rings import N_LISTS
from dipsim.kernels.rules import choose_set
from dipsim.kernels.scores import whole_words


@inner
def _update(  # type: ignore[no-untyped-def]
    scores, kind, bypass, slots, nodes, rings, resident, n_resident, guess, active, missed, n_missed, columns, flags
):
    """The cache after a token; arguments as in `replay_queued`, but of one token. Returns how many are resident."""
    candidates, victims, refused = np.empty_like(resident), np.zeros_like(resident), np.empty_like(resident)
    touch(kind, nodes, rings, columns[: list_columns(active, columns)])
    entering = columns[: list_columns(missed, columns)]
    n_victims = seek_room(bypass, slots, active, missed, n_missed, resident, n_resident, candidates)
    if n_victims > 0:
        unpack(candidates, flags[0])
        evict(kind, nodes, rings, entering, flags[0], n_victims, flags[1])
        pack(flags[1], victims)
    else:
        enter(kind, nodes, rings, entering)
    n_admitted = n_missed if bypass else min(n_missed, slots - n_resident + n_victims)
    let_in(scores, missed, n_admitted, n_missed, victims, guess[0], resident, refused)
    if n_admitted < n_missed:
        forget(kind, nodes, rings, columns[: list_columns(refused, columns)])
    return n_resident + n_admitted - n_victims


@entry
def replay_queued(  # type: ignore[no-untyped-def]
    scores,
    gammas,
    k,
    rule,
    exempt,
    m,
    kind,
    bypass,
    slots,
    nodes,
    rings,
    resident,
    guess,
    active,
    missed,
    counts,
    held,
):
    """Runs a cache through some tokens of one sequence.

    Args:
        kind, nodes, rings: of the policy's queues, as in `dipsim.kernels.queues`; updated.
        guess: int64 [1 + N_SEARCHES, 2], where searches begin: for an admitted score, and those of `choose_set`; kept.
        scores, gammas, k, rule, exempt, m, bypass, slots, resident, active, missed, counts, held: as of
            `replay_tokens`.
    """
    n_columns = nodes.size - N_LISTS
    no_scores, columns = np.empty(0, np.uint16), np.empty(n_columns, np.int64)
    flags, n_resident = np.empty((2, n_columns), np.bool_), count_set(resident)
    for t in range(active.shape[0]):
        own = whole_words(scores[t]) if scores.size else no_scores
        if gammas.size:
            choose_set(own, n_columns, resident, gammas[t], k, rule, exempt, m, guess[1:], active[t])
        note_use(t, own, resident, active, missed, held, counts)
        if slots > 0:
            n_resident = _update(
                *(own, kind, bypass, slots, nodes, rings, resident, n_resident, guess, active[t], missed[t]),
                *(counts[t, 1], columns, flags),
            )
