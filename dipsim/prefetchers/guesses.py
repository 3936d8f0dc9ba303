"""The prefetchers that come with dipsim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dipsim.kernels import Uint16Array
from dipsim.prefetchers.protocol import Known, register_prefetcher

_ONE = np.float16(1).view(np.uint16)


@register_prefetcher("none")
@dataclass(frozen=True)
class NoPrefetch:
    """Nothing is read before it is needed."""

    looks_at_layer_before: ClassVar[bool] = False
    reads_nothing: ClassVar[bool] = True

    def guess(self, known: Known) -> Uint16Array:
        """Nothing is worth it."""
        return np.zeros_like(known.previous_token)


@register_prefetcher("previous-token")
@dataclass(frozen=True)
class PreviousToken:
    """The columns of the highest scores one token earlier.

    Source: LLM in a Flash, arXiv 2312.11514.

    Neighbouring tokens share active columns; those that were active and kept are in the cache already.
    """

    looks_at_layer_before: ClassVar[bool] = False

    def guess(self, known: Known) -> Uint16Array:
        """The scores of the token before."""
        return known.previous_token


@register_prefetcher("previous-layer")
@dataclass(frozen=True)
class PreviousLayer:
    """The columns of the highest scores in a layer before, at the MLP's input; none of other groups.

    Source: Deja Vu, arXiv 2310.17157.

    That is the last layer whose scores are known when reads begin: the one before, or of layers that are read ahead
    together the first of those before. Residual streams change slowly from layer to layer. The columns of other sites
    are neurons, which have nothing in common with those of another layer.
    """

    looks_at_layer_before: ClassVar[bool] = True

    def guess(self, known: Known) -> Uint16Array:
        """The scores of the layer before."""
        of_residual = known.group.site == "mlp_input"
        return known.previous_layer if of_residual else np.zeros_like(known.previous_layer)


@register_prefetcher("oracle")
@dataclass(frozen=True)
class Oracle:
    """The very columns that will be missed: what perfect foresight could gain."""

    looks_at_layer_before: ClassVar[bool] = False
    needs_future: ClassVar[bool] = True

    def guess(self, known: Known) -> Uint16Array:
        """Those that will be missed, and no others."""
        return np.where(known.missed, _ONE, np.uint16(0))
