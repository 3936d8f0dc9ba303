"""How much memory is there, and for what: the DRAM plan of a run, and what is read ahead."""

from __future__ import annotations

import warnings

from dipsim.budget import DramPlan, plan_dram
from dipsim.errors import DipsimError, DipsimWarning
from dipsim.masking import Masking, added_weights
from dipsim.model import ModelSpec
from dipsim.prefetch import NoPrefetch, Prefetcher
from dipsim.profile import HardwareProfile
from dipsim.simulation.setup import Beside
from dipsim.units import parse_bytes, parse_dram, scaled

# Of a layer's MLP, what is read ahead at most unless a run says otherwise.
_PREFETCH_SHARE = 1 / 64


def dram_plan(
    profile: HardwareProfile,
    model: ModelSpec,
    dram: str | float | None,
    n_positions: int,
    stream_pinned: bool,
    ahead_bytes: float,
    beside: tuple[Beside, ...],
) -> DramPlan:
    """The plan for what a run asks for; two buffers hold what is read ahead, one that is filled and one in use.

    Raises:
        DipsimError: `dram` is no budget, or what must fit into it does not.
    """
    usable_bytes = profile.dram.capacity_bytes - profile.dram.reserved_bytes
    n_bytes, share = parse_dram(dram)
    if share is not None:
        n_bytes = share * (model.pinned_bytes + float(model.kv_bytes(n_positions).sum()) + model.mlp_bytes)
    capacity_bytes = usable_bytes if n_bytes is None else n_bytes
    if capacity_bytes > usable_bytes:
        warnings.warn(
            f"dram: {scaled(capacity_bytes, 'B')} is more than the {scaled(usable_bytes, 'B')} that '{profile.name}' "
            "has for a model",
            DipsimWarning,
            stacklevel=3,
        )
    beside_bytes = model.n_layers * sum(own.n_bytes for own in beside)
    return plan_dram(model, capacity_bytes, n_positions, stream_pinned, 2 * ahead_bytes, beside_bytes)


def bytes_ahead(prefetcher: Prefetcher, given: str | float | None, model: ModelSpec, overlap: str) -> float:
    """Most bytes that are read ahead for one layer; 0 without a prefetcher.

    Raises:
        DipsimError: not above 0, or nobody to use them, or an overlap in which Flash never reads alone.
    """
    if type(prefetcher) is NoPrefetch:
        if given is not None:
            raise DipsimError("prefetch_bytes: got some, but nobody to use them; name a prefetcher")
        return 0.0
    if overlap != "pipelined":
        raise DipsimError(
            f"prefetch: got overlap '{overlap}', in which Flash reads only when all else rests; choose 'pipelined'"
        )
    if given is None:
        return model.mlp_bytes / model.n_layers * _PREFETCH_SHARE
    n_bytes = parse_bytes(given, "prefetch_bytes") if isinstance(given, str) else given
    if not 0 < n_bytes < float("inf"):
        raise DipsimError(f"prefetch_bytes: got {given}; must be above 0 and finite")
    return n_bytes


def beside_layers(masking: Masking, model: ModelSpec, adapter_bytes: float) -> tuple[Beside, ...]:
    """What stands beside each layer: weights that the method adds, with the bits of the MLP, and an adapter's.

    Raises:
        DipsimError: a negative or infinite number of bytes.
    """
    if not 0 <= adapter_bytes < float("inf"):
        raise DipsimError(f"adapter_bytes: got {adapter_bytes}; must be at least 0 and finite")
    both = Beside(added_weights(masking, model), model.bits.mlp), Beside(adapter_bytes / model.n_layers / 2, 16)
    return tuple(own for own in both if own.n_weights)
