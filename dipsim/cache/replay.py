"""What does one (layer, group) use, token after token: its masks, its misses, and what its cache makes of them.

A cache sees the scores of its own layer and group alone, so that tokens can be run ahead of simulated time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from dipsim import kernels
from dipsim.cache.weight_cache import Admission
from dipsim.kernels import BoolArray, Int32Array, Int64Array, Uint16Array
from dipsim.methods import Method, TopK, choose
from dipsim.model.groups import Group
from dipsim.policies import Belady, Fifo, Lfu, LfuInCache, Lru, Place, Policy, Window

# Policies whose priority is one integer, which compiled code keeps. A subclass may rank as it likes: exact types only.
_RANKINGS: dict[type, int] = {
    Lru: kernels.LAST_USE,
    Window: kernels.LAST_USE,
    Lfu: kernels.USE_COUNT,
    LfuInCache: kernels.USE_COUNT_IN_CACHE,
    Fifo: kernels.ENTRY,
    Belady: kernels.NEXT_USE,
}
# What kernels take where there is nothing.
NO_SCORES: Uint16Array = np.empty((0, 0), np.uint16)
_NO_NEXT_USE: Int32Array = np.empty((0, 0), np.int32)
_NOT_TOLD: BoolArray = np.empty((0, 0), np.bool_)


class Ranking(NamedTuple):
    """What a column's priority is made of, a constant of the kernels, and after how many tokens without use it leaves
    in any case, 0 for never."""

    kind: int
    window: int = 0


def ranking_of(policy: Policy) -> Ranking | None:
    """How the kernels rank columns as this policy does; None if they cannot."""
    kind = _RANKINGS.get(type(policy))
    return None if kind is None else Ranking(kind, policy.k if isinstance(policy, Window) else 0)


@dataclass(frozen=True)
class Usage:
    """What some tokens used.

    Attributes:
        active: bool [token, column].
        missed: bool [token, column], active and not resident before the token.
        counts: int64 [token, 5]: active columns, missed ones, sum of all scores and of the active ones in units of
            2**-24, share of the active ones' squares in units of 2**-40; these three are 0 where the group is dense.
        held: bool [token, column], resident before the token; None if nobody asked.
    """

    active: BoolArray
    missed: BoolArray
    counts: Int64Array
    held: BoolArray | None = None


class Tokens(NamedTuple):
    """The next tokens of a sequence, as one (layer, group) sees them.

    Attributes:
        n_tokens: how many.
        first_token: index of the first in its sequence; -1 for its prompt, which is one token with a mask.
        scores: float16 bit patterns [token, column]; None where the group is dense.
        next_use: int32 [token, column] for a policy that needs it.
        masks: bool [token, column], to be used instead of choosing.
        tells_held: whether the usage is to tell what was resident.
    """

    n_tokens: int
    first_token: int
    scores: Uint16Array | None = None
    next_use: Int32Array | None = None
    masks: BoolArray | None = None
    tells_held: bool = False


class Replay(Protocol):
    """Runs one (layer, group) through tokens.

    Attributes:
        is_plain: whether it may call policies of other people, which expect one order of calls: no threads then.
    """

    is_plain: ClassVar[bool] = False

    def start(self) -> None:
        """A new sequence begins."""

    def run(self, tokens: Tokens) -> Usage:
        """The next tokens of a sequence.

        Raises:
            DipsimError: a mask is empty, or a policy broke its contract.
        """


class NoColumns(Replay):
    """A group that a layer does not have: nothing is used there, whatever the scores."""

    def __init__(self, group: Group) -> None:
        self._n_columns = group.n_columns

    def start(self) -> None:
        """Nothing changes."""

    def run(self, tokens: Tokens) -> Usage:
        """See `Replay`."""
        nothing: BoolArray = np.zeros((tokens.n_tokens, self._n_columns), np.bool_)
        counts: Int64Array = np.zeros((tokens.n_tokens, 5), np.int64)
        return Usage(nothing, nothing.copy(), counts, nothing.copy() if tokens.tells_held else None)


class PinnedColumns(Replay):
    """A group whose first columns are always resident, and no others."""

    def __init__(self, masking: Method, group: Group, n_pinned: int) -> None:
        self._masking = masking
        self._group = group
        self._elsewhere: BoolArray = np.arange(group.n_columns) >= n_pinned

    def start(self) -> None:
        """Nothing changes."""

    def run(self, tokens: Tokens) -> Usage:
        """See `Replay`."""
        n_tokens, first_token, scores, _, masks, tells_held = tokens
        if masks is not None:
            active = masks
        elif scores is not None:
            resident = ~self._elsewhere if self._masking.looks_at_residency else None
            active = choose(self._masking, self._group, scores, first_token, resident)
        else:
            active = np.ones((n_tokens, self._elsewhere.size), np.bool_)
        usage = usage_of(active, active & self._elsewhere, scores)
        return replace(usage, held=np.broadcast_to(~self._elsewhere, active.shape)) if tells_held else usage


def usage_of(active: BoolArray, missed: BoolArray, scores: Uint16Array | None) -> Usage:
    """What is used by known masks and misses, bool [token, column]; scores as in `Tokens`."""
    counts: Int64Array = np.zeros((len(active), 5), np.int64)
    counts[:, 0], counts[:, 1] = active.sum(axis=1), missed.sum(axis=1)
    if scores is not None:
        kernels.score_sums(scores, active, counts)
    return Usage(active, missed, counts)


class ChosenFirst(Replay):
    """A method that does not look at residency chooses for all tokens, then a compiled cache runs through the masks."""

    def __init__(self, cache: Replay, masking: Method, group: Group) -> None:
        self._cache = cache
        self._masking = masking
        self._group = group

    def start(self) -> None:
        """The cache is empty."""
        self._cache.start()

    def run(self, tokens: Tokens) -> Usage:
        """See `Replay`."""
        if tokens.masks is None and tokens.scores is not None:
            masks = choose(self._masking, self._group, tokens.scores, tokens.first_token)
            tokens = tokens._replace(masks=masks)
        return self._cache.run(tokens)


class CompiledReplay(Replay):
    """A top-k of reweighted scores or all columns, and a policy that ranks by one integer: equal to `PlainReplay`."""

    def __init__(self, place: Place, ranking: Ranking, admission: Admission, top_k: TopK | None) -> None:
        self._place = place
        self._ranking = ranking
        self._admission = admission
        self._top_k = top_k
        self._resident: BoolArray = np.zeros(place.n_columns, np.bool_)
        self._uses: Int32Array = np.zeros(place.n_columns, np.int32)
        self._times: Int32Array = np.zeros(place.n_columns, np.int32)
        self._guess: Int64Array = np.array([0, 0, *(1 + kernels.N_GUESSES) * [kernels.ANY_THRESHOLD]], np.int64)

    def start(self) -> None:
        """The cache is empty and nothing was seen."""
        self._resident[:] = False
        self._uses[:] = 0
        self._times[:] = 0

    def run(self, tokens: Tokens) -> Usage:
        """See `Replay`."""
        n_tokens, first_token, scores, next_use, masks, tells_held = tokens
        shape = n_tokens, self._resident.size
        active: BoolArray = np.ones(shape, np.bool_) if masks is None else masks
        missed: BoolArray = np.empty(shape, np.bool_)
        counts: Int64Array = np.zeros((n_tokens, 5), np.int64)
        held: BoolArray = np.empty(shape, np.bool_) if tells_held else _NOT_TOLD
        chooses = scores is not None and masks is None and self._top_k is not None
        places = range(first_token, first_token + n_tokens)
        gammas = [self._top_k.gamma_at(token) for token in places] if chooses and self._top_k else []
        choice = self._top_k.choice if self._top_k else (0, 0, 0, 0)
        kernels.replay_tokens(
            NO_SCORES if scores is None else scores,
            np.array(gammas, np.float32),
            *choice,
            *self._ranking,
            self._admission == "priority",
            self._place.slots,
            first_token + 1,  # a prompt comes before the first
            _NO_NEXT_USE if next_use is None else next_use,
            self._resident,
            self._uses,
            self._times,
            self._guess,
            active,
            missed,
            counts,
            held,
        )
        return Usage(active, missed, counts, held if tells_held else None)
