"""Which columns does a token use: the methods, their groups of weights and the mask from scores and residency."""

from __future__ import annotations

from typing import cast

from dipsim.groups import Group
from dipsim.masking.dip import Dip, DipCa, split_density
from dipsim.masking.one_site import Dense, Gate, Glu, Up
from dipsim.masking.protocol import Masking, TopK, make, methods, n_kept, options

__all__ = [
    "Dense",
    "Dip",
    "DipCa",
    "Gate",
    "Glu",
    "Masking",
    "TopK",
    "Up",
    "make",
    "methods",
    "n_kept",
    "n_kept_by",
    "options",
    "split_density",
    "top_k_of",
]


def top_k_of(masking: Masking, group: Group) -> TopK | None:
    """The mask of a group in the form that is compiled; None for any other method. A subclass may select as it likes,
    so that only dipsim's own classes count."""
    if isinstance(masking, Dip | Glu | Gate | Up) and type(masking) in (Dip, DipCa, Glu, Gate, Up):
        return masking.as_top_k(group)
    return None


def n_kept_by(masking: Masking, group: Group) -> int | None:
    """Columns of a group that every token keeps; None where that may vary, or for a method that is not dipsim's own."""
    if group.site is None:
        return group.n_columns
    if type(masking) in (Dip, DipCa):
        return cast(Dip, masking).n_kept(group)
    top_k = top_k_of(masking, group)
    return None if top_k is None else top_k.k
