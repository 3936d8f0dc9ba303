"""The fast engine: what tokens use is worked out ahead of simulated time, and when, by queues in closed form.

Which columns a token uses depends on scores and residency, not on time; so while one block is timed, the next is read
and its layers are run, each independent of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future as Pending
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain, groupby
from typing import Any

import numpy as np

from dipsim import kernels
from dipsim.cache import SharedCache, Usage
from dipsim.engine.blocks import Done
from dipsim.engine.jobs import Jobs
from dipsim.engine.prompts import Prompt, begin
from dipsim.engine.seconds import Formulas, Stages
from dipsim.engine.stages import TokenStages, earlier_positions, layers_begun, stage_names
from dipsim.engine.workload import GroupUse, Inputs, Work, uses_of
from dipsim.kernels.stages import IO, NONE, PIPELINED
from dipsim.layouts import n_layers_beside
from dipsim.planning.future import Future
from dipsim.planning.setup import Setup
from dipsim.registry import ships_with_dipsim
from dipsim.threads import n_threads
from dipsim.trace.reading import Block

_OVERLAPS = {"none": NONE, "io": IO, "pipelined": PIPELINED}


class Compiled:
    """Runs the tokens of a setup.

    Args:
        setup: the run.
        on_tokens: called with the tokens of each block of a pass that looks ahead of the simulation.
    """

    def __init__(self, setup: Setup, on_tokens: Callable[[int], None]) -> None:
        self._setup = setup
        self._formulas = Formulas(setup)
        self._stages = TokenStages(setup, self._formulas)
        future = Future(setup, on_tokens) if setup.new_policy().needs_future else None
        self._uses, self._shared = uses_of(setup, self._formulas.flash, future)
        # Other people's policies and prefetchers are called in one order, whatever the number of threads.
        self._is_plain = any(use.replay.is_plain for uses in self._uses for use in uses)
        self._is_plain |= not (ships_with_dipsim(setup.prefetcher) and ships_with_dipsim(setup.masking))
        begun = [layers_begun(setup, s) for s in range(len(stage_names(setup)))]
        self._begun = np.array([(layers.start, layers.stop) for layers in begun])
        layers = range(setup.model.n_layers)
        self._firsts = np.array([[setup.layers_together(layer, own)[0] for own in setup.groups] for layer in layers])
        # Layers that may be read together are worked on in turn.
        n_beside = n_layers_beside(setup.layout)
        split = groupby(layers, lambda layer: (layer // n_beside, layer // setup.prefetch_layers))
        self._together = [[self._uses[layer] for layer in own] for _, own in split]
        self._now_s, self._free_s = 0.0, np.zeros(3)

    def blocks(self) -> Iterator[Done]:
        """Prompts and blocks of tokens, in the order of the trace."""
        for prompt, work in self._works():
            block, sequence = work.use.block, self._setup.trace.sequences[work.use.block.sequence]
            if block.start == sequence.start and sequence.prompt_length > 0:
                stages = self._stages.prompt(sequence.prompt_length, prompt)
                yield replace(self._timed(block.sequence, None, stages), prompt=prompt)
            stages = self._stages.tokens(work, earlier_positions(self._setup.trace, block))
            yield self._timed(block.sequence, work, stages)

    def _timed(self, sequence: int, work: Work | None, stages: Stages) -> Done:
        timed = self._formulas.of_stages(stages)
        n_layers = self._setup.model.n_layers if work is not None and self._setup.reads_ahead else 0
        n_groups = len(self._setup.groups)
        n_tokens, n_stages, _ = timed.seconds.shape
        jobs = Jobs.empty(n_tokens, n_stages, n_layers, n_groups)
        ahead_s, is_used = np.zeros((n_tokens, 0, n_groups, 3)), np.zeros((0, 0, 0), np.bool_)
        if work is not None and n_layers:
            ahead_s, is_used = self._formulas.of_reads_ahead(work.ahead), work.n_used_ahead > 0
        overlap, begun = _OVERLAPS[self._setup.overlap], self._begun if n_layers else np.zeros_like(self._begun)
        self._now_s = kernels.time_stages(
            *(overlap, timed.seconds, ahead_s, is_used, begun, self._firsts, self._now_s, self._free_s),
            *(jobs.of_stages, jobs.ahead, jobs.edges_s),
        )
        return Done(sequence, work, stages, timed, jobs)

    def _works(self) -> Iterator[tuple[Prompt | None, Work]]:
        """Block after block of the trace; the next one is worked on while the caller is busy with this one."""
        blocks = enumerate(self._setup.trace.blocks(self._setup.n_tokens))
        if n_threads() == 1:
            yield from (self._use(index, block, map) for index, block in blocks)
            return
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(n_threads()) as pool:
            upcoming: Pending[tuple[Prompt | None, Work]] | None = None
            for index, block in blocks:
                following = ahead.submit(self._use, index, block, map if self._is_plain else pool.map)
                if upcoming is not None:
                    yield upcoming.result()
                upcoming = following
            if upcoming is not None:
                yield upcoming.result()

    def _use(self, index: int, block: Block, for_each: Callable[..., Iterable[None]]) -> tuple[Prompt | None, Work]:
        """A block, and the prompt before it where that warms the caches."""
        setup, prompt = self._setup, None
        if block.start == setup.trace.sequences[block.sequence].start:
            prompt = begin(setup, self._uses, index, block.sequence)
        work = Work.empty(block, block.stop - block.start, setup.model.n_layers, len(setup.groups))
        if self._shared is not None:
            self._use_together(index, work, for_each, self._shared)
            return prompt, work
        for _ in for_each(partial(self._use_layers, index, work), self._together):
            pass
        return prompt, work

    def _use_together(
        self, index: int, work: Work, for_each: Callable[..., Iterable[Any]], shared: SharedCache
    ) -> None:
        """All layers of a block where they share a cache: token after token, and in each of them layer after layer."""
        block, uses = work.use.block, [use for layer in self._uses for use in layer]
        inputs: list[Inputs] = list(for_each(lambda use: use.inputs(index, block), uses))
        asked = [i for i, use in enumerate(uses) if use.part is not None and inputs[i].missed is None]
        answers = shared.run([uses[i].tokens(block, inputs[i]) for i in asked]) if asked else []
        usages = dict(zip(asked, answers, strict=True))

        def finish(layers: list[list[GroupUse]]) -> None:
            for use in chain.from_iterable(layers):
                i = use.layer * len(layers[0]) + use.g
                self._finish(index, work, use, inputs[i], usages[i] if i in usages else use.use(block, inputs[i]))

        for _ in for_each(finish, self._together):
            pass

    def _use_layers(self, index: int, work: Work, layers: list[list[GroupUse]]) -> None:
        block = work.use.block
        for use in chain.from_iterable(layers):
            inputs = use.inputs(index, block)
            self._finish(index, work, use, inputs, use.use(block, inputs))

    def _finish(self, index: int, work: Work, use: GroupUse, inputs: Inputs, usage: Usage) -> None:
        if self._setup.record is not None:
            self._setup.record.write(index, use.layer, use.group, usage.active)
        use.fetch(work.use.block, inputs, usage, work)
