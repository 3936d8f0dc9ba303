"""What does each step of a token ask of the devices: embedding, attention, groups, LM head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from itertools import product

import numpy as np

from dipsim.devices import Reach, ReadBatches
from dipsim.engine.prompts import Prompt
from dipsim.engine.seconds import Formulas, Stages
from dipsim.engine.workload import Work
from dipsim.kernels import Float64Array, Int64Array
from dipsim.layouts import first_share
from dipsim.planning.setup import Setup
from dipsim.trace import Trace
from dipsim.trace.reading import Block

AnyArray = Float64Array | Int64Array


def stage_names(setup: Setup) -> list[tuple[int | None, str]]:
    """Layer (None beside them) and name of each stage, in the order of a token."""
    in_layer = ["attention", *(group.name for group in setup.groups)]
    layers = [(layer, name) for layer in range(setup.model.n_layers) for name in in_layer]
    return [(None, "embedding"), *layers, (None, "LM head")]


def layers_begun(setup: Setup, s: int) -> range:
    """Layers whose reads ahead begin with a stage of a token: the first ones with the embedding, others with the last
    stage of the first layer of those before, whose scores are known by then."""
    n_together, n_layers = setup.prefetch_layers, setup.model.n_layers
    layer, place = divmod(s, 1 + len(setup.groups))
    first = 0 if s == 0 else layer - 1 + n_together
    if not setup.reads_ahead or place or first % n_together:
        return range(0)
    return range(min(first, n_layers), min(first + n_together, n_layers))


class TokenStages:
    """Turns what tokens use into the stages that devices work through.

    Args:
        setup: the run.
        formulas: of its devices.
    """

    def __init__(self, setup: Setup, formulas: Formulas) -> None:
        self._setup = setup
        self._formulas, self._flash = formulas, formulas.flash
        operations, bits = formulas.compute.operations, setup.model.bits
        layers = range(setup.model.n_layers)
        # [layer, group]
        self._column_bytes = np.array([[group.bytes_in(layer) for group in setup.groups] for layer in layers])
        self._n_columns = np.array([[float(group.columns_in(layer)) for group in setup.groups] for layer in layers])
        self._column_ops = np.array([operations(group.column_weights, bits.mlp) for group in setup.groups])
        self._first = np.array([first_share(setup.layout, group) for group in setup.groups])
        self._n_scored = self._n_columns * np.array([group.site is not None for group in setup.groups])
        self._prompt_ops_per_s = setup.unit.prompt_ops_per_s if setup.unit is not None else None
        self._reach, self._reach_of = setup.reach(None), [setup.reach(group) for group in setup.groups]
        # The same as plain numbers, for one group at a time.
        self._column_bytes_of, self._column_ops_of = self._column_bytes.tolist(), self._column_ops.tolist()
        self._n_scored_of, self._first_of = self._n_scored.tolist(), self._first.tolist()
        beside_ops = sum(operations(own.n_weights, own.bits) for own in setup.beside)
        n_pinned = setup.model.pinned_weights[:, None]
        self._attention_ops = n_pinned * operations(1, bits.attention) + beside_ops  # [layer, 1]
        self._attention_bytes = n_pinned * bits.attention / 8 + sum(own.n_bytes for own in setup.beside)
        self._head_ops = operations(setup.model.lm_head_weights, bits.lm_head)

    def tokens(self, work: Work, n_earlier: Float64Array) -> Stages:
        """Stages of a block's tokens, each of which has so many positions before it.

        What was read ahead lies in DRAM, but may be worked on only when it has arrived.
        """
        setup, batches = self._setup, work.demanded
        n_missed = work.use.n_missed.astype(np.float64)
        n_hits = work.use.n_active - n_missed
        groups = Stages(
            batches=batches,
            dram_bytes=(n_hits + work.n_used_ahead) * self._column_bytes,
            **self._operations(n_hits, n_missed, self._column_ops),
            n_scored=self._n_scored + 0 * n_hits,
            **_reached(self._reach_of, n_hits),
        )
        return self._with_groups(groups, setup.model.kv_bytes(n_earlier), 1)

    def group(self, work: Work, t: int, layer: int, g: int) -> tuple[float, ...]:
        """One group's stage of one token, in the order of `Formulas.of_one`."""
        n_missed = float(work.use.n_missed[t, layer, g])
        n_hits = float(work.use.n_active[t, layer, g]) - n_missed
        n_held = n_hits + float(work.n_used_ahead[t, layer, g])
        column_bytes, column_ops = self._column_bytes_of[layer][g], self._column_ops_of[g]
        n_begun = self._first_of[g] * n_hits
        return self._formulas.of_one(
            work.demanded.one(t, layer, g),
            n_held * column_bytes,
            n_begun * column_ops,
            (n_missed + n_hits - n_begun) * column_ops,
            self._n_scored_of[layer][g],
            self._reach_of[g],
        )

    def prompt(self, n_tokens: int, prompt: Prompt | None = None) -> Stages:
        """As one row: every weight once, operations for each token of the prompt, which uses no more experts than any
        other. Where it warms the caches, in each layer the columns that it used, and operations for those tokens alone
        that use a column."""
        setup = self._setup
        if prompt is not None:
            n_held = prompt.n_active - prompt.n_missed
            groups = Stages(
                batches=prompt.demanded,
                dram_bytes=n_held * self._column_bytes,
                **self._operations(prompt.n_uses - prompt.n_uses_missed, prompt.n_uses_missed, self._column_ops),
                n_scored=np.zeros(n_held.shape),
                **_reached([self._reach], n_held),
            )
            return self._of_prompt(groups, n_tokens)
        n_columns = self._n_columns[None]
        n_hits = np.zeros_like(n_columns)
        for layer, (g, group) in product(range(setup.model.n_layers), enumerate(setup.groups)):
            if setup.is_pinned(layer, group):
                n_hits[0, layer, g] = setup.slots[group.name][layer]
        n_missed = n_columns - n_hits
        column_ops = (
            n_tokens * self._column_ops * [(own.per_token or own.n_columns) / own.n_columns for own in setup.groups]
        )
        groups = Stages(
            batches=self._flash.streams(n_missed * self._column_bytes),
            dram_bytes=n_hits * self._column_bytes,
            **self._operations(n_hits, n_missed, column_ops),
            n_scored=0 * n_hits,
            **_reached([self._reach], n_hits),
        )
        return self._of_prompt(groups, n_tokens)

    def _of_prompt(self, groups: Stages, n_tokens: int) -> Stages:
        """All stages of a prompt, at the unit's rate for prompts where it has one."""
        stages = self._with_groups(groups, self._setup.model.kv_bytes(np.zeros(1)), n_tokens)
        if self._prompt_ops_per_s is None:
            return stages
        return replace(stages, ops_per_s=np.full_like(stages.ops_per_s, self._prompt_ops_per_s))

    def _operations(self, n_hits: AnyArray, n_missed: AnyArray, column_ops: Float64Array) -> dict[str, Float64Array]:
        """Those that may begin at once, and those that wait for Flash, as `Stages` has them."""
        n_begun = self._first * n_hits
        return {"n_ops_dram": n_begun * column_ops, "n_ops_flash": (n_missed + n_hits - n_begun) * column_ops}

    def _with_groups(self, groups: Stages, kv_bytes: Float64Array, n_tokens: int) -> Stages:
        """All stages around those of the groups, [row, layer, group]: [row, stage] in the order of a token.

        Args:
            groups: the MLPs.
            kv_bytes: keys and values that each layer reads, [row, layer].
            n_tokens: tokens that share a row's weights.
        """
        embedding, attention, head = self._around(n_tokens)
        attention = replace(attention, dram_bytes=attention.dram_bytes + kv_bytes[:, :, None])
        return _joined(embedding, attention, groups, head)

    @lru_cache(maxsize=2)  # noqa: B019 - of a token and of the last prompt, as long as the run
    def _around(self, n_tokens: int) -> tuple[Stages, Stages, Stages]:
        """Embedding, attention without what it reads of KV, and LM head: of one row, which others are like."""
        model = self._setup.model
        ones = np.ones((1, model.n_layers, 1))
        attention = self._pinned(self._attention_bytes, n_tokens * self._attention_ops, ones)
        head = self._pinned(model.lm_head_bytes, n_tokens * self._head_ops, ones[:, :1])
        return self._embedding(ones[:, :1], n_tokens), attention, head

    def _pinned(self, n_bytes: Float64Array | float, n_ops: Float64Array | float, ones: Float64Array) -> Stages:
        """Attention of a layer or the LM head; each streams its share of what did not fit into DRAM."""
        plan = self._setup.dram
        share = plan.streamed_pinned_bytes / plan.pinned_bytes
        batches = self._flash.streams(n_bytes * share * ones)
        held = 1 - share
        n_held, n_ops = n_bytes * held * ones, n_ops * ones
        return Stages(batches, n_held, n_ops * held, n_ops * share, 0 * ones, **_reached([self._reach], ones))

    def _embedding(self, ones: Float64Array, n_rows: int) -> Stages:
        """Rows of the embedding table: from Flash in one batch, or from DRAM where it is the LM head."""
        model = self._setup.model
        n_read = 0 if model.tied_embeddings else n_rows
        batches = self._flash.rows(model.embedding_row_bytes, n_read * ones)
        dram_bytes = (n_rows - n_read) * model.embedding_row_bytes * ones
        return Stages(batches, dram_bytes, 0 * ones, 0 * ones, 0 * ones, **_reached([self._reach], ones))


