"""Where are a mixture's routers: found by what they compute, not by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dipsim.errors import DipsimError
from dipsim.sparsify.routing import Router, rerouted, routing


def find_routers(model: nn.Module) -> list[Router]:
    """The routers of a model's mixtures, in the order of its layers.

    Experts are a module that keeps its matrices stacked, [expert, row, column]. Their router stands beside them, has
    weights for each expert, and a probe shows that it takes another choice at its top-k.

    Raises:
        DipsimError: there are none, or experts without such a router.
    """
    found = []
    for name, experts in model.named_modules():
        if n_experts := _n_experts(experts):
            block, numbers = model.get_submodule(name.rpartition(".")[0]), re.findall(r"(?<=\.)\d+(?=\.)", name)
            layer = int(numbers[0]) if numbers else 0
            beside = [Router(layer, block, module, n_experts) for module in _beside(experts, block, n_experts)]
            router = next((one for one in beside if _chooses(one)), None)
            if router is None:
                raise DipsimError(
                    f"model {type(model).__name__}: {name} ({type(experts).__name__}): looked beside it for a router "
                    f"that chooses among its {n_experts} experts by one top-k, whose choice can be replaced; found none"
                )
            found.append(router)
    if not found:
        raise DipsimError(
            f"model {type(model).__name__}: looked for experts, modules that keep matrices stacked as "
            "[expert, row, column]; found none"
        )
    return found


def _n_experts(module: nn.Module) -> int | None:
    stacked = [weight.shape[0] for weight in module.parameters(recurse=False) if weight.ndim == 3]
    return stacked[0] if len(stacked) > 1 and len({*stacked}) == 1 else None


def _beside(experts: nn.Module, block: nn.Module, n_experts: int) -> Iterator[nn.Module]:
    """Modules of a block with weights for each expert, inner ones first."""
    for module in reversed([*block.modules()]):
        inside = {*module.modules()}
        weights = (weight.shape for weight in module.parameters())
        if experts not in inside and any(len(shape) == 2 and shape[0] == n_experts for shape in weights):
            yield module


@torch.no_grad()
def _chooses(router: Router) -> bool:
    """Gives it two tokens, has the second choose other experts, and looks whether it says so."""
    weight = next(weight for weight in router.module.parameters() if weight.ndim == 2)
    x = torch.randn(2, weight.shape[1], generator=torch.Generator().manual_seed(0), device="cpu").to(weight)
    try:
        own = routing(router, (x,), {})
        wanted = own.own
        wanted[1] = np.roll(wanted[1], 1)
        answer = rerouted(router, own, wanted, (x,), {})
        return any(_tells(part, torch.from_numpy(wanted)) for part in answer)
    except Exception:  # it wants other arguments, or computes something else
        return False


def _tells(part: Any, wanted: Tensor) -> bool:
    """Whether a part of a router's answer is this choice: indices [token, place], or weights that are 0 for others."""
    if not isinstance(part, Tensor) or part.ndim != 2 or len(part) != len(wanted):
        return False
    if not part.is_floating_point():
        return torch.equal(torch.zeros_like(wanted).scatter_(1, part.cpu(), True), wanted)
    return torch.equal(part.cpu() != 0, wanted)
