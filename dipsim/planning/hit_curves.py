"""How many hits would each cache have with so many slots: caches of many sizes side by side, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from dipsim import kernels
from dipsim.budgets import HitCurve
from dipsim.cache import Tokens, replay_of
from dipsim.kernels import Float64Array, Int32Array, Int64Array
from dipsim.methods import n_kept_by, top_k_of
from dipsim.model.groups import Group
from dipsim.planning.future import Future
from dipsim.planning.setup import Setup
from dipsim.policies import Lru, Place
from dipsim.threads import n_threads
from dipsim.trace.reading import Block

# Measured sizes: these shares of a group's columns, and as many slots as columns are active, where policies begin to
# differ.
N_SHARES = 12


def active_columns(setup: Setup) -> dict[str, Float64Array]:
    """Columns that a token uses, by cached group, float64 [layer]: where the method keeps a fixed number of them, that;
    else the mean over the trace's first block with nothing resident."""
    n_layers = setup.model.n_layers
    return {
        group.name: np.array([_active_columns(setup, layer, group) for layer in range(n_layers)], np.float64)
        for group in setup.cached_groups
    }


def _active_columns(setup: Setup, layer: int, group: Group) -> float:
    if not group.columns_in(layer):
        return 0.0
    n_kept = n_kept_by(setup.masking, layer, group)
    if n_kept is not None or group.site is None:
        return group.n_columns if n_kept is None else n_kept
    block = next(setup.trace.blocks(setup.n_tokens))
    scores = setup.trace.read(group.site, block.start, block.stop, layer)
    without_cache = replay_of(Place(group.n_columns, 0, layer, group.name), Lru(), "always", setup.masking, group)
    return float(without_cache.run(Tokens(block.stop - block.start, 0, scores)).counts[:, 0].mean())


def measure_hit_curves(setup: Setup, on_tokens: Callable[[int], None]) -> dict[str, list[HitCurve]]:
    """Hits of the counted tokens as a function of slots, for every layer of every cached group. All caches begin cold,
    also those that have room for all and would be loaded: a budget is to look at what slots do.

    Exact at every number of slots from the active columns on for `lru` under admission `always`, where the mask is a
    top-k that does not look at residency. Anything else is measured at some sizes, by running caches of these.

    Args:
        setup: the run; its slots are not looked at.
        on_tokens: called with the tokens of each block of each pass.
    """
    n_active = active_columns(setup)
    future = Future(setup, on_tokens) if setup.new_policy().needs_future else None
    sizes = [
        [_Sizes(setup, layer, group, n_active[group.name][layer]) for group in setup.cached_groups]
        for layer in range(setup.model.n_layers)
    ]
    # Other people's policies are called in one order, whatever the number of threads.
    is_plain = any(own.is_plain for layer in sizes for own in layer)
    with ThreadPoolExecutor(n_threads()) as pool:
        for index, block in enumerate(setup.trace.blocks(setup.n_tokens)):
            run_layer = partial(_run_layer, setup, sizes, future, index, block)
            layers = range(setup.model.n_layers)
            for _ in map(run_layer, layers) if is_plain else pool.map(run_layer, layers):
                pass
            on_tokens(block.stop - block.start)
    return {
        group.name: [sizes[layer][g].curve() for layer in range(setup.model.n_layers)]
        for g, group in enumerate(setup.cached_groups)
    }


def _run_layer(
    setup: Setup, sizes: list[list[_Sizes]], future: Future | None, index: int, block: Block, layer: int
) -> None:
    first_token = block.start - setup.trace.sequences[block.sequence].start
    for own, group in zip(sizes[layer], setup.cached_groups, strict=True):
        if not group.columns_in(layer):
            continue
        scores = None if group.site is None else setup.trace.read(group.site, block.start, block.stop, layer)
        next_use = future.next_use(index, layer, group, scores) if future else None
        own.run(Tokens(block.stop - block.start, first_token, scores, next_use))


class _Sizes:
    """Caches of several sizes in one place, all of which see the same tokens.

    Args:
        setup: the run.
        layer, group: the place.
        n_active: columns that a token uses, more or less.
    """

    def __init__(self, setup: Setup, layer: int, group: Group, n_active: float) -> None:
        n, masking, top_k = group.n_columns, setup.masking, top_k_of(setup.masking, layer, group)
        is_stack = type(setup.new_policy()) is Lru and setup.admission == "always"
        self._k = top_k.k if is_stack and top_k is not None and not masking.looks_at_residency else None
        measured = {n * share // N_SHARES for share in range(1, N_SHARES + 1)} | {int(np.ceil(n_active))}
        self._slots = sorted(s for s in measured if s > 0 and (self._k is None or s < self._k))
        self._replays = [
            replay_of(Place(n, s, layer, group.name), setup.new_policy(), setup.admission, masking, group)
            for s in self._slots
        ]
        # A mask that does not look at residency is chosen once for all sizes.
        self._chooser = None
        if group.site is not None and not masking.looks_at_residency:
            self._chooser = replay_of(Place(n, 0, layer, group.name), Lru(), "always", masking, group)
        self._hits: Int64Array = np.zeros(len(self._slots), np.int64)
        self._n_warm_up = setup.n_warm_up
        self._order: Int32Array = np.zeros(n, np.int32)
        self._n_used: Int64Array = np.zeros(1, np.int64)
        self._histogram: Int64Array = np.zeros(n, np.int64)

    @property
    def is_plain(self) -> bool:
        """Whether code of other people may be called."""
        return any(replay.is_plain for replay in (*self._replays, self._chooser) if replay is not None)

    def run(self, tokens: Tokens) -> None:
        """The next tokens of a sequence; see `Replay`."""
        if tokens.first_token == 0:
            self._n_used[0] = 0
            for replay in self._replays:
                replay.start()
        first_counted = max(0, self._n_warm_up - tokens.first_token)
        if self._chooser is not None:
            tokens = tokens._replace(masks=self._chooser.run(tokens).active)
        for i, replay in enumerate(self._replays):
            counts = replay.run(tokens).counts[first_counted:]
            self._hits[i] += (counts[:, 0] - counts[:, 1]).sum()
        if self._k is not None:
            kernels.stack_distances(tokens.masks, first_counted, self._order, self._n_used, self._histogram)

    def curve(self) -> HitCurve:
        """Hits by slots."""
        slots, hits = [0, *self._slots], [0.0, *self._hits.tolist()]
        if self._k is not None:
            slots += range(self._k, self._histogram.size + 1)
            hits += np.cumsum(self._histogram)[self._k - 1 :].tolist()
        return HitCurve(np.array(slots), np.array(hits, np.float64))
