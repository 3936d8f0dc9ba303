"""Where are a model's gated MLPs: found by what their layers do, not by their names."""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dipsim.errors import DipsimError

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class GatedMlp:
    """down(activation(gate(x)) * up(x)), with gate and up as two layers or as the halves of one.

    Attributes:
        module: the whole MLP.
        gate: the layer that computes the gate; with `up` in its second half where they are one layer.
        up: the layer that computes the other factor; the same as `gate` where they are one layer.
        down: the layer that reads the product.
        activation: applied to the gate.
    """

    module: nn.Module
    gate: nn.Linear
    up: nn.Linear
    down: nn.Linear
    activation: Activation

    def factors(self, gate_output: Tensor, up_output: Tensor) -> tuple[Tensor, Tensor]:
        """Both factors of the product, (activation(W_gate x), W_up x), from what the layers returned."""
        if self.gate is self.up:
            gate_output, up_output = gate_output.chunk(2, dim=-1)
        return self.activation(gate_output), up_output


def find_gated_mlps(model: nn.Module, n_layers: int) -> list[GatedMlp]:
    """The gated MLPs of a model, in the order of its layers.

    A module is one if it holds two layers d -> f (or one d -> 2f) and one f -> d, and if a probe shows that the last
    one reads activation(gate) * up.

    Raises:
        DipsimError: not exactly one per layer; the message says what was looked for and found.
    """
    found = [mlp for module in model.modules() if (mlp := _as_gated_mlp(module)) is not None]
    if len(found) != n_layers:
        raise DipsimError(
            f"model {type(model).__name__}: looked for one gated MLP in each of {n_layers} layers (two linear layers "
            f"d -> f or one d -> 2f, an activation, one f -> d), found {len(found)}; modules that hold linear layers: "
            f"{_holders(model)}"
        )
    return found


def _as_gated_mlp(module: nn.Module) -> GatedMlp | None:
    linears = [cast(nn.Linear, child) for child in module.children() if _is_linear(child)]
    for down in linears:
        others = [layer for layer in linears if layer is not down]
        d, f = down.out_features, down.in_features
        shapes = [(layer.in_features, layer.out_features) for layer in others]
        if shapes == [(d, f), (d, f)]:
            pairs = [(others[0], others[1]), (others[1], others[0])]
        elif shapes == [(d, 2 * f)]:
            pairs = [(others[0], others[0])]
        else:
            continue
        candidates = [GatedMlp(module, *pair, down, act) for pair in pairs for act in _activations(module)]
        if (found := next((mlp for mlp in candidates if _computes_product(mlp)), None)) is not None:
            return found
    return None


def _is_linear(module: nn.Module) -> bool:
    """Also one that an adapter wraps: peft's wrapper keeps it as `base_layer` and shows its shape and its weight."""
    return isinstance(getattr(module, "base_layer", module), nn.Linear)


def _activations(module: nn.Module) -> Iterator[Activation]:
    """Children without weights, functions kept as attributes, and what a `forward` may call without keeping it."""
    for child in module.children():
        if not _is_linear(child) and not list(child.parameters()):
            yield child
    for value in vars(module).values():
        if inspect.isfunction(value) or inspect.isbuiltin(value):
            yield value
    yield from (functional.silu, functional.gelu, partial(functional.gelu, approximate="tanh"), functional.relu)


class _Seen(Exception):  # noqa: N818 - no error
    """The last layer was reached: no more needs to be computed."""


@torch.no_grad()
def _computes_product(mlp: GatedMlp) -> bool:
    """Runs the module, its first layers answering random numbers, and looks whether its last layer is given
    activation(gate) * up. The weights do not matter, so that there need not be any (torch's meta device)."""
    generator = torch.Generator().manual_seed(0)
    weight = mlp.down.weight
    device = "cpu" if weight.is_meta else weight.device
    dtype = torch.get_default_dtype() if weight.is_meta else weight.dtype
    answers = {
        layer: torch.randn(1, 1, layer.out_features, generator=generator, device="cpu").to(device, dtype)
        for layer in dict.fromkeys([mlp.gate, mlp.up])
    }
    seen: list[Tensor] = []

    def stop(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append(args[0])
        raise _Seen

    handles = [layer.register_forward_hook(lambda layer, *_: answers[layer].clone()) for layer in answers]
    handles.append(mlp.down.register_forward_pre_hook(stop))
    try:
        with contextlib.suppress(_Seen):
            mlp.module(torch.zeros(1, 1, mlp.down.out_features, device=weight.device, dtype=dtype))
        gate, up = mlp.factors(answers[mlp.gate], answers[mlp.up])
        product = (gate * up).float()
        return torch.allclose(product, seen[0].float(), rtol=0.02, atol=0.02 * float(product.abs().max()))
    except Exception:  # it wants other arguments, or computes something else, so it is no plain MLP
        return False
    finally:
        for handle in handles:
            handle.remove()


def _holders(model: nn.Module) -> str:
    names = Counter(
        f"{type(module).__name__}({', '.join(names)})"
        for module in model.modules()
        if (names := [name for name, child in module.named_children() if _is_linear(child)])
    )
    return "; ".join(f"{count} x {name}" for name, count in names.most_common(4)) or "none"
