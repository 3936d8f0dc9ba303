"""What does a model compute: hooks that record scores and apply masks, and leave when done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dipsim.errors import DipsimError
from dipsim.groups import Site
from dipsim.masking import Masking
from dipsim.model import ModelSpec
from dipsim.sparsify.gated_mlp import GatedMlp

# Called with site, layer and scores, float16 [sequence, token, column].
Record = Callable[[Site, int, NDArray[np.float16]], None]
_LARGEST = 65504.0  # the largest finite float16


@contextmanager
def hooked(
    mlps: Sequence[GatedMlp],
    spec: ModelSpec,
    masking: Masking,
    sites: Sequence[str],
    n_prompt: int,
    record: Record,
) -> Iterator[None]:
    """While the body runs, every forward pass is masked and recorded. The hooks leave even when the body raises.

    Scores are recorded as the masked model computes them. At `mlp_input` and `glu` that is before the site's own mask
    (they are what the mask is chosen from), after every mask that comes earlier.

    Args:
        mlps: the model's MLPs.
        spec: its shape.
        masking: a method that does not look at residency.
        sites: sites to record.
        n_prompt: positions at the start of each sequence that are neither masked nor recorded.
        record: receives the scores.
    """
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for layer, mlp in enumerate(mlps):
            handles += _LayerHooks(mlp, layer, spec, masking, sites, n_prompt, record).attach()
        yield
    finally:
        for handle in handles:
            handle.remove()


class _LayerHooks:
    """The hooks of one layer: at the MLP's input, at the outputs of gate and up, at the input of down."""

    def __init__(
        self,
        mlp: GatedMlp,
        layer: int,
        spec: ModelSpec,
        masking: Masking,
        sites: Sequence[str],
        n_prompt: int,
        record: Record,
    ) -> None:
        self._mlp = mlp
        self._layer = layer
        self._masking = masking
        self._groups = {group.site: group for group in masking.groups(spec) if group.site is not None}
        self._sites = sites
        self._n_prompt = n_prompt
        self._record = record
        self._outputs: dict[nn.Module, Tensor] = {}

    def attach(self) -> list[torch.utils.hooks.RemovableHandle]:
        handles = [
            self._mlp.module.register_forward_pre_hook(self._at_input, with_kwargs=True),
            self._mlp.down.register_forward_pre_hook(self._at_product),
        ]
        if {"gate", "up"} & {*self._sites, *self._groups}:
            handles += [layer.register_forward_hook(self._keep_output) for layer in {self._mlp.gate, self._mlp.up}]
        return handles

    def _at_input(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            return (self._visit("mlp_input", args[0]), *args[1:]), kwargs
        name = next(iter(kwargs))
        return args, kwargs | {name: self._visit("mlp_input", kwargs[name])}

    def _keep_output(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self._outputs[module] = output

    def _at_product(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Gate and up are looked at only here: a mask from one of them decides what the other computes."""
        product = args[0]
        if self._outputs:
            # Where gate and up are one layer, the second look-up finds nothing and needs nothing.
            factors = self._mlp.factors(self._outputs.pop(self._mlp.gate), self._outputs.pop(self._mlp.up, product))
            mask = torch.ones_like(product)
            for site, factor in zip(("gate", "up"), factors, strict=True):
                if site in self._groups:
                    mask = mask * self._mask(site, self._scores(site, factor)).to(product)
            for site, factor in zip(("gate", "up"), factors, strict=True):
                self._save(site, self._scores(site, factor if site in self._groups else factor * mask))
            product = product * mask
        return (self._visit("glu", product), *args[1:])

    def _visit(self, site: Site, values: Tensor) -> Tensor:
        """Records the values at a site; returns them masked, where the method masks this site."""
        if site not in self._sites and site not in self._groups:
            return values
        scores = self._scores(site, values)
        self._save(site, scores)
        return values * self._mask(site, scores).to(values) if site in self._groups else values

    def _scores(self, site: str, values: Tensor) -> NDArray[np.float16]:
        magnitude = values.detach().abs().float()
        if not torch.isfinite(magnitude).all():
            raise DipsimError(
                f"layer {self._layer}, site '{site}': got infinite or NaN activations; a larger --dtype may help"
            )
        scores: NDArray[np.float16] = magnitude.clamp(max=_LARGEST).half().cpu().numpy()
        return scores

    def _save(self, site: Any, scores: NDArray[np.float16]) -> None:
        if site in self._sites:
            self._record(site, self._layer, scores[:, self._n_prompt :])

    def _mask(self, site: Any, scores: NDArray[np.float16]) -> Tensor:
        """bool [sequence, token, column]; the prompt is dense."""
        group = self._groups[site]
        mask = np.ones(scores.shape, np.bool_)
        bits = scores.view(np.uint16)
        nothing = np.zeros(group.n_columns, np.bool_)
        for sequence in range(scores.shape[0]):
            for t in range(self._n_prompt, scores.shape[1]):
                self._masking.select(group, bits[sequence, t], nothing, t - self._n_prompt, mask[sequence, t])
        return torch.from_numpy(mask)
