"""How is DRAM divided: pinned weights, KV cache, and what is left for the weight cache."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from dipsim.errors import DipsimError, DipsimWarning
from dipsim.model import ModelSpec
from dipsim.units import scaled


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
            "every token, and no MLP column is cached",
            DipsimWarning,
            stacklevel=3,
        )
    return DramPlan(capacity_bytes, pinned_bytes, kv_bytes, max(0.0, cache_bytes), overflow, prefetch_bytes)
