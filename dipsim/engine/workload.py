"""What do tokens use, miss and fetch: the masks of every (layer, group), and the reads that these ask of Flash."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Self

import numpy as np

from dipsim import kernels
from dipsim.cache import GivenHits, NoColumns, PinnedColumns, Replay, SharedCache, Tokens, Usage, replay_of, usage_of
from dipsim.devices import BY_INDEX, Flash, ReadBatches, Slices
from dipsim.engine.ahead import Guesses, columns_ahead
from dipsim.kernels import BoolArray, Float64Array, Int32Array, Uint16Array, Uint64Array
from dipsim.layouts import is_aligned, pieces_of, reads_of
from dipsim.methods import in_layer
from dipsim.planning.future import NEVER, Future
from dipsim.planning.setup import Setup
from dipsim.policies import Place
from dipsim.results import BlockUse
from dipsim.trace.reading import Block


@dataclass(frozen=True)
class Work:
    """What a block's tokens use and fetch, an entry for each (token, layer, group).

    Attributes:
        use: columns and scores.
        n_used_ahead: missed columns that were read ahead, float64.
        demanded: reads of the missed columns that nobody read ahead, priced.
        ahead: reads that are begun before the layer; of layers that are read together, all with the first.
        asked, asked_ahead: the same before they are priced, [token, layer, group, sum].
    """

    use: BlockUse
    n_used_ahead: Float64Array
    demanded: ReadBatches
    ahead: ReadBatches
    asked: Float64Array
    asked_ahead: Float64Array

    @classmethod
    def empty(cls, block: Block, n_sums: int, *shape: int) -> Self:
        """To be filled by (layer, group).

        Args:
            block: the tokens.
            n_sums: what tells of a batch before it is priced.
            shape: tokens, layers and groups.
        """
        batches, sums = ReadBatches.empty, (*shape, n_sums)
        both = batches(*shape), batches(*shape), np.zeros(sums), np.zeros(sums)
        return cls(BlockUse.empty(block, *shape), np.zeros(shape), *both)


class Inputs(NamedTuple):
    """What one (layer, group) is given for the tokens of a block, each [token, column] or None.

    Attributes:
        scores: float16 bit patterns; None where the group is dense.
        masks: to be used instead of choosing.
        missed: which columns are missed, instead of what the cache makes of it.
        next_use: int32, for a policy that needs it.
        layer_before: scores of a layer before, for a prefetcher that looks at them.
    """

    scores: Uint16Array | None = None
    masks: BoolArray | None = None
    missed: BoolArray | None = None
    next_use: Int32Array | None = None
    layer_before: Uint16Array | None = None

    def of(self, tokens: slice) -> Inputs:
        """Those of some of the tokens."""
        scores, masks, missed, next_use, before = self
        return Inputs(
            None if scores is None else scores[tokens],
            None if masks is None else masks[tokens],
            None if missed is None else missed[tokens],
            None if next_use is None else next_use[tokens],
            None if before is None else before[tokens],
        )


class GroupUse:
    """One (layer, group): its cache, and what is read for it.

    Args:
        setup: the run.
        flash: forms the batches of reads.
        layer: the layer.
        g: place of the group among those of the layer.
        future: for a policy that looks ahead.
        shared: the cache that all layers share; None where the place has its own.

    Attributes:
        together: what reads ahead, for this layer and for others.
        part: which part of the shared cache it is; None where it has its own.
    """

    def __init__(
        self, setup: Setup, flash: Flash, layer: int, g: int, future: Future | None, shared: SharedCache | None = None
    ) -> None:
        self.layer, self.g, self.group = layer, g, setup.groups[g]
        self._setup, self._reads_ahead = setup, setup.reads_ahead
        self._flash = flash
        self._beside = setup.layers_beside(layer, self.group)
        self._column_bytes, self._own_slices = self.group.bytes_in(layer), self._slices((layer,))
        self._is_pinned = setup.is_pinned(layer, self.group)
        self._future = None if self._is_pinned else future
        self.part = None if shared is None else shared.part_of(layer, self.group)
        self._replay = self._of_cache() if shared is None or self.part is None else shared.replay(self.part)
        self.together = ReadTogether(1)
        self._guesses = Guesses(setup, layer, self.group)
        self._pieces, self._is_aligned = pieces_of(setup.layout, self.group), is_aligned(setup.layout)
        self._reads = reads_of(setup.layout, self.group)
        self._places = setup.places.get((self._beside[0], self.group.name), BY_INDEX)

    @property
    def replay(self) -> Replay:
        """The cache, run through tokens."""
        return self._replay

    def _of_cache(self) -> Replay:
        setup, slots = self._setup, self._setup.slots[self.group.name][self.layer]
        if not self.group.columns_in(self.layer):
            return NoColumns(self.group)
        if self._is_pinned:
            return PinnedColumns(in_layer(setup.masking, self.layer), self.group, slots)
        if setup.given_hit_rate is not None:
            return GivenHits(self._beside[0], in_layer(setup.masking, self.layer), self.group, setup.given_hit_rate)
        place = Place(self.group.n_columns, slots, self.layer, self.group.name)
        return replay_of(place, setup.new_policy(), setup.admission, setup.masking, self.group)

    def inputs(self, index: int, block: Block) -> Inputs:
        """What a block of the trace gives."""
        setup, group = self._setup, self.group
        scores = None if group.site is None else setup.trace.read(group.site, block.start, block.stop, self.layer)
        before, layer_before = None, self._guesses.layer_before
        if group.site is not None and layer_before is not None:
            before = setup.trace.read(group.site, block.start, block.stop, layer_before)
        masks = setup.masks.read(index, self.layer, group) if setup.masks else None
        next_use = self._future.next_use(index, self.layer, group, scores) if self._future else None
        next_use = self._since(block.sequence, next_use)
        has_missed = setup.missed is not None and masks is not None and not self._is_pinned
        missed = setup.missed.read(index, self.layer, group) if setup.missed and has_missed else None
        return Inputs(scores, masks, missed, next_use, before)

    def first_use(self, index: int, sequence: int) -> Int32Array | None:
        """The token that uses each column first, int32 [column], for a policy that needs it.

        Args:
            index: the first block of the sequence.
            sequence: index in the trace.
        """
        return self._since(sequence, self._future.first_use(index, self.layer, self.group)) if self._future else None

    def _since(self, sequence: int, next_use: Int32Array | None) -> Int32Array | None:
        """Tokens of the trace as a shared cache counts them: from the start of the sequence."""
        if next_use is None or self.part is None:
            return next_use
        return np.where(next_use == NEVER, next_use, next_use - self._setup.trace.sequences[sequence].start)

    def use(self, block: Block, inputs: Inputs) -> Usage:
        """Masks and misses of the next tokens.

        Args:
            block: these tokens, of one sequence.
            inputs: what they are given.
        """
        if inputs.missed is not None and inputs.masks is not None:
            return usage_of(inputs.masks, inputs.missed, inputs.scores)
        return self._replay.run(self.tokens(block, inputs))

    def tokens(self, block: Block, inputs: Inputs) -> Tokens:
        """What the cache is told of these tokens."""
        first_token = block.start - self._setup.trace.sequences[block.sequence].start
        n_tokens = block.stop - block.start
        return Tokens(n_tokens, first_token, inputs.scores, inputs.next_use, inputs.masks, self._reads_ahead)

    def fetch(self, block: Block, inputs: Inputs, usage: Usage, work: Work) -> None:
        """Fills in what these tokens use and read, some of it ahead of its use."""
        tokens = _within(work, block)
        for layer in self.ask(block, inputs, usage, work):
            self.price((tokens, layer, self.g), work)

    def ask(self, block: Block, inputs: Inputs, usage: Usage, work: Work) -> tuple[int, ...]:
        """The same, whose reads are yet to be priced. Returns the layers of which all reads are known now: those that
        are read together are known together."""
        tokens = _within(work, block)
        where = tokens, self.layer, self.g
        work.use.counts[where] = usage.counts
        if not self._reads_ahead:
            work.asked[where] = self.sums(usage.missed_set, usage.counts[:, 1].astype(np.float64))
            return (self.layer,)
        guess = self._guesses.scores(block, inputs.scores, inputs.layer_before, usage)
        return self.together.add(self, Asked(tokens, usage.missed_set, guess), work)

    def price(self, where: tuple[slice | int, ...], work: Work) -> None:
        """Prices what was asked, of this group in any layers."""
        work.demanded.fill(where, self._priced(work.asked[where]))
        if self._reads_ahead:
            work.ahead.fill(where, self._priced(work.asked_ahead[where]))

    @property
    def n_most_ahead(self) -> int:
        """Columns that are read ahead at most, for a token."""
        return self._guesses.n_most

    def reads(self, wanted: Uint64Array, n_wanted: Float64Array) -> ReadBatches:
        """The batches that fetch some columns: sets of them, uint64 [token, word], and how many are in each."""
        return self._priced(self.sums(wanted, n_wanted))

    def _priced(self, sums: Float64Array) -> ReadBatches:
        return self._flash.batches(sums) if self._reads else self._flash.of_columns(sums)

    def sums(self, wanted: Uint64Array, n_wanted: Float64Array, layers: tuple[int, ...] = ()) -> Float64Array:
        """What tells of the batches that fetch some columns, [token, sum].

        Args:
            wanted: uint64 [token, word], sets of columns as `kernels.pack_bits` makes them.
            n_wanted: how many they are.
            layers: whose slices of these columns, side by side; its own alone without any.
        """
        column_bytes = self._column_bytes
        if self._reads:
            row_bytes = column_bytes * max(len(layers), 1) / len(self._reads)
            return self._flash.sums_of_rows(row_bytes, n_wanted * sum(self._reads))
        if not column_bytes:
            return np.zeros((len(wanted), self._flash.n_sums))
        slices = self._slices(layers) if layers else self._own_slices
        group = self.group.n_columns, column_bytes, self._pieces
        return self._flash.sums_of_columns(wanted, n_wanted, *group, self._places, self._is_aligned, slices)

    def _slices(self, layers: tuple[int, ...]) -> Slices:
        """Of some layers that lie side by side."""
        return Slices(self._beside.index(layers[0]), self._beside.index(layers[-1]) + 1, len(self._beside))


class Asked(NamedTuple):
    """What a layer asks to have read for some tokens.

    Attributes:
        tokens: of the block.
        missed: uint64 [token, word], the set of what these use and is not resident.
        guess: what is worth reading ahead, as `Guesses.scores` gives it.
    """

    tokens: slice
    missed: Uint64Array
    guess: Uint16Array


class ReadTogether:
    """Reads ahead for layers whose columns lie side by side: what all have asked for is one batch.

    Args:
        n_layers: how many.
    """

    def __init__(self, n_layers: int) -> None:
        self._n_layers = n_layers
        self._asked: list[tuple[GroupUse, Asked]] = []

    def add(self, use: GroupUse, asked: Asked, work: Work) -> tuple[int, ...]:
        """What a layer asks for; after the last of them all reads are filled in, and these layers are returned."""
        self._asked.append((use, asked))
        if len(self._asked) < self._n_layers:
            return ()
        layers, self._asked = self._asked, []
        first = layers[0][0]
        ahead = kernels.pack_bits(columns_ahead([own.guess for _, own in layers], first.n_most_ahead))
        together = tuple(other.layer for other, _ in layers)
        tokens = layers[0][1].tokens
        work.asked_ahead[tokens, first.layer, first.g] = first.sums(ahead, _count(ahead), together)
        for other, own in layers:
            where = own.tokens, other.layer, other.g
            demanded = own.missed & ~ahead
            n_demanded = _count(demanded)
            work.n_used_ahead[where] = _count(own.missed) - n_demanded
            work.asked[where] = other.sums(demanded, n_demanded)
        return together


def uses_of(setup: Setup, flash: Flash, future: Future | None) -> tuple[list[list[GroupUse]], SharedCache | None]:
    """Every group of every layer, and the cache that they share, if they do."""
    shared = None
    stages = [stage for stage in setup.cached_stages if not setup.is_loaded(*stage)]
    if setup.shares and stages:
        policy, bytes_for_all = setup.new_policy(), setup.competed_bytes
        capacity_bytes = Fraction(0) if setup.keeps_nothing else bytes_for_all
        shared = SharedCache(stages, setup.masking, policy, setup.admission, capacity_bytes)
    layers, groups = range(setup.model.n_layers), range(len(setup.groups))
    uses = [[GroupUse(setup, flash, layer, g, future, shared) for g in groups] for layer in layers]
    for layer, g in np.ndindex(len(layers), len(groups)):
        together = setup.layers_together(layer, setup.groups[g])
        if layer == together[0]:
            own = ReadTogether(len(together))
            for other in together:
                uses[other][g].together = own
    return uses, shared


def _within(work: Work, block: Block) -> slice:
    """Some tokens of a block."""
    first = block.start - work.use.block.start
    return slice(first, first + block.stop - block.start)


def _count(columns: Uint64Array) -> Float64Array:
    """How many are in each set."""
    counts: Float64Array = kernels.count_bits(columns).astype(np.float64)
    return counts
