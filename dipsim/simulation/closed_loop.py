"""Which masks would a run choose for a whole sequence at once: for a model whose activations its own masks change."""

from __future__ import annotations

from dipsim.cache import PinnedColumns, Replay, Tokens, replay_of
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.methods import in_layer
from dipsim.model.groups import Group
from dipsim.planning.setup import Setup
from dipsim.policies import Lru, Place


class LoopMasks:
    """Masks in the order of tokens, from caches like those of the run.

    A mask depends on what the cache of its own layer and group held, and that on the tokens before it there; so one
    layer can choose for all tokens before the next one computes anything.

    Args:
        setup: the run, slots and all.
    """

    def __init__(self, setup: Setup) -> None:
        self._caches = {
            (layer, group.name): self._cache(setup, layer, group)
            for layer in range(setup.model.n_layers)
            for group in setup.cached_groups
            if group.site is not None and group.columns_in(layer)
        }

    def __call__(self, layer: int, group: Group, scores: Uint16Array) -> BoolArray:
        """Masks of one sequence, bool [token, column], from a cold cache.

        Args:
            layer, group: the place.
            scores: float16 bit patterns [token, column].
        """
        cache = self._caches[layer, group.name]
        cache.start()
        return cache.run(Tokens(len(scores), 0, scores)).active

    @staticmethod
    def _cache(setup: Setup, layer: int, group: Group) -> Replay:
        if not setup.masking.looks_at_residency:  # the mask is the same whatever is kept
            return replay_of(Place(group.n_columns, 0, layer, group.name), Lru(), "always", setup.masking, group)
        slots = setup.slots[group.name][layer]
        if setup.is_pinned(layer, group):
            return PinnedColumns(in_layer(setup.masking, layer), group, slots)
        place = Place(group.n_columns, slots, layer, group.name)
        return replay_of(place, setup.new_policy(), setup.admission, setup.masking, group)
