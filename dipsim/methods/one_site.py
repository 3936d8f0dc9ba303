"""The dense baseline, and methods that mask a single group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.methods.protocol import Method, TopK, check_share, in_full, register_method
from dipsim.model import ModelSpec
from dipsim.model.groups import Group, Site, mlp_group, n_kept


@register_method("dense")
@dataclass(frozen=True)
class Dense(Method):
    """All columns of every matrix: the baseline that streams what is not resident."""

    looks_at_residency: ClassVar[bool] = False

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """`up_gate` and `down`, both dense."""
        return mlp_group(model, "up_gate", None), mlp_group(model, "down", None)

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """Every column."""
        mask[:] = True


@dataclass(frozen=True)
class _OneSite(Method):
    """A dense group, then one masked by top-k at a single site.

    Args:
        density: active share of the three matrices, of which one or two stay dense.
        keep: instead of a density, share of columns kept at the masked group.
    """

    density: float | None = None
    keep: float | None = None
    dense_group: ClassVar[str]
    masked_group: ClassVar[str]
    site: ClassVar[Site]
    looks_at_residency: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_share("density", self.density)
        check_share("keep", self.keep)
        if (self.density is None) == (self.keep is None):
            raise DipsimError(
                f"method '{self.name}': give a density above {self._dense_share:.4f} (some matrices stay dense), "
                "or else a keep, but not both"
            )
        if self.density is not None and self.density <= self._dense_share:
            raise DipsimError(
                f"density: got {self.density}; method '{self.name}' keeps {self.dense_group.replace('_', ' and ')} "
                f"dense, so its density is above {self._dense_share:.4f}"
            )

    @property
    def _dense_share(self) -> float:
        return len(self.dense_group.split("_")) / 3

    @property
    def masked_keep(self) -> float:
        """Share of columns kept at the masked group."""
        if self.density is None:
            return cast(float, self.keep)
        return (self.density - self._dense_share) / (1 - self._dense_share)

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """The dense group, then the masked one."""
        return mlp_group(model, self.dense_group, None), mlp_group(model, self.masked_group, self.site)

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """The top-k of the scores."""
        k = n_kept(self.masked_keep, group.n_columns)
        kernels.reweighted_top_k(scores, resident, np.float32(1), k, kernels.ANY_THRESHOLD, mask)

    def as_top_k(self, group: Group) -> TopK:
        """What `select` does."""
        return TopK(n_kept(self.masked_keep, group.n_columns), in_full)


@register_method("glu")
@dataclass(frozen=True)
class Glu(_OneSite):
    """Up and gate dense; `down` by the magnitude of what it multiplies.

    Source: arXiv 2412.01380, its GLU pruning.
    """

    dense_group: ClassVar[str] = "up_gate"
    masked_group: ClassVar[str] = "down"
    site: ClassVar[Site] = "glu"


@register_method("gate")
@dataclass(frozen=True)
class Gate(_OneSite):
    """Gate dense; `up` and `down` by the gate's activation.

    Source: arXiv 2412.01380, its gate pruning.
    """

    dense_group: ClassVar[str] = "gate"
    masked_group: ClassVar[str] = "up_down"
    site: ClassVar[Site] = "gate"


@register_method("up")
@dataclass(frozen=True)
class Up(_OneSite):
    """Up dense; `gate` and `down` by the up projection.

    Source: arXiv 2412.01380, its up pruning.
    """

    dense_group: ClassVar[str] = "up"
    masked_group: ClassVar[str] = "gate_down"
    site: ClassVar[Site] = "up"
