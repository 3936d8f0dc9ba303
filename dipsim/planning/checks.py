"""What goes together: refusals of what no run can make sense of, before any work is done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

from dipsim.description import default_of
from dipsim.errors import DipsimError, DipsimWarning, choose
from dipsim.layouts import Layout, n_layers_beside
from dipsim.methods import Method, check_kind, groups_of
from dipsim.model import ModelSpec
from dipsim.model.groups import Group
from dipsim.policies import Policy
from dipsim.registry import ships_with_dipsim
from dipsim.trace import Trace

# The times of policies are exact below this.
_MOST_BATCHES = 2**26

_SHAPE: dict[str, Callable[[ModelSpec], object]] = {
    "n_layers": lambda model: model.n_layers,
    "hidden_size": lambda model: model.hidden_size,
    # Of a mixture in every layer, nothing has it.
    "intermediate_size": lambda model: model.intermediate_size if _has_mlps(model) else None,
    "experts": lambda model: model.mixture.n_experts if model.mixture else 0,
    "layers with experts": lambda model: list(model.layers_with_experts),
}


def _has_mlps(model: ModelSpec) -> bool:
    return len(model.layers_with_experts) < model.n_layers


def check_engine(engine: str, loads: Sequence[object], devices: Mapping[str, object]) -> None:
    """Refuses loads and devices of one's own for an engine that has no processes."""
    if engine == "compiled" and (loads or devices):
        raise DipsimError("engine: got 'compiled' with loads or devices of one's own; only 'processes' runs these")


def check_io_depth(io_depth: int | None) -> None:
    """Refuses fewer reads in flight than one."""
    if io_depth is not None and io_depth < 1:
        raise DipsimError(f"io_depth: got {io_depth}; must be a whole number, at least 1")


def check_layers_beside(layout: Layout, groups: Sequence[Group]) -> None:
    """Refuses columns side by side of layers that differ in their bytes."""
    for group in groups:
        if n_layers_beside(layout) > 1 and group.site is not None and group.layer_bytes is not None:
            raise DipsimError(
                f"layout: got '{type(layout).__name__}' for '{group.name}', whose columns differ in bytes between "
                "layers; choose 'column'"
            )


def check_given_hits(
    hit_rate: float | None, masking: Method, policy: Policy, scope: str, prompt: str | None, prefetch: str
) -> None:
    """Refuses a hit rate that is given where something needs to know what caches hold."""
    if hit_rate is None:
        return
    if not 0 <= hit_rate <= 1:
        raise DipsimError(f"given_hit_rate: got {hit_rate}; must be at least 0 and at most 1")
    about = f"given_hit_rate: got {hit_rate} with"
    if masking.looks_at_residency:
        raise DipsimError(
            f"{about} method '{masking.name}', whose masks depend on what a cache holds; choose one that does not look "
            "at it, such as 'dip'"
        )
    if policy.needs_future or getattr(policy, "keeps_nothing", False):
        raise DipsimError(f"{about} policy '{type(policy).__name__.lower()}', which stands for a hit rate of its own")
    if scope == "shared":
        raise DipsimError(f"{about} cache_scope 'shared'; each group of each layer is given its share: choose 'layer'")
    if prompt == "warm":
        raise DipsimError(f"{about} prompt 'warm'; there is no cache to be warmed: choose 'cold'")
    if prefetch not in ("none", "oracle"):
        raise DipsimError(f"{about} prefetch '{prefetch}'; no cache says what is worth reading: choose 'oracle'")


def check_shape(model: ModelSpec, recorded: ModelSpec) -> None:
    """Refuses a model that the trace's scores do not fit."""
    for name, of in _SHAPE.items():
        if of(model) != of(recorded):
            raise DipsimError(
                f"model: {name}: got {of(model)} for '{model.name}'; "
                f"the trace was recorded with {of(recorded)} ('{recorded.name}'); without a trace: dipsim estimate"
            )


