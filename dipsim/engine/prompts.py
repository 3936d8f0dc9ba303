"""What does a prompt use that warms the caches: in each layer what any of its tokens wants, looked up once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from dipsim.cache import Tokens, Usage
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
    prompt = prompt_of(setup, sequence)
    warm(setup, list(chain.from_iterable(uses)), index, sequence, prompt)
    return prompt


def prompt_of(setup: Setup, sequence: int) -> Prompt | None:
    """What the prompt of a sequence uses, to be filled by `warm`; None where it leaves the caches cold."""
    if not setup.warms or not setup.trace.sequences[sequence].prompt_length:
        return None
    shape = 1, setup.model.n_layers, len(setup.groups)
    counts = np.zeros((4, *shape), np.int64)
    return Prompt(counts[0], counts[1], counts[2], counts[3], ReadBatches.empty(*shape))


def warm(setup: Setup, uses: Sequence[GroupUse], index: int, sequence: int, prompt: Prompt | None) -> None:
    """Some of the caches are emptied, and the prompt runs through them; arguments as of `begin`."""
    for use in uses:
        use.replay.start()
    if prompt is None:
        return
    for use in uses:
        by_token = prompt_masks(setup, use.layer, use.group, sequence)
        active = np.asarray(by_token.any(axis=0))
        if active.any():
            usage = use.replay.run(_tokens(setup, use, index, sequence, active))
            _fill(prompt, use, usage, by_token)


def _fill(prompt: Prompt, use: GroupUse, usage: Usage, by_token: BoolArray) -> None:
    where = slice(0, 1), use.layer, use.g
    n_active, n_missed = usage.counts[0, :2]
    prompt.n_active[where], prompt.n_missed[where] = n_active, n_missed
    prompt.n_uses[where], prompt.n_uses_missed[where] = by_token.sum(), by_token[:, usage.missed[0]].sum()
    prompt.demanded.fill(where, use.reads(usage.missed_set, np.array([float(n_missed)])))


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
