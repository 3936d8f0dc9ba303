"""When is each column next used: the future that an oracle policy sees, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np

from dipsim import kernels
from dipsim.groups import Group
from dipsim.kernels import BoolArray, Int32Array, Uint16Array
from dipsim.simulation.setup import Setup
from dipsim.trace.reading import Block

NEVER = np.iinfo(np.int32).max


class Future:
    """Next uses of all columns, block by block.

    A first pass walks the trace backwards and keeps on disk, for each block, every column's next use beyond it (in the
    same sequence: caches start cold with the next). Going forwards, a block's own masks fill in the rest.

    Args:
        setup: the run; its masks must not depend on residency.
        on_block: called with the tokens of each block of the first pass.
    """

    def __init__(self, setup: Setup, on_block: Callable[[int], None]) -> None:
        self._setup = setup
        self._blocks = list(setup.trace.blocks(setup.n_tokens))
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the run
        self._after: dict[tuple[int, str], Int32Array] = {}
        self._n_row_bytes = 4 * setup.model.n_layers * sum(group.n_columns for group in setup.cached_groups)
        for index in reversed(range(len(self._blocks))):
            self._save_beyond(index)
            on_block(self._blocks[index].stop - self._blocks[index].start)

    def block(self, index: int, scores: dict[str, Uint16Array]) -> dict[tuple[int, str], Int32Array]:
        """(layer, group name) -> int32 [token, column]: the first later token of the trace that uses the column."""
        self._file.seek(index * self._n_row_bytes)
        uses = {}
        for layer in range(self._setup.model.n_layers):
            for group in self._setup.cached_groups:
                after = np.frombuffer(self._file.read(4 * group.n_columns), np.int32).copy()
                uses[layer, group.name] = self._walk(self._blocks[index], layer, group, scores, after)
        return uses

    def _save_beyond(self, index: int) -> None:
        block = self._blocks[index]
        scores = {site: self._setup.trace.read(site, block.start, block.stop) for site in self._setup.sites}
        is_last = index + 1 == len(self._blocks) or self._blocks[index + 1].sequence != block.sequence
        self._file.seek(index * self._n_row_bytes)
        for layer in range(self._setup.model.n_layers):
            for group in self._setup.cached_groups:
                key = layer, group.name
                if is_last:
                    self._after[key] = np.full(group.n_columns, NEVER, np.int32)
                self._file.write(self._after[key].tobytes())
                self._walk(block, layer, group, scores, self._after[key])

    def _walk(
        self, block: Block, layer: int, group: Group, scores: dict[str, Uint16Array], after: Int32Array
    ) -> Int32Array:
        n_tokens = block.stop - block.start
        active: BoolArray = np.ones((n_tokens, group.n_columns), np.bool_)
        if group.site is not None:
            nothing = np.zeros(group.n_columns, np.bool_)  # the mask does not look at residency
            position = block.start - self._setup.trace.sequences[block.sequence].start
            for i in range(n_tokens):
                own = scores[group.site][i, layer]
                self._setup.masking.select(group, own, nothing, position + i, active[i])
        uses = np.empty((n_tokens, group.n_columns), np.int32)
        kernels.next_uses(active, block.start, after, uses)
        return uses
