"""What happens token by token: the loop that turns what tokens use into work of the devices, in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import simpy

from dipsim.devices import ReadBatches
from dipsim.kernels import Float64Array, Int64Array
from dipsim.results import BlockUse, TokenLog
from dipsim.simulation.machine import Machine, Stages, Steps
from dipsim.simulation.setup import Setup
from dipsim.simulation.workload import Workload

OnProgress = Callable[[int, int], None]


class Decoder:
    """Runs the tokens of a setup on a machine and logs them."""

    def __init__(self, setup: Setup, on_progress: OnProgress) -> None:
        self.setup = setup
        self.log = TokenLog(setup.groups, setup.model.n_layers)
        self._on_progress = on_progress
        self._n_done, self._n_to_do = 0, setup.n_tokens * setup.n_passes
        self._env = simpy.Environment()
        self._machine = Machine(self._env, setup.profile, setup.overlap)
        self._workload = Workload(setup, self._machine.flash, self._advance)

    def run(self) -> TokenLog:
        """Simulates every token."""
        self._env.run(self._env.process(self._decode()))
        return self.log

    def _advance(self, n_tokens: int) -> None:
        self._n_done += n_tokens
        self._on_progress(self._n_done, self._n_to_do)

    def _decode(self) -> Steps:
        for use, batches in self._workload.blocks():
            block, sequence = use.block, self.setup.trace.sequences[use.block.sequence]
            if block.start == sequence.start and sequence.prompt_length > 0:
                yield from self._prompt(sequence.prompt_length)
            positions: Int64Array = np.arange(block.start, block.stop) - sequence.start
            totals, rows = self._machine.prepare(self._token_stages(use, batches, sequence.prompt_length + positions))
            token_s = np.empty(positions.size)
            for i, stages in enumerate(rows):
                start_s = self._env.now
                yield from self._machine.run(stages)
                token_s[i] = self._env.now - start_s
            self.log.add(use, positions, positions < self.setup.n_warm_up, {"token_s": token_s, **totals})
            self._advance(positions.size)

    def _prompt(self, n_tokens: int) -> Steps:
        """Dense: every weight once, operations for each token of the prompt; the caches stay cold."""
        setup, start_s = self.setup, self._env.now
        n_columns = np.array([[[group.n_columns for group in setup.groups]] * setup.model.n_layers], np.float64)
        n_hits = np.zeros_like(n_columns)
        for g, group in enumerate(setup.groups):
            if setup.is_pinned(group):
                n_hits[0, :, g] = setup.slots[group.name]
        missed_bytes = (n_columns - n_hits) * [group.column_bytes for group in setup.groups]
        batches = _shaped(self._machine.flash.streams(missed_bytes.reshape(-1)), n_columns.shape)
        stages = self._stages(n_hits, n_columns - n_hits, batches, np.zeros(1), n_tokens, scored=False)
        _, rows = self._machine.prepare(stages)
        for row in rows:
            yield from self._machine.run(row)
        self.log.add_prompt(self._env.now - start_s)

    def _token_stages(self, use: BlockUse, batches: ReadBatches, n_earlier: Int64Array) -> Stages:
        """Stages of a block's tokens, each of which has so many positions before it."""
        kv_bytes = self.setup.model.kv_bytes_per_position * n_earlier / self.setup.model.n_layers
        n_missed = use.n_missed.astype(np.float64)
        return self._stages(use.n_active - n_missed, n_missed, batches, kv_bytes, 1, scored=True)

    def _stages(
        self,
        n_hits: Float64Array,
        n_missed: Float64Array,
        batches: ReadBatches,
        kv_bytes: Float64Array,
        n_tokens: int,
        scored: bool,
    ) -> Stages:
        """Embedding; in each layer attention, then the groups; LM head.

        Args:
            n_hits, n_missed: columns [row, layer, group].
            batches: reads of the missed ones, [row, layer, group].
            kv_bytes: keys and values that one layer reads, [row].
            n_tokens: tokens that share a row's weights.
            scored: whether masks are chosen from scores.
        """
        setup, model = self.setup, self.setup.model
        column_bytes = np.array([group.column_bytes for group in setup.groups])
        column_ops = np.array([2.0 * n_tokens * group.column_weights for group in setup.groups])
        n_scored = np.array([group.n_columns * float(scored and group.site is not None) for group in setup.groups])
        groups = Stages(
            batches, n_hits * column_bytes, n_hits * column_ops, n_missed * column_ops, n_scored + 0 * n_hits
        )
        ones = np.ones((len(kv_bytes), model.n_layers, 1))
        attention = self._pinned(model.attention_bytes, model.attention_weights, ones, n_tokens)
        attention.dram_bytes[:] += kv_bytes[:, None, None]
        head = self._pinned(model.lm_head_bytes, model.lm_head_weights, ones[:, :1], n_tokens)
        embedding = self._embedding(ones[:, :1], n_tokens)
        return _joined(embedding, attention, groups, head)

    def _pinned(self, n_bytes: float, n_weights: int, ones: Float64Array, n_tokens: int) -> Stages:
        """Attention of a layer or the LM head; each streams its share of what did not fit into DRAM."""
        plan = self.setup.dram
        share = plan.streamed_pinned_bytes / plan.pinned_bytes
        batches = _shaped(self._machine.flash.streams((n_bytes * share * ones).reshape(-1)), ones.shape)
        n_ops = 2.0 * n_tokens * n_weights * ones
        return Stages(batches, n_bytes * (1 - share) * ones, n_ops * (1 - share), n_ops * share, 0 * ones)

    def _embedding(self, ones: Float64Array, n_rows: int) -> Stages:
        """Rows of the embedding table: from Flash in one batch, or from DRAM where it is the LM head."""
        model, flash = self.setup.model, self._machine.flash
        n_read = 0 if model.tied_embeddings else n_rows
        reads = np.full(n_read * ones.size, model.embedding_row_bytes)
        batches = flash.batches(reads, np.full(ones.size, n_read))
        dram_bytes = (n_rows - n_read) * model.embedding_row_bytes * ones
        return Stages(_shaped(batches, ones.shape), dram_bytes, 0 * ones, 0 * ones, 0 * ones)


def _shaped(batches: ReadBatches, shape: tuple[int, ...]) -> ReadBatches:
    return ReadBatches(*(getattr(batches, field.name).reshape(shape) for field in fields(ReadBatches)))


def _joined(embedding: Stages, attention: Stages, groups: Stages, head: Stages) -> Stages:
    """[row, layer, stage of the layer] each, in the order of a token: [row, stage]."""

    def join(name: str, part: Callable[[Stages], object] = lambda stages: stages) -> Float64Array:
        first, each, masked, last = (getattr(part(stages), name) for stages in (embedding, attention, groups, head))
        layers = np.concatenate([each, masked], axis=2)
        return np.concatenate([first[:, 0], layers.reshape(len(layers), -1), last[:, 0]], axis=1)

    batches = ReadBatches(*(join(field.name, lambda stages: stages.batches) for field in fields(ReadBatches)))
    return Stages(batches, *(join(name) for name in ("dram_bytes", "n_ops_dram", "n_ops_flash", "n_scored")))
