"""What exactly is simulated: everything a run needs, checked and worked out before its first event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dipsim.budget import DramPlan
from dipsim.cache import Admission
from dipsim.groups import Group
from dipsim.kernels import Int32Array
from dipsim.layout import Layout
from dipsim.masking import Masking
from dipsim.model import ModelSpec
from dipsim.policies import Policy
from dipsim.prefetch import Prefetcher
from dipsim.profile import ComputeUnit, HardwareProfile
from dipsim.simulation.machine import Overlap
from dipsim.simulation.masks import RecordedMasks
from dipsim.trace import Trace


@dataclass(frozen=True)
class Beside:
    """Weights of one layer that the model itself does not have: a predictor's, an adapter's.

    Attributes:
        n_weights: how many; may be fractional, as a mean over layers.
        bits: of each.
    """

    n_weights: float
    bits: float

    @property
    def n_bytes(self) -> float:
        """Bytes in each layer."""
        return self.n_weights * self.bits / 8


@dataclass(frozen=True)
class Setup:
    """One run, ready to start.

    Attributes:
        slots: group name -> slots of the weight cache per layer; columns pinned, for a dense group beside masked ones;
            empty until a budget has been asked.
        new_policy: makes the policy of one cache.
        n_tokens: tokens to simulate, from the trace's first on.
        n_warm_up: tokens at the start of each sequence that are simulated but not counted.
        unit: the compute unit that is used.
        layout: how columns lie in the weight file.
        prefetcher: guesses what the next layer will need.
        prefetch_bytes: most bytes that are read ahead for one layer; 0 where nothing is.
        beside: weights that stand beside each layer's own and are used by every token.
        places: (layer, group name) -> where each column lies, int32 [column]; none for the order of their indices.
        masks: masks to be used instead of choosing them.
        record: where the masks are to be written.
        missed: which columns are missed, instead of what the caches make of it.
        everything_resident: all columns are in DRAM, always.
    """

    profile: HardwareProfile
    trace: Trace
    model: ModelSpec
    masking: Masking
    groups: tuple[Group, ...]
    dram: DramPlan
    slots: dict[str, list[int]]
    new_policy: Callable[[], Policy]
    admission: Admission
    overlap: Overlap
    n_tokens: int
    n_warm_up: int
    unit: ComputeUnit | None
    layout: Layout
    prefetcher: Prefetcher
    prefetch_bytes: float
    beside: tuple[Beside, ...] = ()
    places: dict[tuple[int, str], Int32Array] = field(default_factory=dict)
    masks: RecordedMasks | None = None
    record: RecordedMasks | None = None
    missed: RecordedMasks | None = None
    everything_resident: bool = False

    def is_pinned(self, group: Group) -> bool:
        """Whether the group's slots never change hands: it is dense beside masked ones, or everything is resident."""
        return self.everything_resident or (group.site is None and any(other.site is not None for other in self.groups))

    @property
    def cached_groups(self) -> tuple[Group, ...]:
        """Groups whose slots a policy fills."""
        return tuple(group for group in self.groups if not self.is_pinned(group))

    @property
    def reads_ahead(self) -> bool:
        """Whether anything is read before it is needed."""
        return self.prefetch_bytes > 0

    @property
    def n_passes(self) -> int:
        """How often the tokens are gone through: an oracle looks ahead first."""
        return 2 if self.new_policy().needs_future else 1

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites whose scores the method needs."""
        return tuple(group.site for group in self.groups if group.site is not None)
