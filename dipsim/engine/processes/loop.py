"""What does a token do: stage after stage, the mask of each group chosen by its cache when the token gets there.

A cache has no other user than the token, which waits for it: it answers at once, at that simulated moment.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

from dipsim.engine.blocks import Done
from dipsim.engine.jobs import Jobs
from dipsim.engine.processes.contract import Watch
from dipsim.engine.processes.job import Job
from dipsim.engine.processes.stages import Overlaps, Stage, StageSeconds
from dipsim.engine.prompts import Prompt, begin
from dipsim.engine.seconds import Formulas, Stages, Timed
from dipsim.engine.stages import TokenStages, earlier_positions, layers_begun, stage_names
from dipsim.engine.workload import GroupUse, Inputs, Work
from dipsim.kernels import BoolArray, Float64Array
from dipsim.planning.setup import Setup
from dipsim.trace.reading import Block

Events = Generator[simpy.Event, Any, None]


@dataclass
class Part:
    """A prompt, or a block of tokens, that is being run.

    Attributes:
        sequence: index in the trace.
        stages, timed: of a prompt, or of the tokens' stages that are known before their masks: embedding, attention and
            LM head.
        jobs: filled in stage by stage.
        index, work: of tokens: the block's place, and what they use, filled in as masks are chosen.
        begun: reads ahead, and what they write.
        prompt: what a prompt used that warms the caches.
    """

    sequence: int
    stages: Stages
    timed: Timed
    jobs: Jobs
    index: int = 0
    work: Work | None = None
    begun: list[Job] = field(default_factory=list)
    prompt: Prompt | None = None

    @property
    def unfinished(self) -> list[Job]:
        """Reads ahead that go on though their tokens have ended."""
        return [job for job in self.begun if not job.is_done]


class _Token:
    """A token that is under way.

    Args:
        index: in its block.
        work: of the block.
        inputs: by layer and group, what the block's tokens give.
        masks: where masks are kept; None for nowhere.

    Attributes:
        block: the token alone.
        chosen: layers and groups whose masks are chosen.
        ahead: (layer, group) -> what is read ahead for it, and for those that are read together with it.
    """

    def __init__(self, index: int, work: Work, inputs: Sequence[Sequence[Inputs]], masks: _Masks | None) -> None:
        start = work.use.block.start + index
        self.index, self.work, self.inputs, self.masks = index, work, inputs, masks
        self.block = Block(work.use.block.sequence, start, start + 1)
        self.chosen: set[tuple[int, int]] = set()
        self.ahead: dict[tuple[int, int], Job] = {}


class _Masks:
    """Masks of a block's tokens, kept until all are chosen."""

    def __init__(self, setup: Setup, n_tokens: int) -> None:
        self._setup = setup
        self._own: list[list[BoolArray]] = [
            [np.zeros((n_tokens, group.n_columns), np.bool_) for group in setup.groups]
            for _ in range(setup.model.n_layers)
        ]

    def keep(self, layer: int, g: int, t: int, active: BoolArray) -> None:
        """The mask of one token."""
        self._own[layer][g][t] = active

    def record(self, index: int) -> None:
        """Writes them where the run wants them."""
        for layer, own in enumerate(self._own):
            for group, masks in zip(self._setup.groups, own, strict=True):
                if self._setup.record is not None:
                    self._setup.record.write(index, layer, group, masks)


def _rows(stages: Stages, timed: Timed) -> Float64Array:
    """`StageSeconds` of stages, [..., field]."""
    batches = stages.batches
    amounts = batches.n_bytes, batches.n_reads, timed.dram_bytes, stages.n_ops_dram, stages.n_ops_flash
    return np.concatenate([timed.seconds, np.stack(amounts, axis=-1)], axis=-1)


def _numbers(told: list[float]) -> Float64Array:
    """Many plain numbers as an array, several times faster than NumPy looks at each of them."""
    return np.frombuffer(struct.pack(f"{len(told)}d", *told))


