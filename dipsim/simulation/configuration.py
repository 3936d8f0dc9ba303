"""What does a result's `config` say: the arguments of the simulation that it describes."""

from __future__ import annotations

from typing import Any

from dipsim import layout as layouts
from dipsim import masking as methods
from dipsim import policies as eviction
from dipsim.errors import DipsimError
from dipsim.model import ModelSpec
from dipsim.prefetch import prefetchers
from dipsim.profile import HardwareProfile
from dipsim.trace import Trace

# What a config holds beside the method's options; the first are arguments of Simulation by their own names.
_RUN_KEYS = (
    "admission",
    "dram",
    "budget",
    "overlap",
    "stream_pinned",
    "context",
    "tokens",
    "warmup",
    "unit",
    "prefetch_bytes",
    "adapter_bytes",
)
_PLUGGED_KEYS = ("policy", "layout", "prefetch")
_OTHER_KEYS = (*_PLUGGED_KEYS, *(f"{key}_options" for key in _PLUGGED_KEYS), "trace", "profile", "model", "method")


def arguments_of(config: dict[str, Any], trace: Trace | None = None) -> dict[str, Any]:
    """Arguments of `Simulation` by name.

    Args:
        config: the configuration.
        trace: what to replay; None for the trace that the config names, which must still lie there.

    Raises:
        DipsimError: something is missing, or is not what it was.
    """
    for key in (*_OTHER_KEYS, *_RUN_KEYS):
        if key not in config:
            raise DipsimError(f"config: {key}: missing; take the whole 'config' of a result")
    method = {key: value for key, value in config.items() if key not in (*_RUN_KEYS, *_OTHER_KEYS)}
    return {
        "profile": HardwareProfile.parse(config["profile"], "config: profile"),
        "trace": trace or Trace.open(config["trace"]),
        "masking": methods.make(config["method"], **method),
        "policy": eviction.make(config["policy"], **config["policy_options"]),
        "layout": layouts.make(config["layout"], **config["layout_options"]),
        "prefetch": prefetchers.make(config["prefetch"], config["prefetch_options"]),
        "model": ModelSpec.parse(config["model"], "config: model"),
        **{key: config[key] for key in _RUN_KEYS},
    }
