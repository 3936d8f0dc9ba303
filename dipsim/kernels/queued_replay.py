"""Tokens of one (layer, group) in one go, for policies that keep queues.

The same steps as `dipsim.cache.WeightCache` and `dipsim.policies.queued` take for a token; results are equal to theirs
column by column.
"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.making_room import let_in, list_columns, seek_room
from dipsim.kernels.queues import enter, evict, forget, touch
from dipsim.kernels.replay import count_true
from dipsim.kernels.rules import choose_columns
from dipsim.kernels.scores import score_sum


@numba.njit(cache=True, nogil=True)
def _update(  # type: ignore[no-untyped-def]
    scores, kind, bypass, slots, nodes, rings, resident, n_resident, guess, active, missed, n_missed, columns, flags
):
    """The cache after a token; arguments as in `replay_queued`, but of one token. Returns how many are resident."""
    candidates, victims, refused = flags
    touch(kind, nodes, rings, columns[: list_columns(active, columns)])
    entering = columns[: list_columns(missed, columns)]
    n_victims = seek_room(bypass, slots, active, missed, n_missed, resident, n_resident, candidates)
    if n_victims > 0:
        evict(kind, nodes, rings, entering, candidates, n_victims, victims)
    else:
        enter(kind, nodes, rings, entering)
        victims[:] = False
    n_admitted = n_missed if bypass else min(n_missed, slots - n_resident + n_victims)
    let_in(scores, missed, n_admitted, n_missed, victims, guess, resident, refused)
    if n_admitted < n_missed:
        forget(kind, nodes, rings, columns[: list_columns(refused, columns)])
    return n_resident + n_admitted - n_victims


@numba.njit(cache=True, nogil=True)
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
        guess: int64 [1 + N_GUESSES], where searches begin: bits of an admitted score, and those of `choose_columns`;
            kept.
        scores, gammas, k, rule, exempt, m, bypass, slots, resident, active, missed, counts, held: as of
            `replay_tokens`.
    """
    no_scores, columns = np.empty(0, np.uint16), np.empty(resident.size + 1, np.int64)
    flags = np.empty(resident.size, np.bool_), np.empty(resident.size, np.bool_), np.empty(resident.size, np.bool_)
    n_resident = count_true(resident)
    for t in range(active.shape[0]):
        own = scores[t] if scores.size else no_scores
        if gammas.size:
            choose_columns(own, resident, gammas[t], k, rule, exempt, m, guess[1:], active[t])
        for i in range(resident.size):
            missed[t, i] = active[t, i] & ~resident[i]
        for i in range(held.shape[1]):
            held[t, i] = resident[i]
        counts[t, 0], counts[t, 1] = count_true(active[t]), count_true(missed[t])
        if own.size:
            counts[t, 2], counts[t, 3], counts[t, 4] = score_sum(own, active[t])
        if slots > 0:
            n_resident = _update(
                *(own, kind, bypass, slots, nodes, rings, resident, n_resident, guess, active[t], missed[t]),
                *(counts[t, 1], columns, flags),
            )
