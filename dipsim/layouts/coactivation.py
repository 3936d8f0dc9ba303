"""The layout that puts columns which are active together side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int32Array, Int64Array
from dipsim.layouts.protocol import register_layout


@register_layout("coactivation")
@dataclass(frozen=True)
class Coactivation:
    """Columns active together side by side, most often first.

    Source: Ripple, arXiv 2410.19274.
    Ties: lower indices first.

    Pairs of columns are linked into chains, those first that most calibration tokens use both; chains follow one
    another by their mean use, most used first, each from the end of lower index. Columns that no token used come last.

    Counts are not divided by how often each column is used. They do favour hot columns, which a cache keeps anyway; but
    cold ones, linked later, are joined as well as by Jaccard or cosine similarity ("Layouts" in benchmarks/studies of
    dipsim's repository).

    Args:
        bundled: the matrices of a group are interleaved; a column is one piece.
        calibration_tokens: the first tokens of the trace, which are counted.
    """

    bundled: bool = True
    calibration_tokens: int = 128

    def __post_init__(self) -> None:
        if not isinstance(self.calibration_tokens, int) or self.calibration_tokens < 1:
            raise DipsimError(f"calibration_tokens: got {self.calibration_tokens}; must be a whole number from 1")

    def order(self, active: BoolArray) -> Int32Array:
        """The chains, one after another."""
        return join_chains(kernels.link_columns(active), active.sum(axis=0))


def join_chains(links: Int32Array, uses: Int64Array) -> Int32Array:
    """All columns, chain after chain.

    Args:
        links: int32 [column, 2], the neighbours of each column, as `kernels.link_columns` gives them.
        uses: int64 [column], by whose mean chains follow one another, most used first.

    Returns:
        int32 [column].
    """
    plain, chains = uses.tolist(), _chains(links)
    chains.sort(key=lambda chain: -sum(plain[column] for column in chain) / len(chain))
    return np.concatenate(chains).astype(np.int32)


def _chains(links: Int32Array) -> list[list[int]]:
    """The columns of each chain from its end of lower index; chains in the order of these ends."""
    neighbours, chains = links.tolist(), []
    for end in np.flatnonzero(links[:, 1] == kernels.NO_LINK).tolist():
        chain: list[int] = []
        before, here = kernels.NO_LINK, end
        while here != kernels.NO_LINK:
            chain.append(here)
            one, other = neighbours[here]
            before, here = here, other if one == before else one
        if end <= chain[-1]:
            chains.append(chain)
    return chains
