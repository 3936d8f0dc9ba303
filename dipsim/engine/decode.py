"""What happens token by token: the loop that runs the work of the devices in simulated time, and logs it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import simpy

from dipsim.devices import ReadBatches
from dipsim.engine.critical_path import critical_path
from dipsim.engine.machine import Machine, Seconds, Stages, rows
from dipsim.engine.stages import TokenStages
from dipsim.engine.timeline import Timeline
from dipsim.engine.workload import Work, Workload
from dipsim.kernels import BoolArray, Float64Array, Int64Array
from dipsim.planning.setup import Setup
from dipsim.results import TokenLog

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Done:
    """A block whose tokens have been simulated.

    Attributes:
        work: what they used.
        batches: reads of each stage, [token, stage].
        path: seconds of each stage by part of the critical path, [token, stage].
        token_s: how long each token took, [token].
        is_warm_up: which of them do not count, [token].
    """

    work: Work
    batches: ReadBatches
    path: dict[str, Float64Array]
    token_s: Float64Array
    is_warm_up: BoolArray


OnBlock = Callable[[Done], None]
Events = Generator[simpy.Event, None, None]


class Decoder:
    """Runs the tokens of a setup on a machine and logs them.

    Args:
        setup: the run.
        on_progress: called now and then with the tokens done and the tokens to do.
        timeline: draws what happens; None for nobody.
        look: looks at every block when its tokens are done; None for nobody.
    """

    def __init__(
        self, setup: Setup, on_progress: OnProgress, timeline: Timeline | None = None, look: OnBlock | None = None
    ) -> None:
        self.setup = setup
        self.log = TokenLog(setup.groups, setup.model)
        self._on_progress = on_progress
        self._timeline, self._look = timeline, look
        self._n_done, self._n_to_do = 0, setup.n_tokens * setup.n_passes
        self._env = simpy.Environment()
        self.machine = Machine(self._env, setup.profile, setup.unit, setup.overlap)
        self._stages = TokenStages(setup, self.machine)
        self._workload = Workload(setup, self.machine.flash, self._advance)

    def run(self) -> TokenLog:
        """Simulates every token."""
        self._env.run(self._env.process(self._decode()))
        if self._timeline is not None:
            self._timeline.close(self._env.now)
        return self.log

    def _advance(self, n_tokens: int) -> None:
        self._n_done += n_tokens
        self._on_progress(self._n_done, self._n_to_do)

    def _decode(self) -> Events:
        for work in self._workload.blocks():
            block, sequence = work.use.block, self.setup.trace.sequences[work.use.block.sequence]
            if block.start == sequence.start and sequence.prompt_length > 0:
                yield from self._prompt(block.sequence, sequence.prompt_length)
            positions: Int64Array = np.arange(block.start, block.stop) - sequence.start
            stages = self._stages.tokens(work, (sequence.prompt_length + positions).astype(np.float64))
            seconds, amounts = self.machine.prepare(stages)
            # Clock and work of the devices after each token, and before the first.
            marks = np.empty((positions.size + 1, 3))
            marks[0] = self._mark()
            waits_s = np.empty((2, *seconds.flash_s.shape))
            ahead = self._stages.ahead(work) if self.setup.reads_ahead else None
            run = self.machine.run if self._timeline is None else self._timeline.tokens(self.machine, work, stages)
            for i, row in enumerate(rows(seconds, ahead)):
                waits_s[:, i] = yield from run(row)
                marks[i + 1] = self._mark()
            measured = dict(zip(("token_s", "flash_s", "dram_s"), np.diff(marks, axis=0).T, strict=True))
            path = critical_path(self.setup.overlap, seconds, stages.batches, waits_s)
            measured |= self._totals(work, stages, seconds, amounts, path)
            is_warm_up = positions < self.setup.n_warm_up
            self.log.add(work.use, positions, is_warm_up, measured)
            if self._look is not None:
                self._look(Done(work, stages.batches, path, measured["token_s"], is_warm_up))
            self._advance(positions.size)

    def _mark(self) -> tuple[float, float, float]:
        now = self._env.now
        return now, self.machine.flash.busy_s(now), self.machine.dram.busy_s(now)

    def _prompt(self, sequence: int, n_tokens: int) -> Events:
        start_s, stages = self._env.now, self._stages.prompt(n_tokens)
        seconds, _ = self.machine.prepare(stages)
        run = self.machine.run if self._timeline is None else self._timeline.prompt(self.machine, sequence, stages)
        for row in rows(seconds):
            yield from run(row)
        self.log.add_prompt(self._env.now - start_s)

    def _totals(
        self,
        work: Work,
        stages: Stages,
        seconds: Seconds,
        amounts: dict[str, Float64Array],
        path: dict[str, Float64Array],
    ) -> dict[str, Float64Array]:
        """Columns of the table of tokens, [token] each."""
        totals = {f"{part}_on_path_s": own.sum(axis=1) for part, own in path.items()}
        totals |= {name: own.sum(axis=1) for name, own in amounts.items()}
        compute_s = seconds.select_s + seconds.early_s + seconds.late_s
        totals["compute_s"] = compute_s.sum(axis=1)
        of_flash = self._of_flash(stages.batches)
        if self.setup.reads_ahead:
            ahead = self._of_flash(work.ahead)
            of_flash = {name: own + ahead[name] for name, own in of_flash.items()}
            totals["dram_bytes"] += ahead["flash_bytes"]
            column_bytes = np.array([group.column_bytes for group in self.setup.groups])
            totals["prefetch_bytes"] = ahead["flash_wanted_bytes"]
            totals["prefetch_used_bytes"] = (work.n_used_ahead * column_bytes).sum(axis=(1, 2))
        return totals | of_flash

    def _of_flash(self, batches: ReadBatches) -> dict[str, Float64Array]:
        """Reads, bytes and seconds of each token, and what the seconds are due to."""
        amounts = {
            "flash_reads": batches.n_reads,
            "flash_bytes": batches.n_bytes,
            "flash_wanted_bytes": batches.wanted_bytes,
            **{f"flash_{cause}_s": own for cause, own in self.machine.flash.losses(batches).items()},
        }
        return {name: own.reshape(len(own), -1).sum(axis=1) for name, own in amounts.items()}
