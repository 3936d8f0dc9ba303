"""What do the tokens use: every layer's masks and misses, block by block, worked out ahead of simulated time.

Which columns a token uses depends on scores and residency, not on time; so while one block is simulated, the next is
read and its layers are run, each independent of the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future as Pending
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from dipsim import kernels
from dipsim.cache import PinnedColumns, Replay, Usage, replay_of, usage_of
from dipsim.cache.replay import PlainReplay
from dipsim.devices import Flash, ReadBatches
from dipsim.groups import Group
from dipsim.policies import Place
from dipsim.results import BlockUse
from dipsim.simulation.future import Future
from dipsim.simulation.setup import Setup
from dipsim.trace.reading import Block


class Workload:
    """The tokens of a setup, and the caches they run through.

    Args:
        setup: the run.
        flash: forms the batches of reads.
        on_tokens: called with the tokens of each block of a pass that looks ahead of the simulation.
    """

    def __init__(self, setup: Setup, flash: Flash, on_tokens: Callable[[int], None]) -> None:
        self._setup = setup
        self._flash = flash
        self._replays = [
            [self._replay(layer, group) for group in setup.groups] for layer in range(setup.model.n_layers)
        ]
        # Other people's policies are called in one order, whatever the number of threads.
        self._is_plain = any(isinstance(replay, PlainReplay) for replays in self._replays for replay in replays)
        self._future = Future(setup, on_tokens) if setup.new_policy().needs_future else None

    def blocks(self) -> Iterator[tuple[BlockUse, ReadBatches]]:
        """Block after block of the trace: what it uses, and the reads that fetch the missed columns of each (token,
        layer, group); the next one is worked on while the caller is busy with this one."""
        blocks = enumerate(self._setup.trace.blocks(self._setup.n_tokens))
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(os.cpu_count()) as pool:
            upcoming: Pending[tuple[BlockUse, ReadBatches]] | None = None
            for index, block in blocks:
                following = ahead.submit(self._use, index, block, pool)
                if upcoming is not None:
                    yield upcoming.result()
                upcoming = following
            if upcoming is not None:
                yield upcoming.result()

    def _replay(self, layer: int, group: Group) -> Replay:
        setup, slots = self._setup, self._setup.slots[group.name][layer]
        if setup.is_pinned(group):
            return PinnedColumns(group.n_columns, slots)
        place = Place(group.n_columns, slots, layer, group.name)
        return replay_of(place, setup.new_policy(), setup.admission, setup.masking, group)

    def _use(self, index: int, block: Block, pool: ThreadPoolExecutor) -> tuple[BlockUse, ReadBatches]:
        setup = self._setup
        shape = block.stop - block.start, setup.model.n_layers, len(setup.groups)
        use, batches = BlockUse.empty(block, *shape), ReadBatches.empty(*shape)
        run_layer = partial(self._run_layer, index, use, batches)
        layers = range(setup.model.n_layers)
        for _ in map(run_layer, layers) if self._is_plain else pool.map(run_layer, layers):
            pass
        return use, batches

    def _run_layer(self, index: int, use: BlockUse, batches: ReadBatches, layer: int) -> None:
        setup, block = self._setup, use.block
        first_token = block.start - setup.trace.sequences[block.sequence].start
        for g, group in enumerate(setup.groups):
            replay = self._replays[layer][g]
            if first_token == 0:
                replay.start()
            own = None if group.site is None else setup.trace.read(group.site, block.start, block.stop, layer)
            masks = setup.masks.read(index, layer, group) if setup.masks else None
            next_use = None
            if self._future is not None and not setup.is_pinned(group):
                next_use = self._future.next_use(index, layer, group, own)
            if setup.missed is not None and masks is not None and not setup.is_pinned(group):
                usage = usage_of(masks, setup.missed.read(index, layer, group), own)
            else:
                usage = replay.run(block.stop - block.start, first_token, own, next_use, masks)
            if setup.record is not None:
                setup.record.write(index, layer, group, usage.active)
            use.fill(layer, g, usage.counts)
            batches.fill((slice(None), layer, g), self._reads(group, usage))

    def _reads(self, group: Group, usage: Usage) -> ReadBatches:
        n_missed = usage.counts[:, 1]
        if not self._flash.forms_reads:
            return self._flash.streams((n_missed * group.column_bytes).astype(np.float64))
        reads, n_reads = kernels.form_reads(usage.missed, n_missed.sum(), group.column_bytes, self._flash.page_bytes)
        return self._flash.batches(reads, n_reads)
