"""What do all layers use of one cache that they share: token after token, and in each of them part after part.

A part is one (layer, group). Its look-ups are one batch, after which the cache is updated; whoever leaves may be of any
part. Columns of all parts lie side by side, and cost their bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from dipsim import kernels
from dipsim.cache.costed_cache import CostedCache
from dipsim.cache.replay import GUESSES, NO_SCORES, Ranking, Replay, Tokens, Usage, ranking_of
from dipsim.cache.weight_cache import Admission
from dipsim.kernels import BoolArray, Float32Array, Int64Array, Uint16Array
from dipsim.methods import Method, TopK, check_mask, choose, in_layer, select, top_k_of
from dipsim.model.groups import Group
from dipsim.policies import Place, Policy
from dipsim.registry import blaming

# Bytes may be fractional; whole numbers of these parts of one add up without rounding.
_PARTS_OF_A_BYTE = 1024
_NEVER = np.iinfo(np.int32).max
_NO_FUTURE: Int64Array = np.empty(0, np.int64)
_NO_GAMMAS: Float32Array = np.empty((0, 0), np.float32)
_NOT_TOLD: BoolArray = np.empty(0, np.bool_)


@dataclass(frozen=True)
class Part:
    """One (layer, group) of the cache, and the method that masks it there."""

    layer: int
    group: Group
    masking: Method


class SharedCache:
    """One cache for many parts.

    Args:
        stages: layer and group of each part, in the order of look-ups.
        masking: the method.
        policy: decides who leaves; owned by this cache.
        admission: see `WeightCache`.
        capacity_bytes: for all columns together.
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, Group]],
        masking: Method,
        policy: Policy,
        admission: Admission,
        capacity_bytes: Fraction,
    ) -> None:
        self.parts = [Part(layer, group, in_layer(masking, layer)) for layer, group in stages]
        self.place = _place(self.parts, capacity_bytes)
        self.capacity = math.floor(capacity_bytes * _PARTS_OF_A_BYTE)
        widths = [part.group.n_columns for part in self.parts]
        self.costs: Int64Array = np.repeat([_cost(part) for part in self.parts], widths)
        self.edges: Int64Array = np.array(self.place.edges, np.int64)
        top_ks = [None if part.group.site is None else top_k_of(masking, part.layer, part.group) for part in self.parts]
        masked = [top_k for top_k, part in zip(top_ks, self.parts, strict=True) if part.group.site is not None]
        is_top_k = len(masked) == len(self.parts) and None not in masked
        # Masks that do not look at residency may be chosen first.
        self._chooses_first = not is_top_k and not any(part.masking.looks_at_residency for part in self.parts)
        ranking = ranking_of(policy)
        self.is_plain = ranking is None or not (is_top_k or self._chooses_first or not masked)
        self._own: _Own = (
            _Plain(self, policy, admission)
            if ranking is None or self.is_plain
            else _Compiled(self, ranking, admission, [top_k for top_k in top_ks if top_k] if is_top_k else [])
        )
        self._index = {(layer, name): p for p, (layer, name, _) in enumerate(self.place.parts)}
        self._n_before = 0

    def start(self) -> None:
        """A new sequence begins."""
        self._n_before = 0
        self._own.start()

    def part_of(self, layer: int, group: Group) -> int | None:
        """Index of a part; None of what the cache does not hold."""
        return self._index.get((layer, group.name))

    def replay(self, part: int) -> Replay:
        """The cache as one part sees it: for tokens one by one, each part in its turn."""
        return _OfPart(self, part)

    def run(self, tokens: Sequence[Tokens], first_part: int = 0) -> list[Usage]:
        """The next tokens of a sequence.

        Args:
            tokens: of each part from the first on; next uses are tokens of the sequence.
            first_part: index of the first of these parts.

        Raises:
            DipsimError: as `Replay.run`.
        """
        if tokens[0].first_token < 0:
            self._n_before = 1
        parts = range(first_part, first_part + len(tokens))
        return self._own.run([self._with_mask(p, own) for p, own in zip(parts, tokens, strict=True)], parts)

    def _with_mask(self, p: int, tokens: Tokens) -> Tokens:
        part = self.parts[p]
        if tokens.masks is None and tokens.scores is None:
            return tokens._replace(masks=np.ones((tokens.n_tokens, part.group.n_columns), np.bool_))
        if tokens.masks is None and tokens.scores is not None and self._chooses_first:
            return tokens._replace(masks=choose(part.masking, part.group, tokens.scores, tokens.first_token))
        return tokens

    def times(self, tokens: Tokens, parts: range) -> Int64Array:
        """When each batch is, counted in batches: int64 [token, part]."""
        first = tokens.first_token + self._n_before
        first_batches = np.arange(first, first + tokens.n_tokens) * len(self.parts)
        found: Int64Array = np.add.outer(first_batches, np.array(parts))
        return found

    def next_use(self, p: int, tokens: Tokens) -> Int64Array | None:
        """The batches in which a part's columns are used next, int64 [token, column]."""
        if tokens.next_use is None:
            return None
        later = (tokens.next_use.astype(np.int64) + self._n_before) * len(self.parts) + p
        found: Int64Array = np.where(tokens.next_use == _NEVER, np.int64(2**62), later)
        return found


