"""What does a mask do to each layer of a model: how far the MLP's output is off, and what its scores say of that."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dipsim import Simulation
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.methods import MagnitudePruning, Method
from dipsim.model.groups import Group
from dipsim.sparsify.gated_mlp import GatedMlp, find_gated_mlps
from dipsim.sparsify.hooks import Choose
from dipsim.sparsify.loading import LoadedModel


class Watch:
    """While the body runs, what is seen is summed up over tokens.

    Attributes:
        seen: name -> one mean a layer. `error`: ||y masked - y|| / ||y||, y the MLP's output for the input at hand;
            `error_of_stream`: the same over the norm of what the layer returns; `magnitude.SITE`, `energy.SITE`: share
            of scores, and of their squares, that the mask keeps.
    """

    def __init__(self, loaded: LoadedModel, masking: Method, is_on: bool) -> None:
        self._is_on = is_on
        self._sums: dict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in range(loaded.spec.n_layers)])
        self._mlps = find_gated_mlps(loaded.model, loaded.spec.n_layers) if is_on else []
        self._layers = loaded.model.base_model.layers if is_on else []
        changed = isinstance(masking, MagnitudePruning)
        self._weights = [[w.detach().clone() if changed else w for w in _weights(mlp)] for mlp in self._mlps]
        self._inputs: dict[int, Tensor] = {}
        self._errors: dict[int, Tensor] = {}
        self._handles = ExitStack()

    @property
    def seen(self) -> dict[str, list[float]]:
        return {name: [float(np.mean(own)) if own else 0.0 for own in layers] for name, layers in self._sums.items()}

    def __enter__(self) -> Self:
        for layer, (mlp, whole) in enumerate(zip(self._mlps, self._layers, strict=True)):
            for handle in self._hooks(layer, mlp, whole):
                self._handles.callback(handle.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Looks no more."""
        self._handles.close()
        self._is_on = False

    def _hooks(self, layer: int, mlp: GatedMlp, whole: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            self._inputs[layer] = args[0]

        def after(module: nn.Module, args: object, output: Tensor) -> None:
            gate, up, down = self._weights[layer]
            x = self._inputs.pop(layer)
            gated, other = mlp.factors(functional.linear(x, gate, mlp.gate.bias), functional.linear(x, up, mlp.up.bias))
            full = functional.linear(gated * other, down, mlp.down.bias)
            self._errors[layer] = (output - full).norm(dim=-1)
            self._add("error", layer, self._errors[layer] / full.norm(dim=-1))

        def at_end(module: nn.Module, args: object, output: Any) -> None:
            stream = output if isinstance(output, Tensor) else output[0]
            self._add("error_of_stream", layer, self._errors.pop(layer) / stream.norm(dim=-1))

        module = mlp.module
        return [
            module.register_forward_pre_hook(before),
            module.register_forward_hook(after),
            whole.register_forward_hook(at_end),
        ]

    def _add(self, name: str, layer: int, values: Tensor | NDArray[np.float32]) -> None:
        self._sums[name][layer] += values.reshape(-1).tolist()

    def around(self, run: Simulation) -> Simulation:
        """The same run, whose masks are looked at."""
        return _Watched(run, self._look) if self._is_on else run  # type: ignore[return-value]

    def _look(self, layer: int, group: Group, scores: Uint16Array, mask: BoolArray) -> None:
        if not self._is_on:
            return
        values = scores.view(np.float16).astype(np.float32)
        kept = np.where(mask, values, 0)
        self._add(f"magnitude.{group.site}", layer, kept.sum(1) / values.sum(1))
        self._add(f"energy.{group.site}", layer, (kept**2).sum(1) / (values**2).sum(1))


def _weights(mlp: GatedMlp) -> tuple[Tensor, Tensor, Tensor]:
    return mlp.gate.weight, mlp.up.weight, mlp.down.weight


class _Watched:
    """A run as it is, but for its masks, which somebody sees."""

    def __init__(self, run: Simulation, look: Any) -> None:
        self._run, self._look = run, look

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def loop_masks(self) -> Choose:
        choose = self._run.loop_masks()

        def seen(layer: int, group: Group, scores: Uint16Array) -> BoolArray:
            mask = choose(layer, group, scores)
            self._look(layer, group, scores, mask)
            return mask

        return seen
