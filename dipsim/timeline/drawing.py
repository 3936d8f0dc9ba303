"""What happened when: tokens, their stages and the work of the devices, drawn block by block as they are simulated."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from dipsim.devices import ReadBatches
from dipsim.engine.blocks import Done
from dipsim.engine.seconds import Stages
from dipsim.engine.stages import layers_begun, stage_names
from dipsim.engine.workload import Work
from dipsim.kernels import Float64Array, Int64Array
from dipsim.kernels.stages import SERVICE
from dipsim.planning.setup import Setup
from dipsim.timeline.trace_events import TraceEvents
from dipsim.timeline.tracks import Args, CacheTracks, DeviceTracks, StageFacts


@dataclass(frozen=True)
class _Phase:
    """A token or a prompt, as it is drawn.

    Attributes:
        name, category: of its span.
        args: what its span tells.
        stages: its stages.
        n_missed: columns of each (layer, group) that enter caches.
    """

    name: str
    category: str
    args: Args
    stages: list[StageFacts]
    n_missed: Int64Array


class Timeline:
    """Draws blocks of tokens and prompts as they are done, and keeps nothing of them.

    Args:
        events: where it is written.
        setup: the run.
        first_token: tokens of the trace before this one are simulated, but not drawn.
    """

    def __init__(self, events: TraceEvents, setup: Setup, first_token: int) -> None:
        self._events = events
        self._setup = setup
        self._first = first_token
        self._names = stage_names(setup)
        self._n_in_layer = 1 + len(setup.groups)
        self._begun_with = [layers_begun(setup, s) for s in range(len(self._names))]
        self._devices = DeviceTracks(events, setup)
        self._caches = CacheTracks(events, setup)
        self._missed_s: float | None = None  # when the reads began that the next stage waited for
        self._now_s = 0.0

    def draw(self, done: Done) -> None:
        """The next block, or the next prompt."""
        self._now_s = float(done.jobs.edges_s[-1, -1])
        if done.work is None:
            self._prompt(done)
        else:
            self._tokens(done, done.work)

    def _tokens(self, done: Done, work: Work) -> None:
        block = work.use.block
        sequence = self._setup.trace.sequences[block.sequence]
        if block.start == sequence.start and not sequence.prompt_length:
            self._caches.start()
        n_before = min(max(self._first - block.start, 0), block.stop - block.start)
        self._caches.fill(work.use.n_missed[:n_before].sum(axis=0))
        for t in range(n_before, block.stop - block.start):
            self._draw(done, t, self._token(work, done.stages, t))

    def _prompt(self, done: Done) -> None:
        own = self._setup.trace.sequences[done.sequence]
        self._caches.start()
        entering = np.zeros((self._setup.model.n_layers, len(self._setup.groups)), np.int64)
        if done.prompt is not None:
            entering = done.prompt.n_missed[0]
        if own.start < self._first:
            self._caches.fill(entering)
            return
        args = {"sequence": done.sequence, "prompt_tokens": own.prompt_length} | _of_flash(done.stages.batches, 0)
        facts = [self._facts(done.stages, 0, s, ",prompt") for s in range(len(self._names))]
        self._draw(done, 0, _Phase(f"prompt of sequence {done.sequence}", "prompt", args, facts, entering))

    def close(self) -> None:
        """The run has ended: what devices still do is cut here, since nobody waited for it."""
        self._devices.close(self._now_s)

    def _token(self, work: Work, stages: Stages, t: int) -> _Phase:
        use, token = work.use, work.use.block.start + t
        facts = [self._facts(stages, t, s) for s in range(len(self._names))]
        for layer, g in np.ndindex(use.n_active.shape[1:]):
            columns = _of_columns(use.n_active[t, layer, g], use.n_missed[t, layer, g])
            facts[layer * self._n_in_layer + 2 + g].args.update(columns)
        for own, begun in zip(facts, self._begun_with, strict=True):
            for layer, g in product(begun, range(use.n_active.shape[2])):
                if work.ahead.service_s[t, layer, g] > 0:
                    own.ahead.append(self._of_ahead(work, t, layer, g))
        start = self._setup.trace.sequences[use.block.sequence].start
        place = {"token": token, "sequence": use.block.sequence, "position": token - start}
        args = place | _of_columns(use.n_active[t].sum(), use.n_missed[t].sum()) | _of_flash(stages.batches, t)
        return _Phase(f"token {token}", "token", args, facts, use.n_missed[t])

    def _facts(self, stages: Stages, t: int, s: int, suffix: str = "") -> StageFacts:
        layer, name = self._names[s]
        place = {} if layer is None else {"layer": layer}
        args = place | _of_flash(stages.batches, t, s) | {"dram_bytes": float(stages.dram_bytes[t, s])}
        return StageFacts(name, suffix, args, [])

    def _of_ahead(self, work: Work, t: int, layer: int, g: int) -> tuple[str, Args]:
        group = self._setup.groups[g]
        layers = self._setup.layers_together(layer, group)
        used = {"used_columns": int(work.n_used_ahead[t, layers, g].sum())}
        return group.name, {"layer": layer} | _of_flash(work.ahead, t, layer, g) | used

    def _draw(self, done: Done, t: int, phase: _Phase) -> None:
        edges_s = done.jobs.edges_s[t].tolist()
        self._caches.tell(edges_s[0])
        for s in range(len(self._names)):
            self._stage(phase, s, done.jobs.of_stages[t, s], self._begun(done, t, s), edges_s[s], edges_s[s + 1])
        self._events.span("tokens", phase.name, edges_s[0], edges_s[-1], phase.category, phase.args)

    def _begun(self, done: Done, t: int, s: int) -> list[Float64Array]:
        """Jobs of the batches that a stage begins ahead of their use, [device, field] each."""
        if done.work is None:
            return []
        return [own for layer in self._begun_with[s] for own in done.jobs.ahead[t, layer] if own[0, SERVICE] > 0]

    def _stage(
        self, phase: _Phase, s: int, jobs: Float64Array, begun: list[Float64Array], began_s: float, ended_s: float
    ) -> None:
        """One stage on its track, then what the devices did for it."""
        layer, name = self._names[s]
        place = None if layer is None else s - 1 - layer * self._n_in_layer
        if place == 0:
            self._events.begin("layers", f"layer {layer}", began_s, "layer", {})
        if ended_s > began_s:
            self._events.begin("layers", name, began_s, "stage", phase.stages[s].args)
            if self._missed_s is not None:
                self._events.arrow("waits for Flash", "Flash", self._missed_s, "layers", began_s)
                self._missed_s = None
            self._events.end("layers", ended_s)
        if place == self._n_in_layer - 1:
            self._events.end("layers", ended_s)
        missed_s = self._devices.draw(phase.stages[s], jobs, begun, ended_s)
        self._missed_s = self._missed_s if missed_s is None else missed_s
        if layer is not None and place:
            self._caches.enter(layer, place - 1, int(phase.n_missed[layer, place - 1]), ended_s)


def _of_flash(batches: ReadBatches, *where: int) -> Args:
    """Reads and bytes of some batches."""
    return {
        "flash_reads": int(batches.n_reads[where].sum()),
        "flash_bytes": float(batches.n_bytes[where].sum()),
        "wanted_bytes": float(batches.wanted_bytes[where].sum()),
    }


def _of_columns(n_active: int, n_missed: int) -> Args:
    return {
        "active_columns": int(n_active),
        "missed_columns": int(n_missed),
        "hit_rate": float(1 - n_missed / n_active),
    }