class _OfPart(Replay):
    """See `SharedCache.replay`."""

    def __init__(self, cache: SharedCache, part: int) -> None:
        self._cache = cache
        self._part = part

    def start(self) -> None:
        """The cache is empty; all parts are told before any of them runs."""
        self._cache.start()

    def run(self, tokens: Tokens) -> Usage:
        """See `Replay`."""
        return self._cache.run([tokens], self._part)[0]


class _Plain:
    """Any method and any policy, one batch after another."""

    def __init__(self, cache: SharedCache, policy: Policy, admission: Admission) -> None:
        self._shared = cache
        self._cache = CostedCache(cache.place, policy, admission, cache.costs, cache.capacity)
        n = cache.place.n_columns
        self._active: BoolArray = np.zeros(n, np.bool_)
        self._scores: Uint16Array = np.zeros(n, np.uint16)
        self._next_use: Int64Array = np.full(n, 2**62, np.int64)

    def start(self) -> None:
        self._cache.start()
        self._scores[:] = 0
        self._next_use[:] = 2**62

    def run(self, tokens: list[Tokens], parts: range) -> list[Usage]:
        times = self._shared.times(tokens[0], parts)
        later = [self._shared.next_use(p, own) for p, own in zip(parts, tokens, strict=True)]
        usages = [_empty(own, self._shared.parts[p].group.n_columns) for p, own in zip(parts, tokens, strict=True)]
        for t in range(tokens[0].n_tokens):
            for i, p in enumerate(parts):
                self._batch(p, t, int(times[t, i]), tokens[i], later[i], usages[i])
        for usage in usages:
            usage.counts[:, 0], usage.counts[:, 1] = usage.active.sum(axis=1), usage.missed.sum(axis=1)
        return [Usage.of(*usage) for usage in usages]

    def _batch(self, p: int, t: int, time: int, tokens: Tokens, later: Int64Array | None, usage: _Filled) -> None:
        part, cache, active = self._shared.parts[p], self._cache, usage.active[t]
        own = slice(self._shared.edges[p], self._shared.edges[p + 1])
        resident = cache.resident[own]
        if usage.held is not None:
            usage.held[t] = resident
        if tokens.masks is None and tokens.scores is not None:
            seen = resident.copy() if part.masking.looks_at_residency else np.zeros_like(resident)
            select(part.masking, part.group, tokens.scores[t], seen, tokens.first_token + t, active)
        check_mask(part.masking, part.group, active)
        if tokens.scores is not None:
            usage.counts[t, 2:] = kernels.score_sum(tokens.scores[t], active)
            self._scores[own] = tokens.scores[t]
        np.logical_and(active, ~resident, out=usage.missed[t])
        with blaming(cache.policy, lambda: f"policy {type(cache.policy).__name__}"):
            if later is not None:
                self._next_use[own] = later[t]
                cache.policy.foresee(self._next_use)
            self._active[own] = active
            cache.update(self._active, None if tokens.scores is None else self._scores, time)
            self._active[own] = False


