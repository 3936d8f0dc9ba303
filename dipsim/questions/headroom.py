"""How much better could it be: the very masks of a run under oracles, one shared budget, and without a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dipsim import kernels
from dipsim.engine.prompts import prompt_masks
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int32Array
from dipsim.planning.future import NEVER, Future
from dipsim.planning.recorded_masks import RecordedMasks
from dipsim.planning.setup import Setup
from dipsim.policies import Belady, Lru
from dipsim.results import Headroom, Result
from dipsim.trace.reading import Block

OnProgress = Callable[[int, int], None]
Run = Callable[[Setup, OnProgress], Result]


def check_headroom(setup: Setup) -> None:
    """Refuses a run without a cache, and one whose misses are not all that it waits for.

    Raises:
        DipsimError: the policy is `none`, its hit rate was given, or something is read ahead.
    """
    if setup.given_hit_rate is not None:
        raise DipsimError("headroom: given_hit_rate stands in for the caches, so that there is nothing to improve")
    if setup.reads_ahead:
        raise DipsimError("headroom: it replays what caches miss, not what is read ahead; choose prefetch 'none'")
    if setup.keeps_nothing:
        raise DipsimError("headroom: policy 'none' keeps nothing, so that there is nothing to improve; choose another")


def measure_headroom(setup: Setup, run: Run, name: str, on_progress: OnProgress) -> Headroom:
    """Replays the masks of a run.

    Args:
        setup: the run.
        run: simulates a setup.
        name: the run in words.
        on_progress: called now and then with the tokens done and the tokens to do, over all replays.
    """
    # Policies that see the future walk the trace twice.
    passes = iter(np.cumsum([0, 1 + setup.new_policy().needs_future, 2, 2, 2, 1]).tolist())
    n_passes = 9 + setup.new_policy().needs_future

    def progress() -> OnProgress:
        before = next(passes)
        return lambda done, total: on_progress(before * setup.n_tokens + done, n_passes * setup.n_tokens)

    masks = _recording(setup)
    results = [run(replace(setup, record=masks), progress())]
    oracle = replace(setup, masks=masks, new_policy=Belady)
    results += [
        run(replace(oracle, admission="always"), progress()),
        run(replace(oracle, admission="priority"), progress()),
    ]
    missed = _shared_oracle(oracle, progress())
    # What follows asks no policy; lru is one that needs no look ahead.
    results += [run(replace(oracle, missed=missed, new_policy=Lru), progress())]
    results += [run(replace(setup.all_resident(), masks=masks, new_policy=Lru), progress())]
    return Headroom.of([*map(_rates, results), _roof(results[-1], setup)], name, setup.admission == "priority")


def _recording(setup: Setup) -> RecordedMasks:
    return RecordedMasks(setup.groups, setup.model.n_layers, list(setup.trace.blocks(setup.n_tokens)))


def _rates(result: Result) -> tuple[float, float, float]:
    numbers = result.to_dict()
    return numbers["tok_per_s"], numbers["hit_rate"], numbers["byte_hit_rate"]


def _roof(resident: Result, setup: Setup) -> tuple[float, float, float]:
    """All bytes of a token at the bandwidth of DRAM, and nothing else."""
    n_bytes = resident.counted["dram_bytes"].mean()
    return setup.profile.dram.read_bytes_per_s / n_bytes, 1.0, 1.0


def _shared_oracle(setup: Setup, on_progress: OnProgress) -> RecordedMasks:
    """The columns that are missed when the bytes of all caches are one, used as well as the future allows."""
    missed = _recording(setup)
    n_done = 0

    def on_tokens(n_tokens: int) -> None:
        nonlocal n_done
        n_done += n_tokens
        on_progress(n_done, 2 * setup.n_tokens)

    oracle = _SharedOracle(setup, missed, Future(setup, on_tokens))
    for index, block in enumerate(setup.trace.blocks(setup.n_tokens)):
        oracle.run(index, block)
        on_tokens(block.stop - block.start)
    return missed


class _SharedOracle:
    """Belady with bypass over the columns of all layers and groups."""

    def __init__(self, setup: Setup, missed: RecordedMasks, future: Future) -> None:
        self._setup = setup
        self._missed = missed
        self._future = future
        self._stages = [
            (layer, group)
            for layer in range(setup.model.n_layers)
            for group in setup.cached_groups
            if group.columns_in(layer)
        ]
        widths = [group.n_columns for _, group in self._stages]
        self._edges = np.cumsum([0, *widths])
        self._column_bytes = np.array([group.bytes_in(layer) for layer, group in self._stages])
        self._capacity_bytes = float(setup.competed_bytes)
        self._kept: BoolArray = np.zeros(self._edges[-1], np.bool_)
        self._waiting = np.zeros(0, np.int64)
        self._state = np.zeros(2)
        self._n_before = 0  # of a warm prompt

    def run(self, index: int, block: Block) -> None:
        """Records what a block misses."""
        sequence = self._setup.trace.sequences[block.sequence]
        if block.start == sequence.start:
            self._kept[:] = False
            self._waiting = np.zeros((1 + sequence.stop - sequence.start) * len(self._stages), np.int64)
            self._state[:] = 0
            self._n_before = 0
            if self._setup.warms and sequence.prompt_length:
                self._prompt(index, block.sequence)
        shape = block.stop - block.start, int(self._edges[-1])
        masks: BoolArray = np.empty(shape, np.bool_)
        missed: BoolArray = np.empty(shape, np.bool_)
        next_use: Int32Array = np.empty(shape, np.int32)
        for s, (layer, group) in enumerate(self._stages):
            part = slice(self._edges[s], self._edges[s + 1])
            masks[:, part] = self._setup.masks.read(index, layer, group) if self._setup.masks else True
            next_use[:, part] = self._since(sequence.start, self._future.next_use(index, layer, group, None))
        self._share(masks, next_use, block.start - sequence.start + self._n_before, missed)
        for s, (layer, group) in enumerate(self._stages):
            self._missed.write(index, layer, group, missed[:, self._edges[s] : self._edges[s + 1]])

    def _prompt(self, index: int, sequence: int) -> None:
        """What a warm prompt uses, as a token before the first."""
        self._n_before = 1
        start = self._setup.trace.sequences[sequence].start
        masks = [prompt_masks(self._setup, layer, group, sequence).any(axis=0) for layer, group in self._stages]
        uses = [self._since(start, self._future.first_use(index, layer, group)) for layer, group in self._stages]
        row = np.concatenate(masks)[None]
        self._share(row, np.concatenate(uses)[None], 0, np.empty_like(row))

    def _since(self, start: int, uses: Int32Array) -> Int32Array:
        """Tokens of the trace as tokens of a sequence."""
        return np.where(uses == NEVER, uses, uses - np.int32(start - self._n_before))

    def _share(self, masks: BoolArray, next_use: Int32Array, first_token: int, missed: BoolArray) -> None:
        kernels.share_tokens(
            masks,
            next_use,
            self._edges,
            self._column_bytes,
            self._capacity_bytes,
            first_token,
            self._kept,
            self._waiting,
            self._state,
            missed,
        )
