"""Which columns does a token use: the methods, their groups of weights and the mask from scores and residency."""

from __future__ import annotations

from typing import cast

from dipsim.groups import Group
from dipsim.masking.cats import Cats
from dipsim.masking.dip import Dip, DipCa, split_density
from dipsim.masking.keeps import Keeps
from dipsim.masking.one_site import Dense, Gate, Glu, Up
from dipsim.masking.predictor import Predictor
from dipsim.masking.protocol import Masking, TopK, check_mask, choose, in_layer, make, methods, n_kept, options
from dipsim.masking.pruning import MagnitudePruning
from dipsim.model import ModelSpec

__all__ = [
    "Cats",
    "Dense",
    "Dip",
    "DipCa",
    "Gate",
    "Glu",
    "Keeps",
    "MagnitudePruning",
    "Masking",
    "Predictor",
    "TopK",
    "Up",
    "added_weights",
    "check_mask",
    "choose",
    "in_layer",
    "make",
    "methods",
    "n_kept",
    "n_kept_by",
    "options",
    "split_density",
    "top_k_of",
]


def top_k_of(masking: Masking, layer: int, group: Group) -> TopK | None:
    """The mask of a group of one layer in the form that is compiled; None for any other method. A subclass may select
    as it likes, so that only dipsim's own classes count."""
    own = in_layer(masking, layer)
    if isinstance(own, Dip | Glu | Gate | Up | Predictor) and type(own) in (Dip, DipCa, Glu, Gate, Up, Predictor):
        return own.as_top_k(group)
    return None


def n_kept_by(masking: Masking, layer: int, group: Group) -> int | None:
    """Columns of a group of one layer that every token keeps; None where that may vary, or for a method that is not
    dipsim's own."""
    if group.site is None:
        return group.n_columns
    if type(masking) in (Dip, DipCa):
        return cast(Dip, in_layer(masking, layer)).n_kept(group)
    top_k = top_k_of(masking, layer, group)
    return None if top_k is None else top_k.k


def added_weights(masking: Masking, model: ModelSpec) -> int:
    """Weights that a method adds to each layer, which every token uses."""
    return masking.added_weights(model) if isinstance(masking, Predictor) else 0
