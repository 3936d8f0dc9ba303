"""One run: a trace replayed through a device, the mask chosen inside the simulated loop."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from functools import partial
from typing import Any, Self, cast

from dipsim import layout as layouts
from dipsim import masking as methods
from dipsim import policies as eviction
from dipsim.budget import budgets, plan_dram
from dipsim.cache import ADMISSIONS
from dipsim.errors import DipsimError, DipsimWarning, choose
from dipsim.layout import Layout
from dipsim.masking import Masking
from dipsim.model import ModelSpec
from dipsim.policies import Policy
from dipsim.prefetch import NoPrefetch, Prefetcher, prefetchers
from dipsim.profile import HardwareProfile
from dipsim.results import Headroom, Result
from dipsim.simulation.decode import Decoder, OnProgress
from dipsim.simulation.headroom import measure_headroom
from dipsim.simulation.machine import OVERLAPS
from dipsim.simulation.placing import places_of
from dipsim.simulation.setup import Setup
from dipsim.simulation.slots import slots_of, warn_where_policies_agree
from dipsim.trace import Trace
from dipsim.units import parse_bytes, parse_dram, scaled

__all__ = ["Simulation"]

# What a result's config holds beside the method's options; the first are arguments of Simulation by their own names.
_RUN_KEYS = (
    *("admission", "dram", "budget", "overlap", "stream_pinned", "context", "tokens", "warmup"),
    *("unit", "prefetch_bytes"),
)
_PLUGGED_KEYS = ("policy", "layout", "prefetch")
_OTHER_KEYS = (*_PLUGGED_KEYS, *(f"{key}_options" for key in _PLUGGED_KEYS), "trace", "profile", "model", "method")
# Of a layer's MLP, what is read ahead at most unless a run says otherwise.
_PREFETCH_SHARE = 1 / 16


class Simulation:
    """A trace, a device, a method and a cache, checked and ready to run.

    Args:
        profile: the device.
        trace: recorded scores.
        masking: the method, for example `DipCa(density=0.5, gamma=0.2)`.
        policy: eviction policy by name, or an instance that every cache gets a copy of. A result's config holds its
            name and options: register the class to run it again from there.
        admission: `always` or `priority` (which may bypass the cache).
        dram: bytes this model may use (`4GB`, `512MiB` or a number), `0.5x` for that share of pinned + KV + MLP bytes,
            None for the device's capacity less what it reserves.
        budget: how cache bytes become slots, by name; worked out when the simulation first runs.
        overlap: `none`, `io` or `pipelined`.
        unit: compute unit, one of the profile's; None for the one that it uses by default.
        layout: how columns lie in the weight file, by name or an instance; learnt when the simulation first runs.
        prefetch: who guesses what the next layer will need, by name or an instance; needs overlap `pipelined`.
        prefetch_bytes: most bytes read ahead for one layer (`2MB` or a number); DRAM keeps two such buffers, one that
            is filled and one in use. None for a sixteenth of a layer's MLP.
        stream_pinned: stream pinned weights that do not fit, instead of refusing.
        model: another ModelSpec of the same shape, for example with other bits; None for the trace's.
        context: positions of the KV cache at full context; None for the longest sequence of the trace.
        tokens: how many of the trace's tokens to simulate; None for all.
        warmup: tokens at the start of each sequence that are simulated but not counted.

    Raises:
        DipsimError: an unknown name, a value out of range, scores that the trace lacks, or things that do not go
            together (`belady` with `dip-ca`: an oracle needs the masks of the future, and those would need the oracle).
    """

    def __init__(
        self,
        profile: HardwareProfile,
        trace: Trace,
        masking: Masking,
        policy: str | Policy = "lfu",
        *,
        admission: str = "always",
        dram: str | float | None = None,
        budget: str = "uniform",
        overlap: str = "pipelined",
        unit: str | None = None,
        layout: str | Layout = "column",
        prefetch: str | Prefetcher = "none",
        prefetch_bytes: str | float | None = None,
        stream_pinned: bool = True,
        model: ModelSpec | None = None,
        context: int | None = None,
        tokens: int | None = None,
        warmup: int = 0,
    ) -> None:
        _check_kinds(profile, trace)
        model = model or trace.model
        _check_shape(model, trace.model)
        n_tokens = trace.n_tokens if tokens is None else tokens
        _check_counts(trace, n_tokens, warmup)
        n_positions = trace.n_positions if context is None else context
        if n_positions < trace.n_positions:
            raise DipsimError(
                f"context: got {n_positions}; the trace's longest sequence has {trace.n_positions} positions"
            )
        new_policy = _policy_factory(policy)
        _check_is_method(masking)
        _check_method(masking, trace, model, new_policy())
        prefetcher = prefetchers.make(prefetch, {}) if isinstance(prefetch, str) else prefetch
        n_ahead_bytes = _prefetch_bytes(prefetcher, prefetch_bytes, model, overlap)
        capacity_bytes = _capacity_bytes(profile, model, dram, n_positions)
        plan = plan_dram(model, capacity_bytes, n_positions, stream_pinned, 2 * n_ahead_bytes)
        _warn_beyond_device(profile, plan.capacity_bytes)
        budgets[budget]  # an unknown one is refused before anything is measured for it
        self._draft = Setup(
            profile=profile,
            trace=trace,
            model=model,
            masking=masking,
            groups=masking.groups(model),
            dram=plan,
            slots={},
            new_policy=new_policy,
            admission=choose("admission", admission, ADMISSIONS),
            overlap=choose("overlap", overlap, OVERLAPS),
            n_tokens=n_tokens,
            n_warm_up=warmup,
            unit=profile.unit(unit),
            layout=layouts.make(layout) if isinstance(layout, str) else layout,
            prefetcher=prefetcher,
            prefetch_bytes=n_ahead_bytes,
        )
        self._worked_out: Setup | None = None
        self._given: dict[str, Any] = {
            "dram": dram,
            "budget": budget,
            "stream_pinned": stream_pinned,
            "context": n_positions,
            "unit": unit,
            "prefetch_bytes": prefetch_bytes,
        }
        self._plugged = {
            "policy": eviction.name_and_options(new_policy()),
            "layout": layouts.name_and_options(self._draft.layout),
            "prefetch": prefetchers.name_and_options(prefetcher),
        }

    @property
    def title(self) -> str:
        """The run in one line, for tables and figures."""
        setup = self._draft
        policy = f"{self._plugged['policy'][0]} ({setup.admission})"
        return f"{setup.model.name} on {setup.profile.name}, {setup.masking.name}, {policy}"

    @property
    def config(self) -> dict[str, Any]:
        """Everything needed to run it again, as plain data: `Simulation.from_config(config)`."""
        setup, method = self._draft, methods.options(self._draft.masking)
        return {
            "trace": str(setup.trace.path),
            "profile": setup.profile.model_dump(mode="json", by_alias=True),
            "model": setup.model.model_dump(mode="json"),
            "method": method.pop("name"),
            **method,
            **{key: name for key, (name, _) in self._plugged.items()},
            **{f"{key}_options": options for key, (_, options) in self._plugged.items()},
            "admission": setup.admission,
            "overlap": setup.overlap,
            **self._given,
            "tokens": setup.n_tokens,
            "warmup": setup.n_warm_up,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The simulation that a result's `config` describes; its trace must still lie where it did.

        Raises:
            DipsimError: as the constructor.
        """
        for key in (*_OTHER_KEYS, *_RUN_KEYS):
            if key not in config:
                raise DipsimError(f"config: {key}: missing; take the whole 'config' of a result")
        method = {key: value for key, value in config.items() if key not in (*_RUN_KEYS, *_OTHER_KEYS)}
        return cls(
            HardwareProfile.parse(config["profile"], "config: profile"),
            Trace.open(config["trace"]),
            methods.make(config["method"], **method),
            eviction.make(config["policy"], **config["policy_options"]),
            layout=layouts.make(config["layout"], **config["layout_options"]),
            prefetch=prefetchers.make(config["prefetch"], config["prefetch_options"]),
            model=ModelSpec.parse(config["model"], "config: model"),
            **{key: config[key] for key in _RUN_KEYS},
        )

    def run(self, on_progress: OnProgress = lambda done, total: None) -> Result:
        """Simulates every token. The same simulation always gives the same result.

        Args:
            on_progress: called now and then with the tokens done and the tokens to do, passes included that a budget
                makes over the trace before the run.

        Raises:
            DipsimError: the trace turns out to be damaged, or a policy or a budget broke its contract.
        """
        n_measured = 0
        n_to_do = self._draft.n_tokens * self._draft.n_passes

        def on_measured(n_tokens: int) -> None:
            nonlocal n_measured
            n_measured += n_tokens
            on_progress(n_measured, 2 * n_to_do)

        setup = self._work_out(on_measured)
        return self._run(setup, lambda done, total: on_progress(n_measured + done, n_measured + total))

    def headroom(self, on_progress: OnProgress = lambda done, total: None) -> Headroom:
        """What better eviction, admission, split and memory would make of this run: its very masks are replayed.

        Args:
            on_progress: called now and then with the tokens done and the tokens to do.

        Raises:
            DipsimError: as `run`; the policy is `none`.
        """
        return measure_headroom(self._setup, self._run, self.title, on_progress)

    def _run(self, setup: Setup, on_progress: OnProgress) -> Result:
        log = Decoder(setup, on_progress).run()
        return Result(
            tokens=log.tokens(setup.model.mlp_bytes),
            layers=log.layers(setup.groups, setup.slots),
            ttft_s=tuple(log.ttft_s),
            dram=setup.dram,
            profile=setup.profile,
            config=self.config,
            measure_headroom=self.headroom,
        )

    @property
    def _setup(self) -> Setup:
        """The run, slots and all."""
        return self._work_out(lambda n_tokens: None)

    def _work_out(self, on_tokens: Callable[[int], None]) -> Setup:
        """The run with its slots and its layout, once: a budget may read the whole trace, a layout some of it."""
        if self._worked_out is None:
            slots = slots_of(self._draft, self._given["budget"], on_tokens)
            self._worked_out = replace(self._draft, slots=slots, places=places_of(self._draft))
            warn_where_policies_agree(self._worked_out)
        return self._worked_out


