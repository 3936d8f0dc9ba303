"""How much memory is there, and for what: the DRAM plan of a run, and what is read ahead."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from dipsim.errors import DipsimError, DipsimWarning
from dipsim.layouts import Layout, n_layers_beside
from dipsim.methods import Method, added_weights
from dipsim.model import ModelSpec
from dipsim.model.groups import Group, competing, expert_groups
from dipsim.prefetchers import Prefetcher
from dipsim.profile import HardwareProfile
from dipsim.units import parse_bytes, parse_dram, scaled

# Of a layer's MLP, what is read ahead at most unless a run says otherwise; of a mixture, what a token uses.
_PREFETCH_SHARE = 1 / 64


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
class DramPlan:
    """Bytes of DRAM by use: `capacity_bytes` is what this model may use in all, and `streamed_pinned_bytes` of the
    pinned weights do not fit and come from Flash each token; `prefetch_bytes` hold what was read ahead of its use."""

    capacity_bytes: float
    pinned_bytes: float
    kv_bytes: float
    cache_bytes: float
    streamed_pinned_bytes: float
    prefetch_bytes: float = 0.0


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
    capacity_bytes = _usable_bytes(profile) if dram is None else bytes_meant(dram, model, n_positions)
    _warn_beyond(profile, capacity_bytes)
    beside_bytes = model.n_layers * sum(own.n_bytes for own in beside)
    return plan_dram(model, capacity_bytes, n_positions, stream_pinned, 2 * ahead_bytes, beside_bytes)


def plan_around(
    profile: HardwareProfile,
    model: ModelSpec,
    cache_bytes: str | float,
    n_positions: int,
    ahead_bytes: float,
    beside: tuple[Beside, ...],
    groups: tuple[Group, ...],
) -> DramPlan:
    """The plan for so many bytes of cache beside all else, dense groups beside masked ones among it.

    Raises:
        DipsimError: these are no bytes.
    """
    own_bytes = parse_bytes(cache_bytes, "cache_bytes") if isinstance(cache_bytes, str) else float(cache_bytes)
    if not 0 <= own_bytes < float("inf"):
        raise DipsimError(f"cache_bytes: got {cache_bytes}; must be at least 0 and finite")
    dense = [group for group in groups if group not in competing(groups)]
    layers = range(model.n_layers)
    own_bytes += sum(group.columns_in(layer) * group.bytes_in(layer) for group in dense for layer in layers)
    pinned_bytes = model.pinned_bytes + model.n_layers * sum(own.n_bytes for own in beside)
    kv_bytes = float(model.kv_bytes(n_positions).sum())
    capacity_bytes = pinned_bytes + kv_bytes + 2 * ahead_bytes + own_bytes
    _warn_beyond(profile, capacity_bytes)
    return DramPlan(capacity_bytes, pinned_bytes, kv_bytes, own_bytes, 0.0, 2 * ahead_bytes)


def check_one_budget(dram: str | float | None) -> None:
    """Refuses `dram` beside `cache_bytes`.

    Raises:
        DipsimError: it is given.
    """
    if dram is not None:
        raise DipsimError(f"cache_bytes: got it beside dram {dram!r}; give one of them, the other follows from it")


def _usable_bytes(profile: HardwareProfile) -> float:
    return profile.dram.capacity_bytes - profile.dram.reserved_bytes


def _warn_beyond(profile: HardwareProfile, capacity_bytes: float) -> None:
    if capacity_bytes > (usable_bytes := _usable_bytes(profile)):
        warnings.warn(
            f"dram: {scaled(capacity_bytes, 'B')} is more than the {scaled(usable_bytes, 'B')} that '{profile.name}' "
            "has for a model",
            DipsimWarning,
            stacklevel=4,
        )


def bytes_meant(dram: str | float, model: ModelSpec, n_positions: int) -> float:
    """Bytes of a budget as a run is given it: an amount, a share of the model, or of its MLP beside all else.

    Raises:
        DipsimError: it is no budget.
    """
    number, of = parse_dram(dram)
    rest_bytes = model.pinned_bytes + float(model.kv_bytes(n_positions).sum())
    return {
        "bytes": number,
        "model": number * (rest_bytes + model.mlp_bytes),
        "mlp": rest_bytes + number * model.mlp_bytes,
    }[of]


def bytes_ahead(prefetcher: Prefetcher, given: str | float | None, model: ModelSpec, overlap: str) -> float:
    """Most bytes that are read ahead for one layer; 0 without a prefetcher.

    Raises:
        DipsimError: not above 0, or nobody to use them, or an overlap in which Flash never reads alone.
    """
    if getattr(prefetcher, "reads_nothing", False):
        if given is not None:
            raise DipsimError("prefetch_bytes: got some, but nobody to use them; name a prefetcher")
        return 0.0
    if overlap != "pipelined":
        raise DipsimError(
            f"prefetch: got overlap '{overlap}', in which Flash reads only when all else rests; choose 'pipelined'"
        )
    if given is None and model.mixture is not None:
        return model.mixture.experts_per_token * expert_groups(model)[0].column_bytes
    if given is None:
        return model.mlp_bytes / model.n_layers * _PREFETCH_SHARE
    n_bytes = parse_bytes(given, "prefetch_bytes") if isinstance(given, str) else given
    if not 0 < n_bytes < float("inf"):
        raise DipsimError(f"prefetch_bytes: got {given}; must be above 0 and finite")
    return n_bytes


def layers_ahead(prefetcher: Prefetcher, given: int | None, layout: Layout) -> int:
    """How many layers are read ahead together: as many as lie side by side, unless a run says otherwise.

    Raises:
        DipsimError: below 1, or nobody to read ahead.
    """
    if given is not None and getattr(prefetcher, "reads_nothing", False):
        raise DipsimError(f"prefetch_layers: got {given}, but nobody to read them ahead; name a prefetcher")
    n_layers = n_layers_beside(layout) if given is None else given
    if n_layers < 1:
        raise DipsimError(f"prefetch_layers: got {n_layers}; must be a whole number, at least 1")
    return n_layers


def beside_layers(
    masking: Method, model: ModelSpec, adapter_bytes: float, predictor_bytes: float
) -> tuple[Beside, ...]:
    """What stands beside each layer: weights that the method adds and a predictor's, with the bits of the MLP, and an
    adapter's.

    Args:
        masking: the method.
        model: the model.
        adapter_bytes: of all layers together.
        predictor_bytes: of each layer.

    Raises:
        DipsimError: a negative or infinite number of bytes.
    """
    for name, n_bytes in (("adapter_bytes", adapter_bytes), ("predictor_bytes", predictor_bytes)):
        if not 0 <= n_bytes < float("inf"):
            raise DipsimError(f"{name}: got {n_bytes}; must be at least 0 and finite")
    n_added, bits = added_weights(masking, model) + predictor_bytes * 8 / model.bits.mlp, model.bits.mlp
    both = Beside(n_added, bits), Beside(adapter_bytes / model.n_layers / 2, 16)
    return tuple(own for own in both if own.n_weights)


def plan_dram(
    model: ModelSpec,
    capacity_bytes: float,
    n_positions: int,
    stream_pinned: bool = True,
    prefetch_bytes: float = 0.0,
    beside_bytes: float = 0.0,
) -> DramPlan:
    """Cache bytes = capacity - pinned weights - KV cache at full context - buffers for reads ahead.

    Args:
        model: the model.
        capacity_bytes: DRAM that this model may use.
        n_positions: positions of the KV cache at full context.
        stream_pinned: read what does not fit of the pinned weights from Flash each token, instead of refusing.
        prefetch_bytes: buffers for what is read ahead of its use.
        beside_bytes: weights that are pinned beside the model's own.

    Raises:
        DipsimError: the KV cache or the buffers do not fit, or the pinned weights do not and may not be streamed.
    """
    kv_bytes = float(model.kv_bytes(n_positions).sum())
    pinned_bytes = model.pinned_bytes + beside_bytes
    cache_bytes = capacity_bytes - pinned_bytes - kv_bytes
    if kv_bytes > capacity_bytes:
        raise DipsimError(
            f"dram: KV cache of {n_positions} positions, got {scaled(capacity_bytes, 'B')}; "
            f"it alone needs {scaled(kv_bytes, 'B')}"
        )
    if prefetch_bytes > 0 and prefetch_bytes > cache_bytes:
        raise DipsimError(
            f"prefetch_bytes: its buffers need {scaled(prefetch_bytes, 'B')}; DRAM has "
            f"{scaled(max(0.0, cache_bytes), 'B')} left for them and the cache"
        )
    cache_bytes -= prefetch_bytes
    overflow = max(0.0, -cache_bytes)
    if overflow and not stream_pinned:
        raise DipsimError(
            f"dram: too small for attention, LM head and KV cache, got {scaled(capacity_bytes, 'B')}; they need "
            f"{scaled(capacity_bytes + overflow, 'B')} (or let the overflow be streamed)"
        )
    if overflow:
        warnings.warn(
            f"attention and LM head do not fit into DRAM: {scaled(overflow, 'B')} of them are streamed from Flash "
            "every token",
            DipsimWarning,
            stacklevel=3,
        )
    return DramPlan(capacity_bytes, pinned_bytes, kv_bytes, max(0.0, cache_bytes), overflow, prefetch_bytes)
