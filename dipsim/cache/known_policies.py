"""One (layer, group) with a policy that compiled code knows beyond those that rank by one integer: equal to
`PlainReplay`."""

from __future__ import annotations

import numpy as np

from dipsim import kernels
from dipsim.cache.replay import Arrays, Replay, Tokens, Usage, arrays_for
from dipsim.cache.weight_cache import Admission
from dipsim.kernels import Int64Array, Uint64Array
from dipsim.methods import TopK
from dipsim.policies import QUEUED, SCORED, Place, Policy
from dipsim.policies.queued import QueuePolicy
from dipsim.policies.scored import KnownPolicy


class _KnownReplay(Replay):
    """What both kinds share."""

    def __init__(self, place: Place, policy: Policy, admission: Admission, top_k: TopK | None, n_guesses: int) -> None:
        self._place = place
        self._started: Policy = policy
        self._bypasses = admission == "priority"
        self._top_k = top_k
        self._resident: Uint64Array = np.zeros((place.n_columns + 63) // 64, np.uint64)
        self._guess: Int64Array = np.full((n_guesses + kernels.N_SEARCHES, 2), kernels.ANY_THRESHOLD, np.int64)
        policy.start(place)

    def start(self) -> None:
        """The cache is empty and the policy has seen nothing."""
        self._resident[:] = 0
        self._started.start(self._place)

    def run(self, tokens: Tokens) -> Usage:
        """See `Replay`."""
        arrays = arrays_for(tokens, self._place.n_columns, self._top_k)
        self._run(arrays, tokens.first_token + 1)  # a prompt comes before the first
        return arrays.usage(self._place.n_columns)

    def _run(self, arrays: Arrays, first: int) -> None:
        raise NotImplementedError


class QueuedReplay(_KnownReplay):
    """A policy that keeps queues, one of `QUEUED`."""

    def __init__(self, place: Place, policy: QueuePolicy, admission: Admission, top_k: TopK | None) -> None:
        self._policy = policy
        super().__init__(place, policy, admission, top_k, 1)

    def _run(self, arrays: Arrays, first: int) -> None:
        kernels.replay_queued(
            *(arrays.scores, arrays.gammas, *arrays.choice),
            *(self._policy.kind, self._bypasses, self._place.slots, *self._policy.queues),
            *(self._resident, self._guess, *arrays.filled),
        )


class ScoredReplay(_KnownReplay):
    """A policy that ranks columns by a float64, one of `SCORED`."""

    def __init__(self, place: Place, policy: KnownPolicy, admission: Admission, top_k: TopK | None) -> None:
        self._policy = policy
        self._spans: Int64Array = np.zeros((2, 2), np.int64)
        super().__init__(place, policy, admission, top_k, 2)
        self._state = policy.state()

    def start(self) -> None:
        """See `Replay`."""
        super().start()
        self._state = self._policy.state()

    def _run(self, arrays: Arrays, first: int) -> None:
        kernels.replay_scored(
            *(arrays.scores, arrays.gammas, *arrays.choice, *self._state),
            *(self._bypasses, self._place.slots, first),
            *(self._resident, self._guess, self._spans, *arrays.filled),
        )


def known_replay(place: Place, policy: Policy, admission: Admission, top_k: TopK | None) -> Replay | None:
    """The compiled replay of these very policies; None of others, and of classes that derive from them."""
    if type(policy) in QUEUED and isinstance(policy, QueuePolicy):
        return QueuedReplay(place, policy, admission, top_k)
    if type(policy) in SCORED and isinstance(policy, KnownPolicy):
        return ScoredReplay(place, policy, admission, top_k)
    return None
