"""Which columns does a token use: the methods, their groups of weights and the mask from scores and residency."""

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
