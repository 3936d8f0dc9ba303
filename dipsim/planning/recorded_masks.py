"""Which columns did a run use: its masks, on disk, one bit a column, to be replayed under another cache."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence

import numpy as np

from dipsim.kernels import BoolArray
from dipsim.model.groups import Group
from dipsim.trace.reading import Block


class RecordedMasks:
    """Masks of every block, layer and group in a temporary file.

    Args:
        groups: the groups of a layer.
        n_layers: layers.
        blocks: the blocks of the run.
    """

    def __init__(self, groups: Sequence[Group], n_layers: int, blocks: Sequence[Block]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        weakref.finalize(self, self._file.close)
        self._n_tokens = [block.stop - block.start for block in blocks]
        widths = [-(-group.n_columns // 8) for group in groups]
        self._within = {group.name: sum(widths[:g]) for g, group in enumerate(groups)}
        self._n_layer_bytes = sum(widths)
        self._block_starts = np.cumsum([0, *(n * n_layers * self._n_layer_bytes for n in self._n_tokens)])

    def write(self, index: int, layer: int, group: Group, masks: BoolArray) -> None:
        """Masks (bool [token, column]) of one block, layer and group."""
        os.pwrite(self._file.fileno(), np.packbits(masks, axis=1).tobytes(), self._offset(index, layer, group))

    def read(self, index: int, layer: int, group: Group) -> BoolArray:
        """What was written."""
        n_tokens, width = self._n_tokens[index], -(-group.n_columns // 8)
        data = os.pread(self._file.fileno(), n_tokens * width, self._offset(index, layer, group))
        packed = np.frombuffer(data, np.uint8).reshape(n_tokens, width)
        return np.unpackbits(packed, axis=1, count=group.n_columns).view(np.bool_)

    def _offset(self, index: int, layer: int, group: Group) -> int:
        n_tokens = self._n_tokens[index]
        layer_start = n_tokens * self._n_layer_bytes * layer
        return int(self._block_starts[index]) + layer_start + n_tokens * self._within[group.name]
