"""Which columns does a token use: the methods, their groups of weights and the mask from scores and residency."""

from dipsim.methods.answers import (
    added_weights,
    check_mask,
    choose,
    groups_of,
    in_layer,
    n_kept_by,
    select,
    top_k_of,
)
from dipsim.methods.cats import Cats
from dipsim.methods.dip import Dip, DipCa, split_density
from dipsim.methods.experts import Experts, ExpertsCa
from dipsim.methods.keeps import Keeps
from dipsim.methods.one_site import Dense, Gate, Glu, Up
from dipsim.methods.predictor import Predictor
from dipsim.methods.protocol import Method, TopK, check_kind, make, methods, options, register_method, top_k
from dipsim.methods.pruning import MagnitudePruning
from dipsim.registry import lists_when_called

__all__ = [
    "Cats",
    "Dense",
    "Dip",
    "DipCa",
    "Experts",
    "ExpertsCa",
    "Gate",
    "Glu",
    "Keeps",
    "MagnitudePruning",
    "Method",
    "Predictor",
    "TopK",
    "Up",
    "added_weights",
    "check_kind",
    "check_mask",
    "choose",
    "groups_of",
    "in_layer",
    "make",
    "methods",
    "n_kept_by",
    "options",
    "register_method",
    "select",
    "split_density",
    "top_k",
    "top_k_of",
]

lists_when_called(__name__)