def _check_kinds(profile: object, trace: object) -> None:
    for name, thing, kind in (("profile", profile, HardwareProfile), ("trace", trace, Trace)):
        if not isinstance(thing, kind):
            how = "HardwareProfile.load(name)" if kind is HardwareProfile else "Trace.open(path)"
            raise DipsimError(f"{name}: got {thing!r}; must be a {kind.__name__}, see {how}")


def _warn_beyond_device(profile: HardwareProfile, capacity_bytes: float) -> None:
    usable = profile.dram.capacity_bytes - profile.dram.reserved_bytes
    if capacity_bytes > usable:
        warnings.warn(
            f"dram: {scaled(capacity_bytes, 'B')} is more than the {scaled(usable, 'B')} that '{profile.name}' has for "
            "a model",
            DipsimWarning,
            stacklevel=3,
        )


def _check_shape(model: ModelSpec, recorded: ModelSpec) -> None:
    for name in ("n_layers", "hidden_size", "intermediate_size"):
        if getattr(model, name) != getattr(recorded, name):
            raise DipsimError(
                f"model: {name}: got {getattr(model, name)} for '{model.name}'; "
                f"the trace was recorded with {getattr(recorded, name)} ('{recorded.name}')"
            )


def _check_counts(trace: Trace, n_tokens: int, n_warm_up: int) -> None:
    if not 1 <= n_tokens <= trace.n_tokens:
        raise DipsimError(f"tokens: got {n_tokens}; the trace has {trace.n_tokens}, at least 1 is needed")
    longest = max(min(s.stop, n_tokens) - s.start for s in trace.sequences)
    if not 0 <= n_warm_up < longest:
        raise DipsimError(
            f"warmup: got {n_warm_up}; must be at least 0 and below {longest}, the longest simulated sequence"
        )


