"""Which simulation do the options describe: what `simulate`, `headroom` and `evaluate` have in common."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from dipsim.cli import options

if TYPE_CHECKING:
    from dipsim.simulation import Simulation


def described_simulation(
    trace: options.Trace,
    profile: options.Profile = "a18-paper",
    set_values: options.ProfileValue = None,
    method: options.Method = "dip-ca",
    density: options.Density = None,
    keep_input: options.KeepInput = None,
    keep_glu: options.KeepGlu = None,
    keeps: options.Keeps = None,
    gamma: options.Gamma = None,
    rule: options.Rule = None,
    exempt_top: options.ExemptTop = None,
    gamma_warm_up: options.GammaWarmUp = False,
    top_m: options.TopM = None,
    calibration: options.Calibration = None,
    rank: options.Rank = None,
    policy: options.Policy = "lfu",
    policy_option: options.PolicyOption = None,
    admission: options.Admission = "always",
    dram: options.Dram = None,
    budget: options.Budget = "uniform",
    context: options.Context = None,
    stream_pinned: options.StreamPinned = True,
    layout: options.Layout = "column",
    layout_option: options.LayoutOption = None,
    prefetch: options.Prefetch = "none",
    prefetch_option: options.PrefetchOption = None,
    prefetch_bytes: options.PrefetchBytes = None,
    adapter_bytes: options.AdapterBytes = None,
    model: options.Model = None,
    unit: options.Unit = None,
    overlap: options.Overlap = "pipelined",
    tokens: options.Tokens = None,
    warmup: options.Warmup = 0,
) -> "Simulation":
    """The simulation that the options describe.

    Raises:
        DipsimError: as `Simulation`.
    """
    from dipsim import layout as layouts
    from dipsim import policies
    from dipsim.model import ModelSpec
    from dipsim.prefetch import prefetchers
    from dipsim.profile import HardwareProfile
    from dipsim.simulation import Simulation
    from dipsim.trace import Trace
    from dipsim.units import parse_bytes

    others = {"gamma": gamma, "rule": rule, "exempt_top": exempt_top, "warm_up": gamma_warm_up or None, "top_m": top_m}
    masking = options.make_method(method, density, keep_input, keep_glu, calibration, rank, keeps, **others)
    return Simulation(
        HardwareProfile.load(profile).with_values(options.parse_pairs("set", set_values)),
        trace if isinstance(trace, Trace) else Trace.open(trace),
        masking,
        policies.make(policy, **options.parse_pairs("policy-option", policy_option)),
        admission=admission,
        dram=dram,
        budget=budget,
        overlap=overlap,
        unit=unit,
        layout=layouts.make(layout, **options.parse_pairs("layout-option", layout_option)),
        prefetch=prefetchers.make(prefetch, options.parse_pairs("prefetch-option", prefetch_option)),
        prefetch_bytes=prefetch_bytes,
        adapter_bytes=0 if adapter_bytes is None else parse_bytes(adapter_bytes, "adapter-bytes"),
        stream_pinned=stream_pinned,
        model=None if model is None else ModelSpec.load(model),
        context=context,
        tokens=tokens,
        warmup=warmup,
    )


def takes_simulation(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: the command takes the options of `described_simulation` beside its own, and calls its parameter
    `describe` to make the simulation. (Annotations are read here, so that these modules do not postpone them.)

    Args:
        left_out: options that the command does not take; it gives them to `describe`, or leaves them as they are.
    """
    shared = {name: p for name, p in inspect.signature(described_simulation).parameters.items() if name not in left_out}

    def with_shared(command: Callable[..., None]) -> Callable[..., None]:
        own = {name: p for name, p in inspect.signature(command).parameters.items() if name != "describe"}

        @wraps(command)
        def with_options(**given: Any) -> None:
            described = {name: given.pop(name) for name in shared}
            command(describe=lambda **others: described_simulation(**(described | others)), **given)

        arguments = [p for p in own.values() if p.default is inspect.Parameter.empty]
        others = [p for p in own.values() if p.default is not inspect.Parameter.empty]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*arguments, *shared.values(), *others)]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return with_options

    return with_shared
