"""Which experts does a router choose, and what does it make of another choice: read and replaced at its own top-k.

A router ends in one top-k over all experts; what comes after it (renormalising, scaling, a bias left out again) is the
model's own code, and stays so: the router is run again, and its top-k answers what is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int64Array

_OPS = torch.ops.aten
_ACTIVATIONS: dict[Any, Callable[[Tensor], Tensor]] = {
    _OPS._softmax.default: lambda x: x.softmax(dim=-1),
    _OPS.sigmoid.default: torch.sigmoid,
}


@dataclass(frozen=True)
class Router:
    """A module that chooses experts for tokens.

    Attributes:
        layer: the transformer block that it is in.
        block: holds router and experts, and is given [sequence, token, column].
        module: the router.
        n_experts: how many it chooses from.
    """

    layer: int
    block: nn.Module
    module: nn.Module
    n_experts: int

    def __str__(self) -> str:
        return f"layer {self.layer}: its router ({type(self.module).__name__})"


@dataclass(frozen=True)
class Routing:
    """What a router made of some tokens.

    Attributes:
        ranked: what its top-k ranks, float32 [token, expert].
        chosen: the experts that it chose, [token, place], in its own order.
        scores: its probabilities, float32 [token, expert]; where it ranks by these and a bias beside them, with the
            bias, less its mean. Zero for experts that it rules out.
    """

    ranked: Tensor
    chosen: Tensor
    scores: Tensor

    @property
    def own(self) -> BoolArray:
        """The router's own choice, bool [token, expert]."""
        mask: BoolArray = np.zeros(self.ranked.shape, np.bool_)
        np.put_along_axis(mask, self.chosen.cpu().numpy(), True, axis=1)
        return mask

    def scores_in_order(self) -> NDArray[np.float16]:
        """The scores [token, expert], none of those that were not chosen as high as one that was: rounding to float16
        makes some equal, and a bias or a limit of groups may have decided otherwise than the probability.
        """
        rounded = self.scores.half().cpu().numpy().view(np.uint16).astype(np.int32)
        own = self.own
        rounded[own] = np.maximum(rounded[own], 1)
        border = np.where(own, rounded, np.iinfo(np.int32).max).min(axis=1, keepdims=True)
        return np.where(own, rounded, np.minimum(rounded, border - 1)).astype(np.uint16).view(np.float16)


def routing(router: Router, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Routing:
    """Runs a router, without its hooks, and looks.

    Args:
        router: the router.
        args, kwargs: what it is given.

    Raises:
        DipsimError: it has no top-k over all experts, or neither softmax nor sigmoid.
    """
    with _Watching(router.n_experts) as seen:
        router.module.forward(*args, **kwargs)
    if not seen.choices:
        raise DipsimError(f"{router} has no top-k over {router.n_experts} experts, at which its choice could be read")
    if seen.activation is None:
        raise DipsimError(f"{router} weighs experts neither by softmax nor by sigmoid; it has no probabilities")
    ranked, chosen = (one.detach().flatten(0, -2) for one in seen.choices[-1])
    ranked = ranked.float()
    if seen.probabilities is None:
        return Routing(ranked, chosen, _ACTIVATIONS[seen.activation](ranked))
    # Ruled out are experts of groups that are not chosen from, by 0 or minus infinity.
    allowed = (ranked != 0) & (ranked != -math.inf)
    bias = torch.where(allowed, ranked - seen.probabilities.float().view_as(ranked), 0)
    mean = bias.sum(-1, keepdim=True) / allowed.sum(-1, keepdim=True).clamp(min=1)
    return Routing(ranked, chosen, torch.where(allowed, ranked - mean, 0).clamp(min=0))


def rerouted(
    router: Router, own: Routing, mask: BoolArray, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, ...]:
    """What a router returns where other experts are chosen. Tokens whose choice is its own keep its order; where tokens
    have different numbers of experts, places are filled with the token's first expert, of weight 0.

    Args:
        router: the router; its module's hooks are not run.
        own: what it made of the same tokens by itself.
        mask: bool [token, expert], at least one of each token.
        args, kwargs: what it is given.

    Raises:
        DipsimError: it returns something of another kind than a row a token, where tokens have different numbers.
    """
    counts = mask.sum(axis=1)
    answers: dict[int, tuple[Any, ...]] = {}
    for count in np.unique(counts).tolist():
        wanted = torch.from_numpy(_in_order(own, mask, count)).to(own.chosen.device)
        with _Choosing(router.n_experts, wanted):
            answers[count] = router.module.forward(*args, **kwargs)
    if len(answers) == 1:
        (answer,) = answers.values()
        return answer
    parts = [*zip(*answers.values(), strict=True)]
    if not all(isinstance(one, Tensor) and one.ndim == 2 and len(one) == len(counts) for part in parts for one in part):
        raise DipsimError(f"{router} answers other things than a row a token; tokens must have equally many experts")
    return tuple(_joined(part, counts, [*answers]) for part in parts)


def _in_order(own: Routing, mask: BoolArray, count: int) -> Int64Array:
    """The first `count` experts of each token, [token, place]: those of its mask first, best first."""
    order: Int64Array = np.lexsort((-own.ranked.cpu().numpy(), ~mask), axis=-1)[:, :count]
    if count == own.chosen.shape[1]:
        kept = (mask == own.own).all(axis=1)
        order[kept] = own.chosen.cpu().numpy()[kept]
    return order


def _joined(parts: Sequence[Tensor], counts: Int64Array, answered: list[int]) -> Tensor:
    """One of the things that a router returns, of each token from the answer for its number of experts."""
    width = max(part.shape[1] for part in parts)
    joined: Tensor = parts[0].new_zeros(len(counts), width)
    for count, part in zip(answered, parts, strict=True):
        rows = torch.from_numpy(np.flatnonzero(counts == count)).to(part.device)
        if not part.is_floating_point():
            joined[rows] = part[rows, :1]
        joined[rows, : part.shape[1]] = part[rows]
    return joined


class _Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps what the top-ks over all experts are given and answer, and which activation is used."""

    def __init__(self, n_experts: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._n_experts = n_experts
        self.choices: list[tuple[Tensor, Tensor]] = []
        self.activation: Any = None
        self.probabilities: Tensor | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is _OPS.topk.default and args[0].shape[-1] == self._n_experts:
            self.choices.append((args[0], result[1]))
        elif func in _ACTIVATIONS and self.activation is None:
            self.activation = func
            self.probabilities = None if self.choices else result
        return result


class _Choosing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The top-k over all experts answers what is wanted, [token, place]. Where there is one before that ranks groups of
    experts, and all of them are one group, it decides nothing."""

    def __init__(self, n_experts: int, wanted: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._n_experts = n_experts
        self._wanted = wanted

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not _OPS.topk.default or args[0].shape[-1] != self._n_experts:
            return func(*args, **(kwargs or {}))
        wanted = self._wanted.view(*args[0].shape[:-1], -1)
        return args[0].gather(-1, wanted), wanted
