"""What does a model compute: hooks that record scores and apply masks, and leave when done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dipsim import kernels, methods
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.methods import Method
from dipsim.model import ModelSpec
from dipsim.model.groups import Group, Site
from dipsim.sparsify.gated_mlp import GatedMlp, find_gated_mlps
from dipsim.sparsify.routers import find_routers
from dipsim.sparsify.routing import Router, Routing, rerouted, routing

# Called with site, layer and scores, float16 [sequence, token, column].
Record = Callable[[Site, int, NDArray[np.float16]], None]
# Called with layer, group and the scores of one sequence, float16 bit patterns [token, column]; returns its masks.
Choose = Callable[[int, Group, Uint16Array], BoolArray]
# One network per layer that turns the MLP's input [..., d] into scores [..., f].
Predictors = Sequence[nn.Module]
# The parts of a model that scores are recorded of and masks applied to.
Parts = Sequence[GatedMlp | Router]
_LARGEST = 65504.0  # the largest finite float16


def find_parts(model: nn.Module, spec: ModelSpec) -> Parts:
    """The gated MLPs of a model, one a layer; of a mixture of experts its routers, one a layer that has experts.

    Raises:
        DipsimError: they are not all found.
    """
    if spec.mixture is None:
        return find_gated_mlps(model, spec.n_layers)
    routers = find_routers(model)
    found = [(router.layer, router.n_experts) for router in routers]
    if found != [(layer, spec.mixture.n_experts) for layer in spec.layers_with_experts]:
        raise DipsimError(
            f"model {type(model).__name__}: looked for a router of {spec.mixture.n_experts} experts in each of "
            f"{len(spec.layers_with_experts)} layers, found {len(found)}: {str(found[:4])[1:-1]} (layer, experts)"
        )
    return routers


def without_cache(masking: Method) -> Choose:
    """Masks of a method that does not look at residency."""
    return lambda layer, group, scores: methods.choose(methods.in_layer(masking, layer), group, scores, 0)


@dataclass(frozen=True)
class Plan:
    """What is to be done to every forward pass.

    Attributes:
        masking: the method.
        choose: its masks.
        sites: sites to record.
        n_prompt: positions at the start of each sequence that are neither masked nor recorded.
        predictors: for the site `predictor`.
    """

    masking: Method
    choose: Choose
    sites: Sequence[str] = ()
    n_prompt: int = 0
    predictors: Predictors = ()


def nobody(site: Site, layer: int, scores: NDArray[np.float16]) -> None:
    """Records nothing."""


@contextmanager
def hooked(parts: Parts, spec: ModelSpec, plan: Plan, record: Record = nobody) -> Iterator[None]:
    """While the body runs, every forward pass is masked and recorded. The hooks leave even when the body raises.

    Scores are recorded as the masked model computes them. At a site that the method masks that is before the site's own
    mask (they are what the mask is chosen from), after every mask that comes earlier.

    Args:
        parts: the model's MLPs or routers, as `find_parts` finds them.
        spec: its shape.
        plan: what to do.
        record: receives the scores.

    Raises:
        DipsimError: the method or the sites need predictors, and there is not one for each layer.
    """
    groups = _masked(plan.masking, spec)
    if "predictor" in {*plan.sites, *groups} and len(plan.predictors) != len(parts):
        raise DipsimError(
            f"predictor: got {len(plan.predictors)}; needed is one for each of {len(parts)} layers, "
            "by --predictor FILE: dipsim train-predictor makes it"
        )
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for layer, part in enumerate(parts):
            if isinstance(part, Router):
                handles += _RouterHooks(part, groups.get("router"), plan, record).attach()
            else:
                handles += _LayerHooks(part, layer, groups, plan, record).attach()
        yield
    finally:
        for handle in handles:
            handle.remove()


def _masked(masking: Method, spec: ModelSpec) -> dict[Site, Group]:
    """The group of each site that a method masks.

    Raises:
        DipsimError: several at one site, or the input of up or gate alone.
    """
    groups: dict[Site, Group] = {}
    for group in methods.groups_of(masking, spec):
        if group.site is None:
            continue
        if group.site in groups:
            raise DipsimError(
                f"method '{masking.name}': two groups at site '{group.site}'; a real model has one mask there"
            )
        if group.site == "mlp_input" and {*group.name.split("_")} != {"up", "gate"}:
            raise DipsimError(
                f"method '{masking.name}': group '{group.name}' at site 'mlp_input'; a real model's input is masked "
                "for up and gate alike: 'up_gate'"
            )
        groups[group.site] = group
    return groups


class _LayerHooks:
    """The hooks of one layer: at the MLP's input, at the outputs of gate and up, at the input of down."""

    def __init__(self, mlp: GatedMlp, layer: int, groups: dict[Site, Group], plan: Plan, record: Record) -> None:
        self._mlp = mlp
        self._layer = layer
        self._groups = groups
        self._plan = plan
        self._record = record
        self._wanted = {*plan.sites, *groups}
        self._outputs: dict[nn.Module, Tensor] = {}
        self._predicted: Tensor | None = None

    def attach(self) -> list[torch.utils.hooks.RemovableHandle]:
        handles = [
            self._mlp.module.register_forward_pre_hook(self._at_input, with_kwargs=True),
            self._mlp.down.register_forward_pre_hook(self._at_product),
        ]
        if {"gate", "up"} & self._wanted:
            handles += [layer.register_forward_hook(self._keep_output) for layer in {self._mlp.gate, self._mlp.up}]
        return handles

    def _at_input(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        name, x = _input(self._layer, args, kwargs)
        if "predictor" in self._wanted:
            self._predicted = self._plan.predictors[self._layer](x)
        x = self._visit("mlp_input", x, x)
        return ((x, *args[1:]), kwargs) if name is None else (args, kwargs | {name: x})

    def _keep_output(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self._outputs[module] = output

    def _at_product(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Gate and up are looked at only here: a mask from one of them decides what the other computes."""
        product = args[0]
        mask = torch.ones((), device=product.device, dtype=product.dtype)
        if self._predicted is not None:
            mask = self._visit("predictor", self._predicted, mask)
            self._predicted = None
        if self._outputs:
            # Where gate and up are one layer, the second look-up finds nothing and needs nothing.
            factors = self._mlp.factors(self._outputs.pop(self._mlp.gate), self._outputs.pop(self._mlp.up, product))
            own = dict(zip(("gate", "up"), factors, strict=True))
            for site in own.keys() & self._groups.keys():
                mask = self._visit(site, own[site], mask)
            for site in own.keys() - self._groups.keys():
                self._record_unmasked(site, own[site] * mask)
        product = product * mask if mask.ndim else product
        return (self._visit("glu", product, product), *args[1:])

    def _visit(self, site: Any, seen: Tensor, values: Tensor) -> Tensor:
        """Records what is seen at a site; returns values of its shape masked, where the method masks this site."""
        if site not in self._groups:
            self._record_unmasked(site, seen)
            return values
        scores = self._scores(site, seen)
        if site in self._plan.sites:
            self._record(site, self._layer, scores[:, self._plan.n_prompt :])
        return values * self._mask(site, scores).to(values.device)

    def _record_unmasked(self, site: Any, seen: Tensor) -> None:
        if site in self._plan.sites:
            self._record(site, self._layer, self._scores(site, seen)[:, self._plan.n_prompt :])

    def _scores(self, site: str, values: Tensor) -> NDArray[np.float16]:
        magnitude = values.detach().float().abs()
        scores: NDArray[np.float16] = magnitude.half().contiguous().cpu().numpy()
        if kernels.first_bad(scores.view(np.uint16).reshape(-1)) < 0:
            return scores
        if not magnitude.isfinite().all():
            raise DipsimError(
                f"layer {self._layer}, site '{site}': got infinite or NaN activations; a larger --dtype may help"
            )
        return magnitude.clamp(max=_LARGEST).half().cpu().numpy()  # too large for float16, and no more

    def _mask(self, site: Any, scores: NDArray[np.float16]) -> Tensor:
        """0 or 1 as bytes, by which torch multiplies three times as fast as by bool, [sequence, token, column]; the
        prompt is dense."""
        mask = np.ones(scores.shape, np.bool_)
        _choose(self._plan, self._layer, self._groups[site], scores, mask)
        return torch.from_numpy(mask.view(np.uint8))


class _RouterHooks:
    """The hooks of one mixture: at its block's input, for the shape, and at what its router answers.

    What was chosen is as the model has it, bit for bit, where the method chooses the same experts for every token.
    """

    def __init__(self, router: Router, group: Group | None, plan: Plan, record: Record) -> None:
        self._router = router
        self._group = group
        self._plan = plan
        self._record = record
        self._shape: tuple[int, ...] = ()

    def attach(self) -> list[torch.utils.hooks.RemovableHandle]:
        return [
            self._router.block.register_forward_pre_hook(self._at_input, with_kwargs=True),
            self._router.module.register_forward_hook(self._at_choice, with_kwargs=True),
        ]

    def _at_input(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._shape = _input(self._router.layer, args, kwargs)[1].shape[:2]

    def _at_choice(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], answer: Any) -> Any:
        router, plan = self._router, self._plan
        own = routing(router, args, kwargs)
        scores, mask = self._scores(own), own.own
        if "router" in plan.sites:
            self._record("router", router.layer, scores[:, plan.n_prompt :])
        if self._group is not None:
            _choose(plan, router.layer, self._group, scores, mask.reshape(scores.shape))
        return answer if (mask == own.own).all() else rerouted(router, own, mask, args, kwargs)

    def _scores(self, own: Routing) -> NDArray[np.float16]:
        """[sequence, token, expert]"""
        if len(own.scores) != (n_tokens := math.prod(self._shape)):
            raise DipsimError(f"{self._router} is given {len(own.scores)} tokens of {n_tokens}")
        if not own.scores.isfinite().all():
            raise DipsimError(f"{self._router} got infinite or NaN scores; a larger --dtype may help")
        return own.scores_in_order().reshape(*self._shape, -1)


def _input(layer: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str | None, Tensor]:
    """What a module is given, and its name where it is given by name.

    Raises:
        DipsimError: sequences are no longer told apart.
    """
    name = None if args else next(iter(kwargs))
    x: Tensor = args[0] if name is None else kwargs[name]
    if x.ndim != 3:
        raise DipsimError(
            f"layer {layer}: its MLP is given {list(x.shape)}; must be [sequence, token, column], which some "
            "mixtures of experts do not keep"
        )
    return name, x


def _choose(plan: Plan, layer: int, group: Group, scores: NDArray[np.float16], mask: BoolArray) -> None:
    """Fills a mask [sequence, token, column] but for the prompt, which stays as it is."""
    for own, masked in zip(scores.view(np.uint16), mask, strict=True):
        masked[plan.n_prompt :] = plan.choose(layer, group, own[plan.n_prompt :])