def _check_is_method(masking: object) -> None:
    if not is_dataclass(masking) or isinstance(masking, type):
        raise DipsimError(f"masking: got {masking!r}; must be a method such as Dip(density=0.5)")


def _check_method(masking: Masking, trace: Trace, model: ModelSpec, policy: Policy) -> None:
    if policy.needs_future and masking.looks_at_residency:
        raise DipsimError(
            f"policy: {type(policy).__name__.lower()} with method '{masking.name}'; an oracle needs the masks of the "
            "future, and these depend on what it keeps: choose an online policy, or method 'dip'"
        )
    for group in masking.groups(model):
        if group.site is not None and group.site not in trace.sites:
            sites = ",".join([*trace.sites, group.site])
            raise DipsimError(
                f"method '{masking.name}' needs scores at site '{group.site}', got a trace with "
                f"{', '.join(trace.sites) or 'none'}; capture them: dipsim capture MODEL TEXT --sites {sites} -o OUT"
            )


def _capacity_bytes(profile: HardwareProfile, model: ModelSpec, dram: str | float | None, n_positions: int) -> float:
    n_bytes, share = parse_dram(dram)
    if share is not None:
        return share * (model.pinned_bytes + model.kv_bytes_per_position * n_positions + model.mlp_bytes)
    return profile.dram.capacity_bytes - profile.dram.reserved_bytes if n_bytes is None else n_bytes


def _prefetch_bytes(prefetcher: Prefetcher, given: str | float | None, model: ModelSpec, overlap: str) -> float:
    """Most bytes that are read ahead for one layer."""
    if isinstance(prefetcher, NoPrefetch):
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


def _policy_factory(policy: object) -> Callable[[], Policy]:
    if isinstance(policy, str):
        policy = eviction.make(policy)
    if inspect.isclass(policy):
        raise DipsimError(f"policy: got the class {policy.__name__}; give a registered name or an instance")
    return partial(copy.deepcopy, cast(Policy, policy))
