"""Mask, hits and cache update of the published semantics in PyTorch: one layer at a time, or all layers at once.

An eviction key is one integer: uses, then the token of the last use, then the column (lower leaves first). Keys are all
different, so who is evicted is never torch's choice; which of two equal scores is taken is.
"""

from __future__ import annotations

from typing import Protocol

import torch

COLUMN_BITS, TOKEN_BITS = 20, 24
ONE_USE = 1 << (COLUMN_BITS + TOKEN_BITS)
TOKEN_FIELD = (ONE_USE - 1) >> COLUMN_BITS << COLUMN_BITS
KEPT = torch.iinfo(torch.int64).max


class GroupCaches(Protocol):
    """The caches of one group in every layer."""

    def start(self) -> None:
        """A new sequence: nothing is resident, nothing was used."""

    def step(self, scores: torch.Tensor, token: int) -> int:
        """Hits of one token, from its scores, float32 [layer, column]; the caches are updated."""


class LayerByLayer:
    """As a model runs: each layer's cache is a few vectors of its own."""

    def __init__(self, n_layers: int, n_columns: int, slots: int, k: int, gamma: float) -> None:
        self._caches = [_Cache(n_columns, slots, k, gamma) for _ in range(n_layers)]

    def start(self) -> None:
        for cache in self._caches:
            cache.start()

    def step(self, scores: torch.Tensor, token: int) -> int:
        return sum(cache.step(own, token) for cache, own in zip(self._caches, scores.unbind(), strict=True))


class _Cache:
    def __init__(self, n_columns: int, slots: int, k: int, gamma: float) -> None:
        self._slots, self._k, self._gamma = slots, k, gamma
        self._columns = torch.arange(n_columns)
        self.start()

    def start(self) -> None:
        self._key = self._columns.clone()
        self._resident = torch.zeros(self._columns.numel(), dtype=torch.bool)
        self._n_resident = 0

    def step(self, scores: torch.Tensor, token: int) -> int:
        resident, key = self._resident, self._key
        reweighted = torch.where(resident, scores, scores * self._gamma)
        active = torch.topk(reweighted, self._k, sorted=False).indices
        hit = resident[active]
        n_hits = int(hit.sum())
        key[active] = (key[active] & ~TOKEN_FIELD) + (ONE_USE + (token << COLUMN_BITS))
        missed = active[~hit]
        room = self._slots - self._n_resident
        n_victims = max(0, min(missed.numel() - room, self._n_resident - n_hits))
        if n_victims:
            candidates = torch.where(resident, key, KEPT)
            candidates[active] = KEPT
            resident[torch.topk(candidates, n_victims, largest=False, sorted=False).indices] = False
            room += n_victims
        if missed.numel() > room:
            missed = missed[torch.topk(scores[missed], room, sorted=False).indices]
        resident[missed] = True
        self._n_resident += missed.numel() - n_victims
        return n_hits


class AllLayers:
    """As only a replay can: a recorded trace lets all layers go at once, so that threads share a top-k's rows."""

    def __init__(self, n_layers: int, n_columns: int, slots: int, k: int, gamma: float) -> None:
        self._slots, self._k, self._gamma = slots, k, gamma
        self._columns = torch.arange(n_columns).repeat(n_layers, 1)
        self.start()

    def start(self) -> None:
        self._key = self._columns.clone()
        self._resident = torch.zeros(self._columns.shape, dtype=torch.bool)
        self._n_resident = torch.zeros(len(self._columns), dtype=torch.int64)

    def step(self, scores: torch.Tensor, token: int) -> int:
        resident, key = self._resident, self._key
        reweighted = torch.where(resident, scores, scores * self._gamma)
        active = torch.topk(reweighted, self._k, sorted=False).indices
        hit = resident.gather(1, active)
        n_hits = hit.sum(1)
        key.scatter_(1, active, (key.gather(1, active) & ~TOKEN_FIELD) + (ONE_USE + (token << COLUMN_BITS)))
        room = self._slots - self._n_resident
        n_victims = torch.minimum(self._k - n_hits - room, self._n_resident - n_hits).clamp_(min=0)
        self._evict(active, n_victims)
        n_admitted = torch.minimum(self._k - n_hits, room + n_victims)
        self._admit(active, hit, scores, n_admitted)
        self._n_resident += n_admitted - n_victims
        return int(n_hits.sum())

    def _evict(self, active: torch.Tensor, n_victims: torch.Tensor) -> None:
        """Rows give up different numbers of columns: all that lie at or below their own n-th smallest key."""
        most = int(n_victims.max())
        if most == 0:
            return
        candidates = torch.where(self._resident, self._key, KEPT).scatter_(1, active, KEPT)
        lowest = torch.topk(candidates, most, largest=False).values
        border = lowest.gather(1, (n_victims - 1).clamp(min=0).unsqueeze(1))
        self._resident &= (candidates > border) | (n_victims == 0).unsqueeze(1)

    def _admit(self, active: torch.Tensor, hit: torch.Tensor, scores: torch.Tensor, n_admitted: torch.Tensor) -> None:
        """Hits stay, and of the misses the `n_admitted` of highest score enter."""
        if bool((n_admitted + hit.sum(1) == self._k).all()):
            self._resident.scatter_(1, active, True)
            return
        missed_scores = scores.gather(1, active).masked_fill_(hit, -1.0)
        best = torch.topk(missed_scores, int(n_admitted.max())).indices
        enters = torch.arange(best.shape[1]) < n_admitted.unsqueeze(1)
        columns = active.gather(1, best)
        self._resident.scatter_(1, columns, self._resident.gather(1, columns) | enters)