class Loop:
    """The token loop, whose runs of prompts and blocks are SimPy processes.

    Args:
        env: where time passes.
        setup: the run.
        formulas: how long things take alone.
        overlaps: runs a stage.
        uses: the caches, by layer and group, and what is read for them.
        watch: is told of every stage that has ended.
    """

    def __init__(
        self,
        env: simpy.Environment,
        setup: Setup,
        formulas: Formulas,
        overlaps: Overlaps,
        uses: list[list[GroupUse]],
        watch: Watch,
    ) -> None:
        self._env, self._setup, self._formulas = env, setup, formulas
        self._stages = TokenStages(setup, formulas)
        self._overlaps, self._uses, self._watch = overlaps, uses, watch
        self._n_in_layer = 1 + len(setup.groups)
        layers = range(setup.model.n_layers)
        self._firsts = [[setup.layers_together(layer, own)[0] for own in setup.groups] for layer in layers]
        # Layers whose reads ahead begin with each stage: of those, all masks are chosen before any read begins.
        self._begun = [layers_begun(setup, s) for s in range(len(stage_names(setup)))]

    def parts(self) -> Iterator[Part]:
        """Prompts and blocks of tokens, in the order of the trace."""
        setup = self._setup
        for index, block in enumerate(setup.trace.blocks(setup.n_tokens)):
            sequence = setup.trace.sequences[block.sequence]
            if block.start == sequence.start:
                prompt = begin(setup, self._uses, index, block.sequence)
                if sequence.prompt_length > 0:
                    part = self._part(block.sequence, self._stages.prompt(sequence.prompt_length, prompt), 0)
                    part.prompt = prompt
                    yield part
            shape = block.stop - block.start, setup.model.n_layers, len(setup.groups)
            work = Work.empty(block, self._formulas.flash.n_sums, *shape)
            stages = self._stages.tokens(work, earlier_positions(setup.trace, block))
            part = self._part(block.sequence, stages, setup.model.n_layers if setup.reads_ahead else 0)
            part.index, part.work = index, work
            yield part

    def _part(self, sequence: int, stages: Stages, n_layers_ahead: int) -> Part:
        timed = self._formulas.of_stages(stages)
        n_tokens, n_stages, _ = timed.seconds.shape
        jobs = Jobs.empty(n_tokens, n_stages, n_layers_ahead, len(self._setup.groups))
        return Part(sequence, stages, timed, jobs)

    def run(self, part: Part) -> Events:
        """The process of a part."""
        if part.work is None:
            yield from self._prompt(part)
        else:
            yield from self._tokens(part, part.work)

    def done(self, part: Part) -> Done:
        """What a part has become."""
        if part.work is None:
            return Done(part.sequence, None, part.stages, part.timed, part.jobs, part.prompt)
        stages = self._stages.tokens(part.work, earlier_positions(self._setup.trace, part.work.use.block))
        return Done(part.sequence, part.work, stages, self._formulas.of_stages(stages), part.jobs)

    def _prompt(self, part: Part) -> Events:
        """Every weight once; the caches are not asked."""
        edges_s, jobs = part.jobs.edges_s[0], list[float]()
        for s, row in enumerate(_rows(part.stages, part.timed)[0].tolist()):
            stage = Stage(StageSeconds(*row))
            edges_s[s] = self._env.now
            yield from self._overlaps.run(stage)
            self._watch.got_on()
            stage.tell(jobs)
        edges_s[-1] = self._env.now
        part.jobs.of_stages[0] = _numbers(jobs).reshape(part.jobs.of_stages[0].shape)

    def _tokens(self, part: Part, work: Work) -> Events:
        block, env, run = work.use.block, self._env, self._overlaps.run
        inputs = [[use.inputs(part.index, block) for use in layer] for layer in self._uses]
        masks = None if self._setup.record is None else _Masks(self._setup, block.stop - block.start)
        for t, rows in enumerate(_rows(part.stages, part.timed)):
            token, jobs, edges_s = _Token(t, work, inputs, masks), list[float](), list[float]()
            for s, row in enumerate(rows.tolist()):
                layer, place = divmod(s - 1, self._n_in_layer)
                is_group = s > 0 and place > 0
                stage = self._of_group(token, layer, place - 1) if is_group else Stage(StageSeconds(*row))
                if self._begun[s]:
                    self._begin_ahead(part, token, self._begun[s], stage)
                edges_s.append(env.now)
                yield from run(stage)
                self._watch.got_on()
                stage.tell(jobs)
            part.jobs.edges_s[t] = *edges_s, env.now
            part.jobs.of_stages[t] = _numbers(jobs).reshape(part.jobs.of_stages[t].shape)
        if masks is not None:
            masks.record(part.index)

    def _of_group(self, token: _Token, layer: int, g: int) -> Stage:
        """The stage of a group, whose cache chooses the mask unless it was asked when reads ahead began."""
        self._choose(token, layer, g)
        t = token.index
        seconds = StageSeconds(*self._stages.group(token.work, t, layer, g))
        due = token.ahead.get((self._firsts[layer][g], g)) if token.ahead else None
        is_used = due is not None and token.work.n_used_ahead[t, layer, g] > 0
        return Stage(seconds, due if is_used else None)

    def _choose(self, token: _Token, layer: int, g: int) -> None:
        """Has the cache choose the mask, from what it holds now, unless it has."""
        if (layer, g) in token.chosen:
            return
        token.chosen.add((layer, g))
        use, inputs = self._uses[layer][g], token.inputs[layer][g].of(slice(token.index, token.index + 1))
        usage = use.use(token.block, inputs)
        use.fetch(token.block, inputs, usage, token.work)
        if token.masks is not None:
            token.masks.keep(layer, g, token.index, usage.active[0])

    def _begin_ahead(self, part: Part, token: _Token, layers: range, stage: Stage) -> None:
        """What the caches of some layers want to have read before the token gets there begins with this stage."""
        places = [(layer, g) for layer in layers for g in range(len(self._setup.groups))]
        for layer, g in places:
            self._choose(token, layer, g)
        for layer, g in places:
            n_reads, n_bytes, service_s, hidden_s, _ = token.work.ahead.one(token.index, layer, g)
            if service_s == 0:
                continue
            write_s = float(self._formulas.dram.write_seconds(n_bytes))
            read, written = Job(service_s, hidden_s, n_bytes, n_reads=n_reads), Job(write_s, n_bytes=n_bytes)
            stage.ahead.append((read, written))
            token.ahead[layer, g] = read
            read.row, written.row = part.jobs.ahead[token.index, layer, g]
            part.begun += read, written
