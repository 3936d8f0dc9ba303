"""One run: a trace replayed through a device, the mask chosen inside the simulated loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from dipsim.budgets import budgets
from dipsim.cache import ADMISSIONS
from dipsim.description import Description
from dipsim.errors import DipsimError, choose
from dipsim.layouts import layouts
from dipsim.methods import Method, groups_of
from dipsim.notebook import as_table
from dipsim.planning.checks import (
    check_counts,
    check_engine,
    check_given_hits,
    check_io_depth,
    check_layers_beside,
    check_method,
    check_prompt,
    check_shape,
    check_shared,
    check_timeline_from,
)
from dipsim.planning.dram import beside_layers, bytes_ahead, check_one_budget, dram_plan, layers_ahead, plan_around
from dipsim.planning.least import warn_of_empty_caches
from dipsim.planning.places import places_of
from dipsim.planning.setup import ENGINES, OVERLAPS, SCOPES, Setup
from dipsim.planning.slots import slots_of, warn_of_cliff, warn_where_policies_agree
from dipsim.planning.units import units_beside
from dipsim.policies import Policy, policies
from dipsim.prefetchers import prefetchers
from dipsim.profile import HardwareProfile
from dipsim.progress import shown_in_notebooks
from dipsim.questions.explain import explain_token
from dipsim.questions.headroom import check_headroom, measure_headroom
from dipsim.results import Explanation, Headroom, Result
from dipsim.results.ruin import warn_of_ruin
from dipsim.simulation.closed_loop import LoopMasks
from dipsim.simulation.configuration import arguments, arguments_of, method_part, plugged_part
from dipsim.simulation.described import device_of, masking_of
from dipsim.simulation.options import bytes_of, checked, documented, with_options
from dipsim.simulation.plugged import named, named_devices, named_loads, named_model, policy_factory
from dipsim.simulation.things import given_device, given_method, given_trace
from dipsim.timeline import OnBlock, OnProgress, Timeline, log_of, write_events
from dipsim.trace import Trace
from dipsim.units import scaled

__all__ = ["Simulation"]


class Simulation:
    """A trace, a device, a method and a cache, checked and ready to run.

    Args:
        profile: the device, or its name or TOML file.
        trace: recorded scores, or their path or name.
        masking: the method, or its name; `method` is the same argument. `DipCa(density=0.5, gamma=0.2)` in either is
            what `method="dip-ca", density=0.5, gamma=0.2` is; without one it is the command line's default.
        policy: eviction policy by name, or an instance that every cache gets a copy of. A result's config holds its
            name and options: register the class to run it again from there.
        **options: the options of a run that `dipsim.description` has. An instance holds those of its own.

    Raises:
        DipsimError: an unknown name, a value out of range, scores that the trace lacks, or things that do not go
            together (`belady` with `dip-ca`: an oracle needs the masks of the future, and those would need the oracle).
    """

    def __init__(
        self,
        profile: HardwareProfile | str | Path,
        trace: Trace | str | Path,
        masking: Method | str | None = None,
        policy: str | Policy = "lfu",
        **options: Any,
    ) -> None:
        given, of_names = checked(options)
        profile, trace = given_device(profile, of_names["profile_values"]), given_trace(trace)
        masking = given_method(masking, of_names)
        model = named_model(given["model"]) or trace.model
        check_shape(model, trace.model)
        n_tokens = trace.n_tokens if given["tokens"] is None else given["tokens"]
        n_positions = trace.n_positions if given["context"] is None else given["context"]
        check_counts(trace, n_tokens, given["warmup"], n_positions)
        new_policy = policy_factory(policy, of_names["policy_options"])
        check_method(masking, trace, model, new_policy())
        check_io_depth(given["io_depth"])
        layout = named("layout", given["layout"], layouts, of_names["layout_options"])
        prefetcher = named("prefetch", given["prefetch"], prefetchers, of_names["prefetch_options"])
        layer_bytes = bytes_ahead(prefetcher, given["prefetch_bytes"], model, given["overlap"])
        n_ahead = layers_ahead(prefetcher, given["prefetch_layers"], layout)
        ahead_bytes = min(n_ahead, model.n_layers) * layer_bytes
        beside_bytes = {name: bytes_of(given, name) for name in ("adapter_bytes", "predictor_bytes")}
        beside = beside_layers(masking, model, **beside_bytes)
        engine = choose("engine", given["engine"], ENGINES)
        loads, devices = named_loads(given["loads"], of_names["load_options"]), named_devices(given["devices"])
        check_engine(engine, loads, devices)
        groups, scope = groups_of(masking, model), choose("cache_scope", given["cache_scope"], SCOPES)
        prefetch, hit_rate = prefetchers.name_and_options(prefetcher)[0], given["given_hit_rate"]
        check_given_hits(hit_rate, masking, new_policy(), scope, given["prompt"], prefetch)
        check_layers_beside(layout, groups)
        check_shared(scope, given["budget"], trace, n_tokens, groups)
        if given["cache_bytes"] is None:
            plan = dram_plan(profile, model, given["dram"], n_positions, given["stream_pinned"], ahead_bytes, beside)
        else:
            check_one_budget(given["dram"])
            plan = plan_around(profile, model, given["cache_bytes"], n_positions, ahead_bytes, beside, groups)
        budgets[given["budget"]]  # an unknown one is refused before anything is measured for it
        self._draft = Setup(
            profile=profile,
            trace=trace,
            model=model,
            masking=masking,
            groups=groups,
            dram=plan,
            slots={},
            new_policy=new_policy,
            admission=choose("admission", given["admission"], ADMISSIONS),
            overlap=choose("overlap", given["overlap"], OVERLAPS),
            n_tokens=n_tokens,
            n_warm_up=given["warmup"],
            unit=profile.unit(given["unit"]),
            units=units_beside(profile, given["units"]),
            layout=layout,
            prefetcher=prefetcher,
            prefetch_bytes=layer_bytes,
            prefetch_layers=n_ahead,
            io_depth=given["io_depth"],
            given_hit_rate=hit_rate,
            warms=hit_rate is None and check_prompt(given["prompt"], trace),
            cache_scope=scope,
            engine=engine,
            loads=loads,
            devices=devices,
            beside=beside,
        )
        if hit_rate is None:
            warn_of_empty_caches(self._draft, given["budget"], n_positions)
        self._worked_out: Setup | None = None
        self._given = given | {"context": n_positions, "tokens": n_tokens} | beside_bytes
        self._policy = policies.name_and_options(new_policy())

    @property
    def title(self) -> str:
        """The run in one line, for tables and figures."""
        setup = self._draft
        policy = f"{self._policy[0]} ({setup.admission})"
        return f"{setup.model.name} on {setup.profile.name}, {setup.masking.name}, {policy}"

    def _repr_html_(self) -> str:
        return as_table(self.title, {"trace": repr(self.trace), "cache": scaled(self._draft.dram.cache_bytes, "B")})

    @property
    def config(self) -> dict[str, Any]:
        """Everything needed to run it again, as plain data: `Simulation.from_config(config)`."""
        setup = self._draft
        return {
            "trace": str(setup.trace.path),
            "profile": setup.profile.model_dump(mode="json", by_alias=True),
            "model": setup.model.model_dump(mode="json"),
            **method_part(setup.masking),
            **{name: value for name, value in self._given.items() if name != "model"},
            **plugged_part(setup, self._policy),
        }

    @classmethod
    def from_description(cls, described: Description, trace: Trace, device: HardwareProfile | None = None) -> Self:
        """The run of a trace that plain values describe: the options of `dipsim simulate`.

        Args:
            described: the options.
            trace: what is replayed.
            device: the device that they describe, where it is at hand.

        Raises:
            DipsimError: as the constructor; an unknown name, or a file that cannot be read.
        """
        masking, options = masking_of(described), arguments("options", dict(described))
        return cls(device or device_of(described), trace, masking, **options)

    @classmethod
    def from_config(cls, config: dict[str, Any], trace: Trace | None = None) -> Self:
        """The simulation that a result's `config` describes.

        Args:
            config: the configuration.
            trace: what to replay; None for the trace that the configuration names, which must still lie there.

        Raises:
            DipsimError: as the constructor.
        """
        return cls(**arguments_of(config, trace))

    @shown_in_notebooks("simulating", "tokens")
    def run(
        self,
        on_progress: OnProgress = lambda done, total: None,
        timeline: str | Path | None = None,
        timeline_from: int = 0,
    ) -> Result:
        """Simulates every token. The same simulation always gives the same result.

        Args:
            on_progress: called now and then with the tokens done and the tokens to do, passes included that a budget
                makes over the trace before the run.
            timeline: a file for what happened when, to be opened in Perfetto; None for none. One that exists is
                replaced.
            timeline_from: the first token that is drawn there; earlier ones are simulated only.

        Raises:
            DipsimError: the trace turns out to be damaged, a policy or a budget broke its contract, or no token is left
                to be drawn.
        """
        check_timeline_from(timeline_from, self._draft.n_tokens)
        n_measured, n_to_do = 0, self._draft.n_tokens * self._draft.n_passes

        def on_measured(n_tokens: int) -> None:
            nonlocal n_measured
            n_measured += n_tokens
            on_progress(n_measured, 2 * n_to_do)

        setup = self._work_out(on_measured)

        def on_simulated(done: int, total: int) -> None:
            on_progress(n_measured + done, n_measured + total)

        if timeline is None:
            result = self._run(setup, on_simulated)
        else:
            about = {"config": self.config, "dipsim_version": version("dipsim")}
            with write_events(Path(timeline), self.title, about) as events:
                result = self._run(setup, on_simulated, timeline=Timeline(events, setup, timeline_from))
        warn_of_ruin(setup.model, result.mlp_error)
        return result

    @shown_in_notebooks("simulating", "tokens")
    def explain(self, token: int | None = None, on_progress: OnProgress = lambda done, total: None) -> Explanation:
        """Why a token was slow: its stages taken apart, and true runs of what would have changed.

        Args:
            token: its index in the trace; None for the slowest that counts.
            on_progress: called now and then with the tokens done and the tokens to do, over all runs.

        Raises:
            DipsimError: as `run`; no such token is simulated.
        """
        return explain_token(self._setup, self._rework, self._run, self.title, token, on_progress)

    @shown_in_notebooks("replaying masks", "tokens")
    def headroom(self, on_progress: OnProgress = lambda done, total: None) -> Headroom:
        """What better eviction, admission, split and memory would make of this run: its very masks are replayed.

        Args:
            on_progress: called now and then with the tokens done and the tokens to do.

        Raises:
            DipsimError: as `run`; the policy is `none`, or something is read ahead.
        """
        check_headroom(self._draft)
        return measure_headroom(self._setup, self._run, self.title, on_progress)

    def _run(
        self, setup: Setup, on_progress: OnProgress, *, timeline: Timeline | None = None, look: OnBlock | None = None
    ) -> Result:
        log = log_of(setup, on_progress, timeline, look)
        return Result(
            of_tokens=log.tokens(),
            of_layers=log.layers(setup.groups, setup.told_slots),
            ttft_s=tuple(log.ttft_s),
            of_prompts=log.of_prompts,
            dram=setup.dram,
            profile=setup.profile,
            config=self.config,
            measure_headroom=self.headroom,
        )

    @property
    def trace(self) -> Trace:
        """The recorded scores."""
        return self._draft.trace

    @property
    def masking(self) -> Method:
        """The method."""
        return self._draft.masking

    def loop_masks(self) -> LoopMasks:
        """Chooses the masks of whole sequences from caches like those of the run.

        Raises:
            DipsimError: the budget broke its contract, or measures a trace that is only planned; or all layers share a
                cache, and masks depend on what it holds.
        """
        if self._draft.shares and self.masking.looks_at_residency:
            raise DipsimError(
                f"cache_scope: got 'shared' with method '{self.masking.name}' and a running model; masks would depend "
                "on layers that are yet to run: choose 'layer', or a method that does not look at residency"
            )
        if not self.masking.looks_at_residency:  # no cache is asked: a budget may measure what these masks record
            return LoopMasks(self._draft)
        slots = slots_of(self._draft, self._given["budget"], lambda n_tokens: None)
        return LoopMasks(replace(self._draft, slots=slots))

    @property
    def _setup(self) -> Setup:
        """The run, slots and all."""
        return self._work_out(lambda n_tokens: None)

    def _work_out(self, on_tokens: Callable[[int], None]) -> Setup:
        """The run with its slots and its layout, once: a budget may read the whole trace, a layout some of it."""
        if self._worked_out is None:
            self._worked_out = self._rework(self._draft, on_tokens)
            if self._worked_out.given_hit_rate is None:
                warn_where_policies_agree(self._worked_out)
            warn_of_cliff(self._worked_out)
        return self._worked_out

    def _rework(self, setup: Setup, on_tokens: Callable[[int], None] = lambda n_tokens: None) -> Setup:
        """A run with the slots and the layout that its budget and its layout make of it."""
        slots = slots_of(setup, self._given["budget"], on_tokens)
        return replace(setup, slots=slots, places=places_of(setup))


Simulation.__signature__ = documented(Simulation)  # type: ignore[attr-defined]
Simulation.__doc__ = with_options(Simulation.__doc__)
