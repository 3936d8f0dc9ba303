"""Collects one row per token and the counts per (layer, group) while a simulation runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dipsim.kernels import SHARE_ULP, ULP, BoolArray, Float64Array, Int64Array
from dipsim.model import ModelSpec
from dipsim.model.groups import Group
from dipsim.trace.reading import Block

# A table as arrays of one length; pandas makes a frame of it when somebody looks.
Columns = dict[str, NDArray[Any]]
# What scores say of these tells how large the part of the MLP's output is that a mask leaves out; those of experts and
# of predictors are no magnitudes of what is multiplied.
_MAGNITUDES = ("mlp_input", "glu", "gate", "up")


@dataclass(frozen=True)
class BlockUse:
    """What a block's tokens used.

    Attributes:
        block: the tokens.
        counts: int64 [token, layer, group, count], to be filled: the following.
    """

    block: Block
    counts: Int64Array

    @classmethod
    def empty(cls, block: Block, *shape: int) -> Self:
        """To be filled by (layer, group)."""
        return cls(block, np.zeros((*shape, 5), np.int64))

    @property
    def n_active(self) -> Int64Array:
        """Columns that are used, [token, layer, group]."""
        return self.counts[..., 0]

    @property
    def n_missed(self) -> Int64Array:
        """Those of them that are missed."""
        return self.counts[..., 1]

    @property
    def total_score(self) -> Int64Array:
        """Sums of all scores in units of 2**-24."""
        return self.counts[..., 2]

    @property
    def kept_score(self) -> Int64Array:
        """Those of the active ones."""
        return self.counts[..., 3]

    @property
    def kept_squares(self) -> Int64Array:
        """Share of the active scores in the sum of all squares, in units of 2**-40; 0 if dense."""
        return self.counts[..., 4]


class TokenLog:
    """Rows and counts of one run.

    Args:
        groups: the groups of a layer.
        model: the model.

    Attributes:
        ttft_s: seconds of each prompt phase.
        of_prompts: group name -> columns that prompts looked up, and those of them that were there; empty where prompts
            leave the caches cold.
        n_active, n_hits: group name -> columns summed over the counted tokens, int64 [layer].
    """

    def __init__(self, groups: Sequence[Group], model: ModelSpec) -> None:
        self.ttft_s: list[float] = []
        self.of_prompts: dict[str, tuple[int, int]] = {}
        self.n_active: dict[str, Int64Array] = {group.name: np.zeros(model.n_layers, np.int64) for group in groups}
        self.n_hits: dict[str, Int64Array] = {group.name: np.zeros(model.n_layers, np.int64) for group in groups}
        self._groups = groups
        layers = range(model.n_layers)
        self._column_bytes = np.array([[group.bytes_in(layer) for group in groups] for layer in layers])
        self._n_mlp_weights = model.mlp_weights
        self._column_weights = np.array([group.column_weights for group in groups])
        self._blocks: list[Columns] = []

    def add_prompt(self, seconds: float, counts: tuple[Int64Array, Int64Array] | None = None) -> None:
        """The prompt phase of a sequence took this long.

        Args:
            seconds: its own.
            counts: columns that it looked up and those that were missed, [layer, group]; None if it looked up none.
        """
        self.ttft_s.append(seconds)
        if counts is not None:
            for g, group in enumerate(self._groups):
                n_active, n_missed = (int(count[:, g].sum()) for count in counts)
                before, hits_before = self.of_prompts.get(group.name, (0, 0))
                self.of_prompts[group.name] = before + n_active, hits_before + n_active - n_missed

    def add(
        self, use: BlockUse, positions: Int64Array, is_warm_up: BoolArray, measured: dict[str, Float64Array]
    ) -> None:
        """The tokens of a block.

        Args:
            use: what they used.
            positions: their indices in the sequence, counted from 0 after the prompt.
            is_warm_up: which of them do not count.
            measured: more columns of `tokens`, [token] by name.
        """
        n_hits = use.n_active - use.n_missed
        rows = {
            "token": np.arange(use.block.start, use.block.stop),
            "sequence": np.full(len(positions), use.block.sequence),
            "position": positions,
            "warm_up": is_warm_up,
            "active_columns": use.n_active.sum(axis=(1, 2)),
            "hits": n_hits.sum(axis=(1, 2)),
            "active_bytes": (use.n_active * self._column_bytes).sum(axis=(1, 2)),
            "hit_bytes": (n_hits * self._column_bytes).sum(axis=(1, 2)),
            "density": (use.n_active * self._column_weights).sum(axis=(1, 2)) / self._n_mlp_weights,
            "kept_score": use.kept_score.sum(axis=(1, 2)) * ULP,
            "total_score": use.total_score.sum(axis=(1, 2)) * ULP,
            "squared_error": self._squared_error(use),
        }
        self._blocks.append(rows | measured)
        for g, group in enumerate(self._groups):
            self.n_active[group.name] += use.n_active[~is_warm_up, :, g].sum(axis=0)
            self.n_hits[group.name] += n_hits[~is_warm_up, :, g].sum(axis=0)

    def _squared_error(self, use: BlockUse) -> Float64Array:
        """Of the MLPs' outputs, relative to their squares and estimated from scores: mean of the layers, [token].

        Terms left out of a product's sum are taken as uncorrelated, so that each mask keeps its share of the squares.
        """
        masked = [group.site is not None for group in self._groups]
        if not all(group.site in _MAGNITUDES for group in self._groups if group.site):
            return np.full(len(use.n_active), np.nan)
        kept: Float64Array = (use.kept_squares[..., masked] * SHARE_ULP).prod(axis=2)
        error: Float64Array = (1 - kept).mean(axis=1)
        return error

    def tokens(self) -> Columns:
        """One row per token; `retained_magnitude` (1 where nothing is masked) is worked out here. It and
        `squared_error` are NaN where weights are left out without looking at scores."""
        columns = {name: np.concatenate([rows[name] for rows in self._blocks]) for name in self._blocks[0]}
        masked = columns["total_score"] > 0
        # Weights that no token uses, though no group is masked: what that costs scores do not tell.
        is_known = any(group.site for group in self._groups) or bool(np.allclose(columns["density"], 1))
        share = columns["kept_score"] / np.where(masked, columns["total_score"], 1)
        columns["retained_magnitude"] = np.where(masked, share, 1.0 if is_known else np.nan)
        if not is_known:
            columns["squared_error"] = np.full(masked.size, np.nan)
        return columns

    def layers(
        self, groups: Sequence[Group], slots: Mapping[str, Sequence[int | None]]
    ) -> dict[str, dict[str, list[Any]]]:
        """By group, one row per layer that has it, over the counted tokens; `slots` is None in a cache that all layers
        share."""
        parts = {}
        for group in groups:
            if layers := [layer for layer in range(len(slots[group.name])) if group.columns_in(layer)]:
                n_active, n_hits = self.n_active[group.name][layers], self.n_hits[group.name][layers]
                parts[group.name] = {
                    "layer": layers,
                    "group": [group.name] * len(layers),
                    "n_columns": [group.n_columns] * len(layers),
                    "column_bytes": [group.bytes_in(layer) for layer in layers],
                    "slots": [slots[group.name][layer] for layer in layers],
                    "active_columns": n_active.tolist(),
                    "hits": n_hits.tolist(),
                    "misses": (n_active - n_hits).tolist(),
                    "hit_rate": (n_hits / n_active).tolist(),
                }
        return parts
