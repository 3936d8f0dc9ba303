"""What does a result's `config` say: the arguments of the simulation that it describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dipsim import layouts, methods, policies
from dipsim.errors import DipsimError
from dipsim.model import ModelSpec
from dipsim.prefetchers import prefetchers
from dipsim.profile import HardwareProfile
from dipsim.schema import Record, ShortText
from dipsim.trace import Trace

Made = TypeVar("Made")


class _Run(Record):
    """What a config holds beside profile, model and the method's options. Ranges and names are checked by whoever uses
    them."""

    policy: ShortText
    policy_options: dict[str, Any]
    layout: ShortText
    layout_options: dict[str, Any]
    prefetch: ShortText
    prefetch_options: dict[str, Any]
    trace: ShortText
    method: ShortText
    admission: ShortText
    dram: ShortText | float | None
    budget: ShortText
    overlap: ShortText
    stream_pinned: bool
    context: int | None
    tokens: int | None
    warmup: int
    unit: ShortText | None
    prefetch_bytes: float | None
    adapter_bytes: float | None


_ARGUMENTS = (
    *("admission", "dram", "budget", "overlap", "stream_pinned", "context", "tokens", "warmup", "unit"),
    *("prefetch_bytes", "adapter_bytes"),
)


def arguments_of(config: dict[str, Any], trace: Trace | None = None) -> dict[str, Any]:
    """Arguments of `Simulation` by name.

    Args:
        config: the configuration.
        trace: what to replay; None for the trace that the config names, which must still lie there.

    Raises:
        DipsimError: something is missing, or is not what it was.
    """
    keys = (*_Run.model_fields, "profile", "model")
    for key in keys:
        if key not in config and not (key == "trace" and trace):
            raise DipsimError(f"config: {key}: missing; take the whole 'config' of a result")
    own = {"trace": ""} | {key: value for key, value in config.items() if key in _Run.model_fields}
    run = _Run.parse(own, "config")
    method = {key: value for key, value in config.items() if key not in keys}
    return {
        "profile": HardwareProfile.parse(config["profile"], "config: profile"),
        "trace": trace or Trace.open(run.trace),
        "masking": _made(run.method, lambda: methods.make(run.method, **method)),
        "policy": _made(run.policy, lambda: policies.make(run.policy, **run.policy_options)),
        "layout": _made(run.layout, lambda: layouts.make(run.layout, **run.layout_options)),
        "prefetch": _made(run.prefetch, lambda: prefetchers.make(run.prefetch, run.prefetch_options)),
        "model": ModelSpec.parse(config["model"], "config: model"),
        **{key: config[key] for key in _ARGUMENTS},  # whole numbers stay so
    }


def _made(name: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except TypeError as error:  # of a class that compares and counts what it is given
        raise DipsimError(f"config: {name}: an option of another kind than it takes: {error}") from None