class _Compiled:
    """A top-k of reweighted scores or known masks, and a policy that ranks by one integer: equal to `_Plain`."""

    def __init__(self, cache: SharedCache, ranking: Ranking, admission: Admission, top_ks: list[TopK]) -> None:
        self._shared = cache
        self._ranking = ranking
        self._bypasses = admission == "priority"
        self._top_ks = top_ks
        n, n_parts = cache.place.n_columns, len(cache.parts)
        self._choices: Int64Array = np.array([top_k.choice for top_k in top_ks] or np.zeros((n_parts, 4)), np.int64)
        self._guesses: Int64Array = np.full((n_parts, *GUESSES), kernels.ANY_THRESHOLD, np.int64)
        self._state: Int64Array = np.zeros(2, np.int64)
        self._resident: BoolArray = np.zeros(n, np.bool_)
        self._rank: Int64Array = np.zeros(n, np.int64)
        self._heap, self._where = np.zeros((2, n), np.int32)

    def start(self) -> None:
        for state in (self._state, self._resident, self._rank):
            state[:] = 0

    def run(self, tokens: list[Tokens], parts: range) -> list[Usage]:
        shared, n_tokens = self._shared, tokens[0].n_tokens
        has_scores, chooses = tokens[0].scores is not None, tokens[0].masks is None
        later = [shared.next_use(p, own) for p, own in zip(parts, tokens, strict=True)]
        edges = shared.edges[parts.start : parts.stop + 1]
        n_flat = n_tokens * int(edges[-1] - edges[0])
        active: BoolArray = np.empty(n_flat, np.bool_) if chooses else _flat([own.masks for own in tokens])
        missed: BoolArray = np.empty(n_flat, np.bool_)
        held: BoolArray = np.empty(n_flat, np.bool_) if tokens[0].tells_held else _NOT_TOLD
        counts: Int64Array = np.zeros((len(parts), n_tokens, 5), np.int64)
        kernels.share_replay(
            _flat([own.scores for own in tokens]) if has_scores else NO_SCORES.reshape(-1),
            self._gammas(tokens[0], parts) if chooses else _NO_GAMMAS,
            self._choices[parts.start : parts.stop],
            self._ranking.kind,
            self._ranking.window * shared.place.n_batches,
            self._bypasses,
            shared.capacity,
            shared.times(tokens[0], parts),
            _NO_FUTURE if later[0] is None else _flat(later),
            edges,
            shared.costs,
            self._guesses[parts.start : parts.stop],
            self._state,
            (self._resident, self._rank, self._heap, self._where),
            (active, missed, held, counts),
        )
        bounds = list(pairwise((n_tokens * (edges - edges[0])).tolist()))
        usages = []
        for (low, high), own in zip(bounds, counts, strict=True):
            rows = [of[low:high].reshape(n_tokens, -1) for of in (active, missed, held)]
            usages.append(Usage.of(rows[0], rows[1], own, rows[2] if held.size else None))
        return usages

    def _gammas(self, tokens: Tokens, parts: range) -> Float32Array:
        places = range(tokens.first_token, tokens.first_token + tokens.n_tokens)
        return np.stack([self._top_ks[p].gammas(places) for p in parts], axis=1)


_Own = _Plain | _Compiled


def _flat(of_parts: Sequence[Any]) -> Any:
    """Arrays [token, column] of each part, one behind the other."""
    return np.concatenate([own.reshape(-1) for own in of_parts])


class _Filled(NamedTuple):
    """Masks and counts of a `Usage`, bool [token, column], filled token after token."""

    active: BoolArray
    missed: BoolArray
    counts: Int64Array
    held: BoolArray | None


def _empty(tokens: Tokens, n_columns: int) -> _Filled:
    """To be filled."""
    shape = tokens.n_tokens, n_columns
    active: BoolArray = np.zeros(shape, np.bool_) if tokens.masks is None else tokens.masks
    held: BoolArray | None = np.empty(shape, np.bool_) if tokens.tells_held else None
    return _Filled(active, np.empty(shape, np.bool_), np.zeros((tokens.n_tokens, 5), np.int64), held)


def _cost(part: Part) -> int:
    return max(1, math.floor(Fraction(part.group.bytes_in(part.layer)) * _PARTS_OF_A_BYTE))


def _place(parts: Sequence[Part], capacity_bytes: Fraction) -> Place:
    """All columns side by side, and as many slots as columns of mean bytes fit."""
    n_columns = sum(part.group.n_columns for part in parts)
    n_bytes = sum(part.group.n_columns * Fraction(part.group.bytes_in(part.layer)) for part in parts)
    slots = min(n_columns, math.floor(n_columns * capacity_bytes / n_bytes))
    own = tuple((part.layer, part.group.name, part.group.n_columns) for part in parts)
    return Place(n_columns, slots, 0, "shared", own)
