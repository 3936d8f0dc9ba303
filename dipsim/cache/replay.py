"""What does one (layer, group) use, token after token: its masks, its misses, and what its cache makes of them.

A cache sees the scores of its own layer and group alone, so that tokens can be run ahead of simulated time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np

from dipsim import kernels
from dipsim.cache.weight_cache import Admission
from dipsim.kernels import BoolArray, Float32Array, Int32Array, Int64Array, Uint16Array, Uint64Array
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
_NO_GAMMAS: Float32Array = np.empty(0, np.float32)
_NOT_TOLD: Uint64Array = np.empty((0, 0), np.uint64)
# Where searches of the kernels begin.
GUESSES = (3 + kernels.N_SEARCHES, 2)
# Of a sequence whose counts and times are kept in 16 bits.
_MOST_TOKENS = 0xFFFF - 3


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
    """What some tokens used. Sets of columns are words, as of `dipsim.kernels.bits`, and bool [token, column] where
    somebody asks for that.

    Attributes:
        n_columns: of the group.
        active_set: uint64 [token, word].
        missed_set: uint64 [token, word], active and not resident before the token.
        counts: int64 [token, 5]: active columns, missed ones, sum of all scores and of the active ones in units of
            2**-24, share of the active ones' squares in units of 2**-40; these three are 0 where the group is dense.
        held_set: uint64 [token, word], resident before the token; None if nobody asked.
    """

    n_columns: int
    active_set: Uint64Array
    missed_set: Uint64Array
    counts: Int64Array
    held_set: Uint64Array | None = None

    @classmethod
    def of(cls, active: BoolArray, missed: BoolArray, counts: Int64Array, held: BoolArray | None = None) -> Self:
        """The usage of masks, bool [token, column]."""
        pack = kernels.pack_bits
        return cls(active.shape[1], pack(active), pack(missed), counts, None if held is None else pack(held))

    @cached_property
    def active(self) -> BoolArray:
        """Which columns are active, bool [token, column]."""
        return _flags(self.active_set, self.n_columns)

    @cached_property
    def missed(self) -> BoolArray:
        """Which of them are missed, bool [token, column]."""
        return _flags(self.missed_set, self.n_columns)

    @cached_property
    def held(self) -> BoolArray | None:
        """Which columns were resident before, bool [token, column]; None if nobody asked."""
        return None if self.held_set is None else _flags(self.held_set, self.n_columns)


def _flags(columns: Uint64Array, n_columns: int) -> BoolArray:
    flags: BoolArray = kernels.unpack_bits(columns, n_columns)
    return flags


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


class Arrays(NamedTuple):
    """What kernels take and fill in for some tokens, as of `kernels.replay_tokens`."""

    scores: Uint16Array
    gammas: Float32Array
    choice: tuple[int, int, int, int]
    active: Uint64Array
    missed: Uint64Array
    counts: Int64Array
    held: Uint64Array

    @property
    def filled(self) -> tuple[Uint64Array, Uint64Array, Int64Array, Uint64Array]:
        """The last four."""
        return self.active, self.missed, self.counts, self.held

    def usage(self, n_columns: int) -> Usage:
        """What was filled in."""
        return Usage(n_columns, self.active, self.missed, self.counts, None if self.held is _NOT_TOLD else self.held)


def arrays_for(tokens: Tokens, n_columns: int, top_k: TopK | None) -> Arrays:
    """Masks are chosen by the top-k or a hook, unless they are given or the group is dense."""
    n_tokens, first_token, scores, _, masks, tells_held = tokens
    shape, gammas = (n_tokens, (n_columns + 63) // 64), _NO_GAMMAS
    if scores is not None and masks is None and top_k is not None:
        gammas = top_k.gammas(range(first_token, first_token + n_tokens))
    return Arrays(
        NO_SCORES if scores is None else scores,
        gammas,
        top_k.choice if top_k else (0, 0, 0, 0),
        np.repeat(kernels.pack_bits(np.ones((1, n_columns), np.bool_)), n_tokens, axis=0)
        if masks is None
        else kernels.pack_bits(masks),
        np.empty(shape, np.uint64),
        np.zeros((n_tokens, 5), np.int64),
        np.empty(shape, np.uint64) if tells_held else _NOT_TOLD,
    )


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
        return Usage.of(nothing, nothing, counts, nothing if tokens.tells_held else None)


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
        held = np.tile(~self._elsewhere, (n_tokens, 1)) if tells_held else None
        return usage_of(active, active & self._elsewhere, scores, held)


def usage_of(active: BoolArray, missed: BoolArray, scores: Uint16Array | None, held: BoolArray | None = None) -> Usage:
    """What is used by known masks and misses, bool [token, column]; scores as in `Tokens`."""
    counts: Int64Array = np.zeros((len(active), 5), np.int64)
    counts[:, 0], counts[:, 1] = active.sum(axis=1), missed.sum(axis=1)
    if scores is not None:
        kernels.score_sums(scores, active, counts)
    return Usage.of(active, missed, counts, held)


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
        self._n_words = (place.n_columns + 63) // 64
        self._guess: Int64Array = np.full(GUESSES, kernels.ANY_THRESHOLD, np.int64)
        self.start()

    def start(self) -> None:
        """The cache is empty and nothing was seen."""
        self._resident: Uint64Array = np.zeros(self._n_words, np.uint64)
        # Counts and times of a sequence fit narrow integers for long, which are faster to go through.
        kind = np.int32 if self._ranking.kind == kernels.NEXT_USE else np.uint16
        self._uses, self._times = np.zeros((2, 64 * self._n_words), kind)

    def run(self, tokens: Tokens) -> Usage:
        """See `Replay`."""
        arrays, next_use = arrays_for(tokens, self._place.n_columns, self._top_k), tokens.next_use
        k, rule, exempt, m = arrays.choice
        if tokens.first_token + tokens.n_tokens > _MOST_TOKENS:
            self._uses, self._times = self._uses.astype(np.int32), self._times.astype(np.int32)
        kernels.replay_tokens(
            arrays.scores,
            arrays.gammas,
            *(k, rule or None, exempt, m),  # the first rule is the usual one, and compiled without the others
            *self._ranking,
            True if self._admission == "priority" else None,
            self._place.slots,
            tokens.first_token + 1,  # a prompt comes before the first
            _NO_NEXT_USE if next_use is None else next_use,
            self._resident,
            self._uses,
            self._times,
            self._guess,
            *arrays.filled,
        )
        return arrays.usage(self._place.n_columns)
