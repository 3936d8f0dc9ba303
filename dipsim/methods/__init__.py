"""Which columns does a token use: the methods, their groups of weights and the mask from scores and residency."""

from __future__ import annotations

from typing import cast

from dipsim.methods.cats import Cats
from dipsim.methods.dip import Dip, DipCa, split_density
from dipsim.methods.keeps import Keeps
from dipsim.methods.one_site import Dense, Gate, Glu, Up
from dipsim.methods.predictor import Predictor
from dipsim.methods.protocol import Masking, TopK, check_mask, choose, in_layer, make, methods, options
from dipsim.methods.pruning import MagnitudePruning
from dipsim.model import ModelSpec
from dipsim.model.groups import Group

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
