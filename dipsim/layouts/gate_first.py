"""The layout that reads a neuron's gate before it reads the rest of the neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int32Array
from dipsim.layouts.protocol import register_layout
from dipsim.model.groups import Group


@register_layout("gate-first")
@dataclass(frozen=True)
class GateFirst:
    """Each column apart in equal reads, the second only where the gate lets through.

    Source: PowerInfer-2, arXiv 2406.06282, section 4.4.

    There a bundle (a neuron's gate, up and down) is two reads of 4 KiB, the second only where the gate is not zero.
    How often that is, it does not print; 80 % is taken from its co-activation within bundles. So many are counted as a
    mean, of groups that hold a neuron's gate beside other matrices; other groups need all reads.
    Neighbours do not join. The column counts as read, and as worked on, whether or not all of it was.

    Args:
        n_reads: of a column, each widened to whole pages.
        needed: share of the columns whose gate is not zero.
    """

    n_reads: int = 2
    needed: float = 0.8
    bundled: ClassVar[bool] = True
    calibration_tokens: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if not isinstance(self.n_reads, int) or not 1 <= self.n_reads <= 64:
            raise DipsimError(f"n_reads: got {self.n_reads}; must be a whole number from 1 to 64")
        if not 0 <= self.needed <= 1:
            raise DipsimError(f"needed: got {self.needed}; must be a share from 0 to 1")

    def order(self, active: BoolArray) -> Int32Array:
        """By index."""
        return np.arange(active.shape[1], dtype=np.int32)

    def reads(self, group: Group) -> tuple[float, ...]:
        """The first read of every column, and the others of those that need them."""
        is_of_neurons = group.site not in ("mlp_input", "router") and group.n_matrices > 1
        has_gate = group.n_matrices == 3 or "gate" in group.name.split("_")
        return (1.0,) + (self.needed if is_of_neurons and has_gate else 1.0,) * (self.n_reads - 1)
