"""Where does each column lie in the weight file: a layout, shown the first masks of the trace."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from dipsim.cache import Replay, Tokens, replay_of
from dipsim.kernels import BoolArray, Int32Array
from dipsim.layouts import order_columns
from dipsim.model.groups import Group
from dipsim.planning.setup import Setup
from dipsim.policies import Lru, Place
from dipsim.registry import ships_with_dipsim
from dipsim.threads import n_threads


def places_of(setup: Setup) -> dict[tuple[int, str], Int32Array]:
    """(layer, group name) -> place of each column, int32 [column]; only where these are not the order of indices.

    A layout that wants to see tokens is shown the masks of the trace's first ones as they are with an empty cache.
    Dense groups have no order to gain from, and ideal Flash none at all.

    Raises:
        DipsimError: the layout's order is not each column once.
    """
    if setup.profile.flash.is_ideal:
        return {}
    masked = [group for group in setup.groups if group.site is not None]
    stages = [(layer, group) for layer in range(setup.model.n_layers) for group in masked if group.columns_in(layer)]
    places: Iterable[Int32Array | None]
    if not setup.layout.calibration_tokens:  # it is shown nothing, and so says the same of every layer
        known = {group.name: _places(setup, np.empty((0, group.n_columns), np.bool_)) for group in masked}
        places = [known[group.name] for _, group in stages]
    else:
        is_plain = any(_without_cache(setup, 0, group).is_plain for group in masked)
        is_plain |= not ships_with_dipsim(setup.layout)
        with ThreadPoolExecutor(n_threads()) as pool:
            places = list((map if is_plain else pool.map)(partial(_places_in, setup), stages))
    return {(layer, group.name): own for (layer, group), own in zip(stages, places, strict=True) if own is not None}


def _places_in(setup: Setup, stage: tuple[int, Group]) -> Int32Array | None:
    layer, group = stage
    return _places(setup, _first_masks(setup, layer, group))


def _places(setup: Setup, masks: BoolArray) -> Int32Array | None:
    """By the layout, which is shown some masks; None for the order of indices."""
    order = order_columns(setup.layout, masks)
    if np.array_equal(order, np.arange(order.size)):
        return None
    places: Int32Array = np.argsort(order).astype(np.int32)
    return places


def _without_cache(setup: Setup, layer: int, group: Group) -> Replay:
    return replay_of(Place(group.n_columns, 0, layer, group.name), Lru(), "always", setup.masking, group)


def _first_masks(setup: Setup, layer: int, group: Group) -> BoolArray:
    """Masks of the calibration tokens, bool [token, column]."""
    replay, masks, n_left = _without_cache(setup, layer, group), [], setup.layout.calibration_tokens
    for block in setup.trace.blocks(setup.n_tokens):
        n_tokens = min(n_left, block.stop - block.start)
        if group.site is None or n_tokens == 0:
            break
        first_token = block.start - setup.trace.sequences[block.sequence].start
        scores = setup.trace.read(group.site, block.start, block.start + n_tokens, layer)
        masks.append(replay.run(Tokens(n_tokens, first_token, scores)).active)
        n_left -= n_tokens
    return np.concatenate(masks) if masks else np.empty((0, group.n_columns), np.bool_)
