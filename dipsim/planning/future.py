"""When is each column next used: the future that an oracle policy sees, in bounded memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable

import numpy as np

from dipsim import kernels
from dipsim.cache import Tokens, replay_of
from dipsim.kernels import BoolArray, Int32Array, Uint16Array
from dipsim.model.groups import Group
from dipsim.planning.setup import Setup
from dipsim.policies import Lru, Place

NEVER = np.iinfo(np.int32).max


class Future:
    """Next uses of all columns, block by block.

    A first pass walks the trace backwards and keeps on disk, for each block, every column's next use beyond it (in the
    same sequence: caches start cold with the next). Going forwards, a block's own masks fill in the rest.

    Args:
        setup: the run; its masks are recorded, or do not depend on residency.
        on_tokens: called with the tokens of each block of the first pass.
    """

    def __init__(self, setup: Setup, on_tokens: Callable[[int], None]) -> None:
        self._setup = setup
        self._blocks = list(setup.trace.blocks(setup.n_tokens))
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        weakref.finalize(self, self._file.close)
        widths = [4 * group.n_columns for group in setup.cached_groups]
        self._within = {group.name: sum(widths[:g]) for g, group in enumerate(setup.cached_groups)}
        self._n_layer_bytes = sum(widths)
        # Caches without slots, which choose masks as those of the run do.
        self._choosers = {
            (layer, group.name): replay_of(
                Place(group.n_columns, 0, layer, group.name), Lru(), "always", setup.masking, group
            )
            for layer, group in setup.cached_stages
        }
        after: dict[tuple[int, str], Int32Array] = {}
        for index in reversed(range(len(self._blocks))):
            self._save_beyond(index, after)
            on_tokens(self._blocks[index].stop - self._blocks[index].start)

    def next_use(self, index: int, layer: int, group: Group, scores: Uint16Array | None) -> Int32Array:
        """int32 [token, column]: the first later token of the trace that uses the column.

        Args:
            index: the block.
            layer: the layer.
            group: one of its cached groups.
            scores: of the block, [token, column]; None where the group is dense.
        """
        return self._walk(index, layer, group, scores, self._beyond(index, layer, group))

    def first_use(self, index: int, layer: int, group: Group) -> Int32Array:
        """int32 [column]: the first token of the trace that uses the column, in this block or later.

        Args:
            index: the block.
            layer: the layer.
            group: one of its cached groups.
        """
        first = self._beyond(index, layer, group)
        self._walk(index, layer, group, self._scores(index, layer, group), first)
        return first

    def _beyond(self, index: int, layer: int, group: Group) -> Int32Array:
        data = os.pread(self._file.fileno(), 4 * group.n_columns, self._offset(index, layer, group))
        return np.frombuffer(data, np.int32).copy()

    def _save_beyond(self, index: int, after: dict[tuple[int, str], Int32Array]) -> None:
        setup, block = self._setup, self._blocks[index]
        is_last = index + 1 == len(self._blocks) or self._blocks[index + 1].sequence != block.sequence
        for layer in range(setup.model.n_layers):
            for group in setup.cached_groups:
                if not group.columns_in(layer):
                    continue
                key = layer, group.name
                if is_last:
                    after[key] = np.full(group.n_columns, NEVER, np.int32)
                os.pwrite(self._file.fileno(), after[key].tobytes(), self._offset(index, layer, group))
                self._walk(index, layer, group, self._scores(index, layer, group), after[key])

    def _scores(self, index: int, layer: int, group: Group) -> Uint16Array | None:
        if group.site is None or self._setup.masks is not None:
            return None
        block = self._blocks[index]
        return self._setup.trace.read(group.site, block.start, block.stop, layer)

    def _offset(self, index: int, layer: int, group: Group) -> int:
        return (index * self._setup.model.n_layers + layer) * self._n_layer_bytes + self._within[group.name]

    def _walk(self, index: int, layer: int, group: Group, scores: Uint16Array | None, after: Int32Array) -> Int32Array:
        """Next uses within and beyond a block; `after` becomes the next uses from its start on."""
        active = self._masks(index, layer, group, scores)
        uses = np.empty(active.shape, np.int32)
        kernels.next_uses(active, self._blocks[index].start, after, uses)
        return uses

    def _masks(self, index: int, layer: int, group: Group, scores: Uint16Array | None) -> BoolArray:
        setup, block = self._setup, self._blocks[index]
        if setup.masks is not None:
            return setup.masks.read(index, layer, group)
        if scores is None:
            return np.ones((block.stop - block.start, group.n_columns), np.bool_)
        first_token = block.start - setup.trace.sequences[block.sequence].start
        return self._choosers[layer, group.name].run(Tokens(block.stop - block.start, first_token, scores)).active
