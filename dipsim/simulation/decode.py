"""What happens token by token: the loop that masks, counts hits, moves bytes in simulated time and updates caches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import simpy

from dipsim import kernels
from dipsim.cache import WeightCache
from dipsim.devices import ReadBatch
from dipsim.errors import DipsimError
from dipsim.groups import Group
from dipsim.kernels import BoolArray, Int32Array, Uint16Array
from dipsim.policies import Place
from dipsim.results import DeviceTotals, TokenLog
from dipsim.simulation.future import Future
from dipsim.simulation.machine import Machine, Steps
from dipsim.simulation.setup import Setup
from dipsim.trace.reading import Block

OnProgress = Callable[[int, int], None]


class LayerGroup:
    """The columns of one (layer, group): which are resident, and the cache that decides it."""

    def __init__(self, setup: Setup, layer: int, group: Group) -> None:
        self.layer = layer
        self.group = group
        self.mask: BoolArray = np.ones(group.n_columns, np.bool_)
        slots = setup.slots[group.name][layer]
        self.cache: WeightCache | None = None
        if setup.is_pinned(group):
            self.resident: BoolArray = np.arange(group.n_columns) < slots
        else:
            place = Place(group.n_columns, slots, layer, group.name)
            self.cache = WeightCache(place, setup.new_policy(), setup.admission)
            self.resident = self.cache.resident

    def start(self) -> None:
        """A new sequence begins."""
        if self.cache is not None:
            self.cache.start()


class Decoder:
    """Runs the tokens of a setup on a machine and logs them."""

    def __init__(self, setup: Setup, on_progress: OnProgress) -> None:
        self.setup = setup
        self.log = TokenLog(setup.groups, setup.model.n_layers)
        self._on_progress = on_progress
        self._env = simpy.Environment()
        self._machine = Machine(self._env, setup.profile, setup.overlap)
        self._layers = [
            [LayerGroup(setup, layer, group) for group in setup.groups] for layer in range(setup.model.n_layers)
        ]
        needs_future = setup.new_policy().needs_future
        self._n_done, self._n_to_do = 0, setup.n_tokens * (2 if needs_future else 1)
        self._future = Future(setup, self._advance) if needs_future else None

    def run(self) -> TokenLog:
        """Simulates every token."""
        self._env.run(self._env.process(self._decode()))
        return self.log

    def _advance(self, n_tokens: int) -> None:
        self._n_done += n_tokens
        self._on_progress(self._n_done, self._n_to_do)

    def _decode(self) -> Steps:
        setup = self.setup
        for index, block in enumerate(setup.trace.blocks(setup.n_tokens)):
            scores = {site: setup.trace.read(site, block.start, block.stop) for site in setup.sites}
            uses = self._future.block(index, scores) if self._future is not None else {}
            sequence = setup.trace.sequences[block.sequence]
            if block.start == sequence.start:
                yield from self._prompt(sequence.prompt_length)
            for i in range(block.stop - block.start):
                position = block.start + i - sequence.start
                yield from self._token(block, i, position, sequence.prompt_length, scores, uses)
            self._advance(block.stop - block.start)

    def _prompt(self, n_tokens: int) -> Steps:
        """Dense: every weight once, operations for each token of the prompt; the caches stay cold."""
        for groups in self._layers:
            for columns in groups:
                columns.start()
        if n_tokens == 0:
            return
        start_s, self._machine.totals = self._env.now, DeviceTotals()
        model = self.setup.model
        yield from self._embedding(n_tokens)
        for groups in self._layers:
            yield from self._pinned(model.attention_bytes, 0, model.attention_weights, n_tokens)
            for columns in groups:
                group, n_resident = columns.group, int(np.count_nonzero(columns.resident))
                batch = self._machine.flash.stream((group.n_columns - n_resident) * group.column_bytes)
                per_column = 2.0 * n_tokens * group.column_weights
                n_ops = n_resident * per_column, (group.n_columns - n_resident) * per_column
                yield from self._machine.stage(batch, n_resident * group.column_bytes, *n_ops)
        yield from self._pinned(model.lm_head_bytes, 0, model.lm_head_weights, n_tokens)
        self.log.add_prompt(self._env.now - start_s)

    def _token(
        self,
        block: Block,
        i: int,
        position: int,
        prompt_length: int,
        scores: dict[str, Uint16Array],
        uses: dict[tuple[int, str], Int32Array],
    ) -> Steps:
        model = self.setup.model
        start_s, self._machine.totals = self._env.now, DeviceTotals()
        self.log.start_token(block.start + i, block.sequence, position, position < self.setup.n_warm_up)
        kv_bytes = model.kv_bytes_per_position * (prompt_length + position) / model.n_layers
        yield from self._embedding(1)
        for groups in self._layers:
            yield from self._pinned(model.attention_bytes, kv_bytes, model.attention_weights, 1)
            for columns in groups:
                site = columns.group.site
                own = None if site is None else scores[site][i, columns.layer]
                yield from self._group(columns, own, position)
                if columns.cache is not None:
                    if self._future is not None:
                        columns.cache.policy.foresee(uses[columns.layer, columns.group.name][i])
                    columns.cache.update(columns.mask, own, position)
        yield from self._pinned(model.lm_head_bytes, 0, model.lm_head_weights, 1)
        self.log.end_token(self._env.now - start_s, self._machine.totals)

    def _group(self, columns: LayerGroup, scores: Uint16Array | None, position: int) -> Steps:
        """Mask, hits and misses, transfers and operations of one group."""
        group, mask, resident = columns.group, columns.mask, columns.resident
        kept, total = 0, 0
        if scores is not None:
            self.setup.masking.select(group, scores, resident, position, mask)
            total, kept = kernels.score_sum(scores, mask)
        missed = mask & ~resident
        n_active, n_missed = int(np.count_nonzero(mask)), int(np.count_nonzero(missed))
        n_hits = n_active - n_missed
        if n_active == 0:
            raise DipsimError(
                f"method '{self.setup.masking.name}': mask of group '{group.name}' is empty; keep a column"
            )
        self.log.add_group(columns.layer, group, n_active, n_hits, kept, total)
        per_column = 2.0 * group.column_weights
        n_scored = group.n_columns if scores is not None else 0
        batch, hit_bytes = self._read(missed, n_missed, group), n_hits * group.column_bytes
        yield from self._machine.stage(batch, hit_bytes, n_hits * per_column, n_missed * per_column, n_scored)

    def _read(self, missed: BoolArray, n_missed: int, group: Group) -> ReadBatch:
        flash = self._machine.flash
        if n_missed and flash.forms_reads:
            return flash.batch(kernels.form_reads(missed, group.column_bytes, flash.page_bytes))
        return flash.stream(n_missed * group.column_bytes)

    def _embedding(self, n_rows: int) -> Steps:
        """Rows of the embedding table: from Flash, or from DRAM where it is the LM head."""
        model, flash = self.setup.model, self._machine.flash
        if model.tied_embeddings:
            yield from self._machine.stage(ReadBatch(), n_rows * model.embedding_row_bytes, 0)
        else:
            yield from self._machine.stage(flash.batch(np.full(n_rows, model.embedding_row_bytes)), 0, 0)

    def _pinned(self, n_bytes: float, kv_bytes: float, n_weights: int, n_tokens: int) -> Steps:
        """Attention of a layer or the LM head; each streams its share of what did not fit into DRAM."""
        plan = self.setup.dram
        share = plan.streamed_pinned_bytes / plan.pinned_bytes
        batch = self._machine.flash.stream(n_bytes * share)
        n_ops = 2.0 * n_tokens * n_weights
        yield from self._machine.stage(batch, n_bytes * (1 - share) + kv_bytes, n_ops * (1 - share), n_ops * share)