def _reached(reach: Sequence[Reach], like: AnyArray) -> dict[str, Float64Array]:
    """As `Stages` has them: of one for all, or of each of the last axis."""
    return {
        name: np.broadcast_to(np.array([getattr(own, name) for own in reach]), like.shape) for name in Reach._fields
    }


def _joined(embedding: Stages, attention: Stages, groups: Stages, head: Stages) -> Stages:
    """[row, layer, stage of the layer] each, in the order of a token: [row, stage]. What is alike in all rows may be
    told of one."""
    n_rows, n_layers, n_groups = groups.dram_bytes.shape
    n_in_layer = 1 + n_groups

    def join(name: str, part: Callable[[Stages], object] = lambda stages: stages) -> Float64Array:
        first, each, masked, last = (getattr(part(stages), name) for stages in (embedding, attention, groups, head))
        joined: Float64Array = np.empty((n_rows, n_layers * n_in_layer + 2))
        joined[:, 0], joined[:, 1:-1:n_in_layer], joined[:, -1] = first[:, 0, 0], each[:, :, 0], last[:, 0, 0]
        for g in range(n_groups):
            joined[:, 2 + g : -1 : n_in_layer] = masked[:, :, g]
        return joined

    batches = ReadBatches(*(join(name, lambda stages: stages.batches) for name in ReadBatches._fields))
    return Stages(batches, *(join(field.name) for field in fields(Stages) if field.name != "batches"))


def earlier_positions(trace: Trace, block: Block) -> Float64Array:
    """How many positions each token of a block has before it, [token]."""
    sequence = trace.sequences[block.sequence]
    positions = np.arange(block.start, block.stop) - sequence.start
    return (sequence.prompt_length + positions).astype(np.float64)
