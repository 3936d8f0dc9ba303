"""What does a prompt use that warms the caches: in each layer what any of its tokens wants, looked up once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np

from dipsim.cache import Tokens
from dipsim.devices import ReadBatches
from dipsim.engine.workload import GroupUse
from dipsim.kernels import BoolArray, Int64Array
from dipsim.methods import choose, in_layer
from dipsim.model.groups import Group
from dipsim.planning.setup import Setup


@dataclass(frozen=True)
class Prompt:
    """A prompt's look-ups, [1, layer, group] each.

    Attributes:
        n_active, n_missed: columns, int64.
        n_uses, n_uses_missed: the same with a column counted for each token that uses it.
        demanded: reads of the missed columns.
    """

    n_active: Int64Array
    n_missed: Int64Array
    n_uses: Int64Array
    n_uses_missed: Int64Array
    demanded: ReadBatches


def begin(setup: Setup, uses: list[list[GroupUse]], index: int, sequence: int) -> Prompt | None:
    """A sequence begins: its caches are emptied, and its prompt runs through them where it warms them.

    Args:
        setup: the run.
        uses: all its caches, by layer and group.
        index: the sequence's first block.
        sequence: index in the trace.

    Returns:
        What the prompt used; None where it leaves the caches cold.

    Raises:
        DipsimError: as `Replay.run`; the trace's prompts are damaged.
    """
    for use in chain.from_iterable(uses):
        use.replay.start()
    if not setup.warms or not setup.trace.sequences[sequence].prompt_length:
        return None
    shape = 1, len(uses), len(setup.groups)
    counts, demanded = np.zeros((4, *shape), np.int64), ReadBatches.empty(*shape)
    for use in chain.from_iterable(uses):
        by_token = prompt_masks(setup, use.layer, use.group, sequence)
        active = np.asarray(by_token.any(axis=0))
        if not active.any():
            continue
        usage = use.replay.run(_tokens(setup, use, index, sequence, active))
        where = slice(0, 1), use.layer, use.g
        n_uses, n_uses_missed = by_token.sum(), by_token[:, usage.missed[0]].sum()
        counts[:, 0, use.layer, use.g] = *usage.counts[0, :2], n_uses, n_uses_missed
        demanded.fill(where, use.reads(usage.missed_set))
    return Prompt(counts[0], counts[1], counts[2], counts[3], demanded)


def prompt_masks(setup: Setup, layer: int, group: Group, sequence: int) -> BoolArray:
    """What each of a prompt's tokens uses at a place, bool [prompt token, column], as if everything were resident: no
    prompt is worth bending.

    Raises:
        DipsimError: the trace has no scores of its prompts, or they are damaged.
    """
    n_tokens = setup.trace.sequences[sequence].prompt_length
    if group.site is None or not group.columns_in(layer):
        return np.full((n_tokens, group.n_columns), bool(group.columns_in(layer)))
    scores = setup.trace.prompt_scores(group.site, sequence, layer)
    own = in_layer(setup.masking, layer)
    resident = np.ones(group.n_columns, np.bool_) if own.looks_at_residency else None
    # What scores nothing was not run for this token, or is not known.
    masks: BoolArray = choose(own, group, scores, 0, resident) & (scores > 0)
    return masks


def _tokens(setup: Setup, use: GroupUse, index: int, sequence: int, active: BoolArray) -> Tokens:
    group = use.group
    best = None
    if group.site is not None:
        best = setup.trace.prompt_scores(group.site, sequence, use.layer).max(axis=0)[None]
    first_use = use.first_use(index, sequence)
    return Tokens(1, -1, best, None if first_use is None else first_use[None], active[None])
