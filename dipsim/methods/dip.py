"""Dynamic Input Pruning and its cache-aware variant (arXiv 2412.01380)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, cast

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError, choose
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.methods.protocol import RULES, Method, Rule, TopK, check_layers, check_share, in_full, register_method
from dipsim.model import ModelSpec
from dipsim.model.groups import Group, mlp_group, n_kept


def split_density(density: float) -> tuple[float, float]:
    """The keeps (mlp_input, glu) of `dip` for one density: logit(keep_in) = 0.98499 logit(D) + 0.29976 and
    keep_glu = 3 D - 2 keep_in (arXiv 2412.01380, density allocation)."""
    if density >= 1:
        return 1.0, 1.0
    logit = 0.98499 * math.log(density / (1 - density)) + 0.29976
    keep_input = 1 / (1 + math.exp(-logit))
    return keep_input, max(0.0, 3 * density - 2 * keep_input)


@register_method("dip")
@dataclass(frozen=True)
class Dip(Method):
    """Dynamic Input Pruning: `up_gate` by the MLP's input, `down` by the product that enters it.

    Source: arXiv 2412.01380.

    Args:
        density: active share of the three matrices, split into two keeps by `split_density`.
        keep_input, keep_glu: the two keeps, given instead of a density; one number each, or one for each layer.
    """

    density: float | None = None
    keep_input: float | tuple[float, ...] | None = None
    keep_glu: float | tuple[float, ...] | None = None
    looks_at_residency: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_share("density", self.density)
        for name in ("keep_input", "keep_glu"):
            keep = getattr(self, name)
            if isinstance(keep, Sequence):  # a list, as it comes from JSON
                object.__setattr__(self, name, tuple(keep))
            for share in keep if isinstance(keep, Sequence) else (keep,):
                check_share(name, share)
        keeps = self.keep_input, self.keep_glu
        given = [keep is not None for keep in keeps]
        if (any(given) if self.density is not None else not all(given)) or len({_n_layers(k) for k in keeps}) > 1:
            raise DipsimError(
                f"method '{self.name}': give density, or else both keep_input and keep_glu, both with as many values"
            )

    @property
    def keeps(self) -> tuple[float, float]:
        """The keeps at `mlp_input` and `glu`; where layers differ, ask for them `in_layer`."""
        if self.density is not None:
            return split_density(self.density)
        if _n_layers(self.keep_input):
            raise ValueError("keeps differ by layer: ask in_layer(...)")
        return cast(float, self.keep_input), cast(float, self.keep_glu)

    def in_layer(self, layer: int) -> Self:
        """The method with the keeps of one layer."""
        if not (isinstance(self.keep_input, tuple) and isinstance(self.keep_glu, tuple)):
            return self
        return replace(self, keep_input=self.keep_input[layer], keep_glu=self.keep_glu[layer])

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """`up_gate` by `mlp_input`, `down` by `glu`."""
        if isinstance(self.keep_input, tuple):
            check_layers("keep_input", self.keep_input, model)
        return mlp_group(model, "up_gate", "mlp_input"), mlp_group(model, "down", "glu")

    def n_kept(self, group: Group) -> int:
        """Columns of the group that every token keeps."""
        return n_kept(self.keeps[group.site == "glu"], group.n_columns)

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """The top-k of the scores."""
        kernels.reweighted_top_k(scores, resident, np.float32(1), self.n_kept(group), kernels.ANY_THRESHOLD, mask)

    def as_top_k(self, group: Group) -> TopK | None:
        """What `select` does; None where that is something else."""
        return TopK(self.n_kept(group), in_full)


@register_method("dip-ca")
@dataclass(frozen=True)
class DipCa(Dip):
    """Cache-aware DIP: the groups of `dip`, with columns that are resident preferred.

    Source: arXiv 2412.01380.

    Args:
        gamma: in [0, 1]; 1 is exactly `dip`, 0.2 the published setting. The rule `top-m` has no use for it.
        rule: `reweight` (score if resident else gamma * score), `blend` (gamma * score / max(score) +
            (1 - gamma) * resident) or `top-m` (resident columns among the best m are taken before others).
        exempt_top: the best columns by raw score that are treated as if resident.
        warm_up: let gamma start at 1 and decay: 1 - (1 - gamma)(1 - gamma ** (t / 4)) at token t of a sequence.
        top_m: m of the rule `top-m`, as a multiple of k.
    """

    gamma: float = 0.2
    rule: Rule = "reweight"
    exempt_top: int = 0
    warm_up: bool = False
    top_m: float = 2.0
    looks_at_residency: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gamma <= 1:
            raise DipsimError(f"gamma: got {self.gamma}; must be in [0, 1]")
        choose("rule", self.rule, RULES[:3])  # one that drops columns has no density
        if self.exempt_top < 0:
            raise DipsimError(f"exempt_top: got {self.exempt_top}; must be at least 0 columns")
        if not 1 <= self.top_m < math.inf:
            raise DipsimError(f"top_m: got {self.top_m}; a multiple of k, at least 1")
        if self.rule != "top-m" and self.top_m != DipCa.top_m:
            raise DipsimError(f"top_m: got {self.top_m} with rule '{self.rule}'; only rule 'top-m' has it")

    def gamma_at(self, token: int) -> float:
        """gamma at a token of its sequence, warm-up included."""
        if not self.warm_up:
            return self.gamma
        return 1 - (1 - self.gamma) * (1 - math.pow(self.gamma, token / 4))

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """What the rule takes."""
        own, gamma = self.as_top_k(group), np.float32(self.gamma_at(token))
        guess = np.full((kernels.N_SEARCHES, 2), kernels.ANY_THRESHOLD)
        kernels.choose_columns(scores, resident, gamma, *own.choice, guess, mask)

    def n_kept(self, group: Group) -> int:
        """As many as `dip`, whatever the rule."""
        return super().n_kept(group)

    def as_top_k(self, group: Group) -> TopK:
        """What `select` does."""
        k, n = self.n_kept(group), group.n_columns
        return TopK(k, self.gamma_at, self.rule, min(self.exempt_top, n), math.floor(min(n, self.top_m * k)))


def _n_layers(keep: float | tuple[float, ...] | None) -> int:
    """Layers that a keep is given for; 0 for one number or none."""
    return len(keep) if isinstance(keep, tuple) else 0
