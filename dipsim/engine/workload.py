"""What do the tokens use: every layer's masks and misses, block by block, worked out ahead of simulated time.

Which columns a token uses depends on scores and residency, not on time; so while one block is simulated, the next is
read and its layers are run, each independent of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future as Pending
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from dipsim.cache import PinnedColumns, Replay, Tokens, Usage, replay_of, usage_of
from dipsim.devices import BY_INDEX, Flash, ReadBatches
from dipsim.engine.ahead import ReadAhead
from dipsim.kernels import BoolArray, Float64Array, Uint16Array
from dipsim.methods import in_layer
from dipsim.model.groups import Group
from dipsim.planning.future import Future
from dipsim.planning.setup import Setup
from dipsim.policies import Place
from dipsim.registry import ships_with_dipsim
from dipsim.results import BlockUse
from dipsim.threads import n_threads
from dipsim.trace.reading import Block


@dataclass(frozen=True)
class Work:
    """What a block's tokens use and fetch, an entry for each (token, layer, group).

    Attributes:
        use: columns and scores.
        demanded: reads of the missed columns that nobody read ahead.
        ahead: reads that are begun before the layer.
        n_used_ahead: missed columns that were read ahead, float64.
    """

    use: BlockUse
    demanded: ReadBatches
    ahead: ReadBatches
    n_used_ahead: Float64Array

    @classmethod
    def empty(cls, block: Block, *shape: int) -> Self:
        """To be filled by (layer, group)."""
        empty = ReadBatches.empty
        return cls(BlockUse.empty(block, *shape), empty(*shape), empty(*shape), np.zeros(shape))


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
        layers = range(setup.model.n_layers)
        self._replays = [[self._replay(layer, group) for group in setup.groups] for layer in layers]
        self._ahead = [[ReadAhead(setup, layer, group) for group in setup.groups] for layer in layers]
        # Other people's policies and prefetchers are called in one order, whatever the number of threads.
        self._is_plain = any(replay.is_plain for replays in self._replays for replay in replays)
        self._is_plain |= not (ships_with_dipsim(setup.prefetcher) and ships_with_dipsim(setup.masking))
        self._future = Future(setup, on_tokens) if setup.new_policy().needs_future else None

    def blocks(self) -> Iterator[Work]:
        """Block after block of the trace; the next one is worked on while the caller is busy with this one."""
        blocks = enumerate(self._setup.trace.blocks(self._setup.n_tokens))
        if n_threads() == 1:
            yield from (self._use(index, block, map) for index, block in blocks)
            return
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(n_threads()) as pool:
            upcoming: Pending[Work] | None = None
            for index, block in blocks:
                following = ahead.submit(self._use, index, block, map if self._is_plain else pool.map)
                if upcoming is not None:
                    yield upcoming.result()
                upcoming = following
            if upcoming is not None:
                yield upcoming.result()

    def _replay(self, layer: int, group: Group) -> Replay:
        setup, slots = self._setup, self._setup.slots[group.name][layer]
        if setup.is_pinned(layer, group):
            return PinnedColumns(in_layer(setup.masking, layer), group, slots)
        place = Place(group.n_columns, slots, layer, group.name)
        return replay_of(place, setup.new_policy(), setup.admission, setup.masking, group)

    def _use(self, index: int, block: Block, for_each: Callable[..., Iterable[None]]) -> Work:
        setup = self._setup
        work = Work.empty(block, block.stop - block.start, setup.model.n_layers, len(setup.groups))
        run_layer = partial(self._run_layer, index, work)
        for _ in for_each(run_layer, range(setup.model.n_layers)):
            pass
        return work

    def _run_layer(self, index: int, work: Work, layer: int) -> None:
        setup, block = self._setup, work.use.block
        for g, group in enumerate(setup.groups):
            own = None if group.site is None else setup.trace.read(group.site, block.start, block.stop, layer)
            usage = self._usage(index, block, layer, g, own)
            if setup.record is not None:
                setup.record.write(index, layer, group, usage.active)
            work.use.fill(layer, g, usage.counts)
            self._fetch(work, layer, g, own, usage)

    def _usage(self, index: int, block: Block, layer: int, g: int, own: Uint16Array | None) -> Usage:
        """Masks and misses of one layer and group; `own` are its scores, None where it is dense."""
        setup, group, replay = self._setup, self._setup.groups[g], self._replays[layer][g]
        first_token = block.start - setup.trace.sequences[block.sequence].start
        if first_token == 0:
            replay.start()
        masks = setup.masks.read(index, layer, group) if setup.masks else None
        next_use = None
        if self._future is not None and not setup.is_pinned(layer, group):
            next_use = self._future.next_use(index, layer, group, own)
        if setup.missed is not None and masks is not None and not setup.is_pinned(layer, group):
            return usage_of(masks, setup.missed.read(index, layer, group), own)
        n_tokens = block.stop - block.start
        return replay.run(Tokens(n_tokens, first_token, own, next_use, masks, setup.reads_ahead))

    def _fetch(self, work: Work, layer: int, g: int, own: Uint16Array | None, usage: Usage) -> None:
        """Reads of what is missed, some of it ahead of its use."""
        group, where = self._setup.groups[g], (slice(None), layer, g)
        demanded, n_demanded = usage.missed, usage.counts[:, 1].astype(np.float64)
        if self._setup.reads_ahead:
            ahead = self._ahead[layer][g].columns(work.use.block, own, usage)
            work.ahead.fill(where, self._reads(layer, group, ahead, _count(ahead)))
            demanded = usage.missed & ~ahead
            work.n_used_ahead[where] = n_demanded - _count(demanded)
            n_demanded = _count(demanded)
        work.demanded.fill(where, self._reads(layer, group, demanded, n_demanded))

    def _reads(self, layer: int, group: Group, wanted: BoolArray, n_wanted: Float64Array) -> ReadBatches:
        n_regions = 1 if self._setup.layout.bundled else group.n_matrices
        places = self._setup.places.get((layer, group.name), BY_INDEX)
        return self._flash.columns(wanted, n_wanted, group.column_bytes, n_regions, places)


def _count(flags: BoolArray) -> Float64Array:
    """How many are set in each row."""
    counts: Float64Array = flags.sum(axis=1).astype(np.float64)
    return counts
