"""Static magnitude pruning: the same small weights left out for every token (Han et al., arXiv 1506.02626)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dipsim.kernels import BoolArray, Uint16Array
from dipsim.methods.protocol import Method, check_share, register_method
from dipsim.model import ModelSpec
from dipsim.model.groups import Group, mlp_group


@register_method("magnitude-pruning")
@dataclass(frozen=True)
class MagnitudePruning(Method):
    """Every matrix keeps its largest weights, the same for every token, with one bit for each weight to say which.

    Source: Han et al., arXiv 1506.02626.

    Args:
        density: share of the weights that each matrix keeps.
    """

    density: float
    looks_at_residency: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_share("density", self.density)

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """`up_gate` and `down`, both dense in columns that hold fewer weights."""
        return self._pruned(mlp_group(model, "up_gate", None)), self._pruned(mlp_group(model, "down", None))

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """Every column."""
        mask[:] = True

    def _pruned(self, group: Group) -> Group:
        """Never more bytes than all the weights take without saying which."""
        kept_bytes = self.density * group.column_bytes + group.column_weights / 8
        n_bytes = min(kept_bytes, group.column_bytes)
        return replace(group, column_weights=self.density * group.column_weights, column_bytes=n_bytes)
