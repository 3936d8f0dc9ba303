"""Which simulation do the options describe: what `simulate`, `headroom`, `evaluate` and others have in common."""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from dipsim.cli import options

if TYPE_CHECKING:
    from dipsim.description import Description
    from dipsim.simulation import Simulation
    from dipsim.trace import Trace


def described(
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
) -> "Description":
    """What the options say.

    Raises:
        DipsimError: a value of the wrong kind.
    """
    from dipsim.description import Description

    given: dict[str, Any] = {name: value for name, value in locals().items() if name in Description.model_fields}
    given["keeps"] = None if keeps is None else str(keeps)
    given["profile_values"] = options.parse_pairs("set", set_values)
    for name, pairs in (("policy", policy_option), ("layout", layout_option), ("prefetch", prefetch_option)):
        given[f"{name}_option"] = options.parse_pairs(f"{name}-option", pairs)
    return Description.parse(given, "options")


def described_simulation(trace: "str | Trace", **others: Any) -> "Simulation":
    """The simulation that the options describe.

    Raises:
        DipsimError: as `described` and `Simulation`.
    """
    from dipsim.trace import Trace

    return described(**others).simulation(trace if isinstance(trace, Trace) else Trace.open(trace))


def takes_simulation(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: the command takes a trace and the options of `described` beside its own, and calls its parameter
    `describe` to make the simulation.

    Args:
        left_out: options that the command does not take; it gives them to `describe`, or leaves them as they are.
    """
    trace = inspect.Parameter("trace", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=options.Trace)
    return _takes([trace, *_OPTIONS], left_out, described_simulation)


def takes_description(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: as `takes_simulation` without a trace; `describe` gives a `Description`."""
    return _takes(_OPTIONS, left_out, described)


_OPTIONS = [*inspect.signature(described).parameters.values()]


def _takes(
    all_shared: Sequence[inspect.Parameter], left_out: Sequence[str], make: Callable[..., Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """(Annotations are read here, so that these modules do not postpone them.)"""
    shared = {p.name: p for p in all_shared if p.name not in left_out}

    def with_shared(command: Callable[..., None]) -> Callable[..., None]:
        own = {name: p for name, p in inspect.signature(command).parameters.items() if name != "describe"}

        @wraps(command)
        def with_options(**given: Any) -> None:
            told = {name: given.pop(name) for name in shared}
            command(describe=lambda **others: make(**(told | others)), **given)

        arguments = [p for p in own.values() if p.default is inspect.Parameter.empty]
        others = [p for p in own.values() if p.default is not inspect.Parameter.empty]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*arguments, *shared.values(), *others)]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return with_options

    return with_shared
