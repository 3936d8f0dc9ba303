"""The fast engine: what tokens use is worked out ahead of simulated time, and when, by queues in closed form.

Which columns a token uses depends on scores and residency, not on time; so while one block is timed, the next is read
and its layers are run, each independent of the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures import Future as Pending
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any

import numpy as np

from dipsim import kernels
from dipsim.cache import SharedCache, Usage
from dipsim.engine.blocks import Done
from dipsim.engine.jobs import Jobs
from dipsim.engine.prompts import Prompt, prompt_of, warm
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
        """Block after block of the trace, in order; those after it are worked on while the caller is busy with one.
        Threads go on to a layer's next block when they are done with this one: nobody waits for the slowest."""
        n, begun, in_turn = n_threads(), deque[_Begun](), self._is_plain or self._shared is not None
        pool = _AtOnce() if n == 1 else ThreadPoolExecutor(1 if in_turn else n)
        others = _AtOnce() if n == 1 or self._is_plain else ThreadPoolExecutor(n)
        with _ending(pool), _ending(others):
            for index, block in enumerate(self._setup.trace.blocks(self._setup.n_tokens)):
                begun.append(self._begin(index, block, pool, others, begun[-1].tasks if begun else ()))
                if n == 1 or len(begun) > 1:
                    yield self._finished(begun.popleft())
            for last in begun:
                yield self._finished(last)

    def _begin(
        self, index: int, block: Block, pool: Executor, others: Executor, before: Sequence[Pending[None]]
    ) -> _Begun:
        """A block is handed out, with the prompt before it where that warms the caches.

        Args:
            index, block: the block.
            pool: takes its layers.
            others: works on layers whose caches are one, which `pool` takes together.
            before: the tasks of the block before.
        """
        setup = self._setup
        shape = block.stop - block.start, setup.model.n_layers, len(setup.groups)
        work = Work.empty(block, self._formulas.flash.n_sums, *shape)
        is_first = block.start == setup.trace.sequences[block.sequence].start
        own = _Begun(index, is_first, prompt_of(setup, block.sequence) if is_first else None, work, [])
        if self._shared is not None:
            own.tasks.append(pool.submit(self._use_together, own, others.map, self._shared))
            return own
        for i, layers in enumerate(self._together):
            uses = list(chain.from_iterable(layers))
            own.tasks.append(pool.submit(self._use_layers, own, uses, before[i] if before else None))
        return own

    def _finished(self, begun: _Begun) -> tuple[Prompt | None, Work]:
        for task in begun.tasks:
            task.result()
        for use in self._uses[0]:
            use.price((slice(None), slice(None), use.g), begun.work)
        return begun.prompt, begun.work

    def _use_layers(self, begun: _Begun, uses: list[GroupUse], before: Pending[None] | None) -> None:
        if before is not None:
            before.result()  # has begun, since tasks begin in turn
        self._warm(begun, uses)
        for use in uses:
            inputs = use.inputs(begun.index, begun.work.use.block)
            self._finish(begun, use, inputs, use.use(begun.work.use.block, inputs))

    def _use_together(self, begun: _Begun, for_each: Callable[..., Iterable[Any]], shared: SharedCache) -> None:
        """All layers of a block where they share a cache: token after token, and in each of them layer after layer."""
        block, uses = begun.work.use.block, [use for layer in self._uses for use in layer]
        self._warm(begun, uses)
        inputs: list[Inputs] = list(for_each(lambda use: use.inputs(begun.index, block), uses))
        asked = [i for i, use in enumerate(uses) if use.part is not None and inputs[i].missed is None]
        answers = shared.run([uses[i].tokens(block, inputs[i]) for i in asked]) if asked else []
        usages = dict(zip(asked, answers, strict=True))

        def finish(layers: list[list[GroupUse]]) -> None:
            for use in chain.from_iterable(layers):
                i = use.layer * len(layers[0]) + use.g
                self._finish(begun, use, inputs[i], usages[i] if i in usages else use.use(block, inputs[i]))

        for _ in for_each(finish, self._together):
            pass

    def _warm(self, begun: _Begun, uses: list[GroupUse]) -> None:
        if begun.is_first:
            warm(self._setup, uses, begun.index, begun.work.use.block.sequence, begun.prompt)

    def _finish(self, begun: _Begun, use: GroupUse, inputs: Inputs, usage: Usage) -> None:
        if self._setup.record is not None:
            self._setup.record.write(begun.index, use.layer, use.group, usage.active)
        use.ask(begun.work.use.block, inputs, usage, begun.work)


@dataclass(frozen=True)
class _Begun:
    """A block that is worked on.

    Attributes:
        index: which.
        is_first: whether a sequence begins with it.
        prompt: before it, where that warms the caches.
        work: what its tokens use and ask for.
        tasks: what is to be done for it, layers in turn.
    """

    index: int
    is_first: bool
    prompt: Prompt | None
    work: Work
    tasks: list[Pending[None]]


class _AtOnce(Executor):
    """No threads."""

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Pending[Any]:
        """Works while the caller waits."""
        done: Pending[Any] = Pending()
        done.set_result(work(*given, **named))
        return done


@contextmanager
def _ending(pool: Executor) -> Iterator[None]:
    """After the body, whatever became of it, nothing more is begun."""
    try:
        yield
    finally:
        pool.shutdown(cancel_futures=True)
