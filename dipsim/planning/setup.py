"""What exactly is simulated: everything a run needs, checked and worked out before its first event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal, Self

from dipsim.budgets import LOST_IN_FLOATS
from dipsim.cache import Admission
from dipsim.devices import Reach, reach_of
from dipsim.kernels import Int32Array
from dipsim.layouts import Layout, n_layers_beside
from dipsim.loads import Load
from dipsim.methods import Method
from dipsim.model import ModelSpec
from dipsim.model.groups import Group, competing
from dipsim.planning.dram import Beside, DramPlan
from dipsim.planning.recorded_masks import RecordedMasks
from dipsim.policies import Policy
from dipsim.prefetchers import Prefetcher
from dipsim.profile import ComputeUnit, HardwareProfile
from dipsim.trace import Trace

Overlap = Literal["none", "io", "pipelined"]
Scope = Literal["layer", "shared"]
SCOPES: tuple[Scope, ...] = ("layer", "shared")
OVERLAPS: tuple[Overlap, ...] = ("none", "io", "pipelined")
ENGINES = ("auto", "processes", "compiled")
ROLES = ("flash", "dram", "compute")  # of devices


@dataclass(frozen=True)
class Setup:
    """One run, ready to start.

    Attributes:
        slots: group name -> slots of the weight cache per layer; columns pinned, for a dense group beside masked ones;
            empty until a budget has been asked. Of a shared cache, the most that could be there.
        new_policy: makes the policy of one cache.
        n_tokens: tokens to simulate, from the trace's first on.
        n_warm_up: tokens at the start of each sequence that are simulated but not counted.
        unit: the compute unit that is used.
        units: those that work on the MLPs side by side, with their shares; none where `unit` does.
        layout: how columns lie in the weight file.
        io_depth: reads that the runtime keeps in flight; None for as many as there are.
        prefetcher: guesses what the next layer will need.
        prefetch_bytes: most bytes that are read ahead for one layer; 0 where nothing is.
        prefetch_layers: layers that are read ahead together, beginning while the first of those before is worked on.
        given_hit_rate: share of each token's active columns that hits, whatever the caches would make of it; None for
            what they make of it.
        warms: whether prompts warm the caches, from scores that the trace has of them.
        cache_scope: whether each (layer, group) has a cache of its own, or all share one.
        engine: what simulates, one of `ENGINES`.
        loads: who else uses the machine.
        devices: role -> class of a device that is not dipsim's own.
        beside: weights that stand beside each layer's own and are used by every token.
        places: (layer, group name) -> where each column lies, int32 [column]; none for the order of their indices.
        masks: masks to be used instead of choosing them.
        record: where the masks are to be written.
        missed: which columns are missed, instead of what the caches make of it.
        resident_layers: layers whose columns are all in DRAM, always; their slots are as many.
    """

    profile: HardwareProfile
    trace: Trace
    model: ModelSpec
    masking: Method
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
    prefetch_layers: int = 1
    io_depth: int | None = None
    given_hit_rate: float | None = None
    warms: bool = False
    units: tuple[tuple[ComputeUnit, float], ...] = ()
    cache_scope: Scope = "layer"
    engine: str = "auto"
    loads: tuple[Load, ...] = ()
    devices: Mapping[str, type] = field(default_factory=dict)
    beside: tuple[Beside, ...] = ()
    places: dict[tuple[int, str], Int32Array] = field(default_factory=dict)
    masks: RecordedMasks | None = None
    record: RecordedMasks | None = None
    missed: RecordedMasks | None = None
    resident_layers: frozenset[int] = frozenset()

    def is_pinned(self, layer: int, group: Group) -> bool:
        """Whether the group's slots never change hands there: its layer is resident or lacks it, it is dense beside
        masked ones, or all of it fits, so that it is loaded with the model."""
        if layer in self.resident_layers or not group.columns_in(layer) or group not in self.cached_groups:
            return True
        return self.is_loaded(layer, group)

    def is_loaded(self, layer: int, group: Group) -> bool:
        """Whether a cache has room for all its columns, which are there before the first prompt. Not where something
        else says what is there: a hit rate that is given, prompts that warm empty caches, or a policy that keeps
        nothing or gives columns up before it must."""
        if self.given_hit_rate is not None or self.warms or self._gives_up:
            return False
        if self.shares:
            return self.competed_bytes * (1 + LOST_IN_FLOATS) >= self._all_bytes
        return self.slots[group.name][layer] >= group.columns_in(layer)

    @property
    def cached_groups(self) -> tuple[Group, ...]:
        """Groups whose slots a policy fills, but in resident layers."""
        return competing(self.groups)

    @property
    def shares(self) -> bool:
        """Whether all layers share one cache."""
        return self.cache_scope == "shared"

    @property
    def cached_stages(self) -> list[tuple[int, Group]]:
        """Layer and group of all slots that a policy fills, but in resident layers, in the order of a token."""
        layers = [layer for layer in range(self.model.n_layers) if layer not in self.resident_layers]
        groups = self.cached_groups
        return [(layer, group) for layer in layers for group in groups if group.columns_in(layer)]

    @property
    def competed_bytes(self) -> Fraction:
        """Bytes for the columns that come and go: those of the cache, less what dense groups beside masked ones have
        pinned."""
        pinned = [group for group in self.groups if group not in self.cached_groups]
        pinned_bytes = sum(
            n * Fraction(group.bytes_in(layer)) for group in pinned for layer, n in enumerate(self.slots[group.name])
        )
        return Fraction(self.dram.cache_bytes) - pinned_bytes

    @cached_property
    def _all_bytes(self) -> Fraction:
        """Of all columns that compete."""
        layers, groups = range(self.model.n_layers), self.cached_groups
        each = (group.columns_in(layer) * Fraction(group.bytes_in(layer)) for group in groups for layer in layers)
        return sum(each, Fraction(0))

    @property
    def told_slots(self) -> dict[str, list[int | None]]:
        """`slots`, but for those that no (layer, group) has to itself."""
        if not self.shares:
            return {name: [*slots] for name, slots in self.slots.items()}
        return {
            group.name: [n if self.is_pinned(layer, group) else None for layer, n in enumerate(self.slots[group.name])]
            for group in self.groups
        }

    def reach(self, group: Group | None) -> Reach:
        """What is reached in decoding's steps of a group of the MLPs, or in any other step."""
        own, bits, bus_bytes_per_s = self.unit or ComputeUnit(), self.model.bits.mlp, self.profile.dram.read_bytes_per_s
        if group is None:
            return reach_of([(own, 1.0)], own, bits, False, bus_bytes_per_s)
        return reach_of(self.units or [(own, 1.0)], own, bits, group.skips_columns, bus_bytes_per_s)

    def with_resident(self, layers: Iterable[int]) -> Self:
        """The same run with all columns of some layers in DRAM, on top of what it holds."""
        resident = self.resident_layers | set(layers)
        slots = {
            group.name: [
                group.columns_in(layer) if layer in resident else n for layer, n in enumerate(self.slots[group.name])
            ]
            for group in self.groups
        }
        return replace(self, slots=slots, resident_layers=frozenset(resident))

    def all_resident(self) -> Self:
        """The same run with everything in DRAM but the embedding table."""
        plan = replace(self.dram, streamed_pinned_bytes=0.0)
        return replace(self.with_resident(range(self.model.n_layers)), dram=plan)

    @cached_property
    def keeps_nothing(self) -> bool:
        """Whether the policy wants no cache."""
        return getattr(self.new_policy(), "keeps_nothing", False)

    @cached_property
    def _gives_up(self) -> bool:
        """Whether the policy keeps nothing, or gives columns up before it must."""
        return self.keeps_nothing or hasattr(self.new_policy(), "outdated")

    @property
    def keeps_reads(self) -> bool:
        """Whether what is read fills slots of a cache."""
        return self.dram.cache_bytes > 0 and not self.keeps_nothing

    @property
    def reads_ahead(self) -> bool:
        """Whether anything is read before it is needed."""
        return self.prefetch_bytes > 0

    def layers_beside(self, layer: int, group: Group) -> tuple[int, ...]:
        """Layers whose columns of a group lie beside this one's, itself among them, in the order of the file."""
        if not group.columns_in(layer) or group.site is None:
            return (layer,)
        n_beside = n_layers_beside(self.layout)
        first = layer - layer % n_beside
        layers = range(first, min(first + n_beside, self.model.n_layers))
        return tuple(own for own in layers if group.columns_in(own))

    def layers_together(self, layer: int, group: Group) -> tuple[int, ...]:
        """Those of them that are read ahead by one batch."""
        own = layer // self.prefetch_layers
        return tuple(other for other in self.layers_beside(layer, group) if other // self.prefetch_layers == own)

    @property
    def n_passes(self) -> int:
        """How often the tokens are gone through: an oracle looks ahead first."""
        return 2 if self.new_policy().needs_future else 1

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites whose scores the method needs."""
        return tuple(group.site for group in self.groups if group.site is not None)