def check_counts(trace: Trace, n_tokens: int, n_warm_up: int, n_positions: int) -> None:
    """Refuses more tokens than there are, nothing but warm-up, and a KV cache too short for the trace."""
    if not 1 <= n_tokens <= trace.n_tokens:
        raise DipsimError(f"tokens: got {n_tokens}; the trace has {trace.n_tokens}, at least 1 is needed")
    longest = max(min(s.stop, n_tokens) - s.start for s in trace.sequences)
    if not 0 <= n_warm_up < longest:
        raise DipsimError(
            f"warmup: got {n_warm_up}; must be at least 0 and below {longest}, the longest simulated sequence"
        )
    if n_positions < trace.n_positions:
        raise DipsimError(f"context: got {n_positions}; the trace's longest sequence has {trace.n_positions} positions")


def check_timeline_from(first_token: int, n_tokens: int) -> None:
    """Refuses to draw from a token on that is not simulated."""
    if not 0 <= first_token < n_tokens:
        raise DipsimError(
            f"timeline_from: got {first_token}; must be at least 0 and below {n_tokens}, the simulated tokens"
        )


def check_shared(scope: str, budget: str, trace: Trace, n_tokens: int, groups: Sequence[Group]) -> None:
    """Refuses sequences with more look-ups of a shared cache than can be told apart, and says that no budget counts.

    Raises:
        DipsimError: one of the sequences is too long.
    """
    if scope != "shared":
        return
    longest = 1 + max(min(s.stop, n_tokens) - s.start for s in trace.sequences)
    if (n_batches := longest * trace.model.n_layers * len(groups)) >= _MOST_BATCHES:
        raise DipsimError(
            f"cache_scope: got 'shared' with {n_batches:,} look-ups in one sequence; must be below {_MOST_BATCHES:,}"
        )
    if budget != default_of("budget"):
        warnings.warn(
            f"budget: '{budget}' divides a cache among layers and groups; with cache_scope 'shared' it does nothing",
            DipsimWarning,
            stacklevel=3,
        )


def check_prompt(given: str | None, trace: Trace) -> bool:
    """Whether prompts warm the caches: by default where the trace has their scores.

    Raises:
        DipsimError: neither `warm` nor `cold`, or warm without these scores.
    """
    prompt = choose("prompt", given or ("warm" if trace.has_prompt else "cold"), ("warm", "cold"))
    if prompt == "warm" and not trace.has_prompt:
        raise DipsimError(f"prompt: got 'warm'; {trace.path} does not say what its prompts use: choose 'cold'")
    return prompt == "warm"


def check_method(masking: Method, trace: Trace, model: ModelSpec, policy: Policy) -> None:
    """Refuses a class that is no method, an oracle of masks that depend on it, and scores that the trace lacks."""
    check_kind(masking.name, type(masking))
    if policy.needs_future and masking.looks_at_residency:
        own = (
            ""
            if ships_with_dipsim(masking)
            else ", or set its looks_at_residency = False if it does not read 'resident'"
        )
        raise DipsimError(
            f"policy: {type(policy).__name__.lower()} with method '{masking.name}'; an oracle needs the masks of the "
            f"future, and these depend on what it keeps: choose an online policy, or method 'dip'{own}"
        )
    for group in groups_of(masking, model):
        if group.site is not None and group.site not in trace.sites:
            sites = ",".join([*trace.sites, group.site])
            raise DipsimError(
                f"method '{masking.name}' needs scores at site '{group.site}', got a trace with "
                f"{', '.join(trace.sites) or 'none'}; capture them: dipsim capture MODEL TEXT --sites {sites} -o OUT"
            )
        if group.site is not None and trace.chosen_per_token is not None:
            _check_chosen(masking, group, trace, trace.chosen_per_token)


def _check_chosen(masking: Method, group: Group, trace: Trace, n_chosen: int) -> None:
    """Refuses a method that may take other columns than those whose scores the trace has."""
    known = f"trace '{trace.path}' has scores of the {n_chosen} columns alone that each token chose"
    if masking.looks_at_residency:
        raise DipsimError(
            f"method '{masking.name}' ranks all of a token's columns anew by what is resident; {known}: choose "
            "'experts', or a trace with all scores (dipsim capture, dipsim synth)"
        )
    top_k = masking.as_top_k(group)
    n_kept = masking.n_kept(group) if top_k is None else top_k.k
    if n_kept is not None and n_kept > n_chosen:
        raise DipsimError(
            f"method '{masking.name}' takes {n_kept} columns of '{group.name}' for each token; {known}: "
            f"take {n_chosen} at most (--experts-per-token {n_chosen})"
        )
