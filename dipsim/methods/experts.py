"""Mixtures of experts: the experts that the router likes best, or those that it likes and that are resident."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError, choose
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.methods.protocol import RULES, Method, Rule, TopK, in_full, register_method
from dipsim.model import ModelSpec
from dipsim.model.groups import Group, expert_groups


@register_method("experts")
@dataclass(frozen=True)
class Experts(Method):
    """The experts of highest router probability; shared experts and layers without a mixture are dense.

    Source: Shazeer et al., arXiv 1701.06538.

    Example: dipsim estimate olmoe-1b-7b --method experts --dram 0.6x

    Args:
        per_token: how many; by default as many as the model uses.
    """

    per_token: int | None = None
    looks_at_residency: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.per_token is not None and (not isinstance(self.per_token, int) or self.per_token < 1):
            raise DipsimError(f"per_token: got {self.per_token!r}; must be a number of experts, at least 1")

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """`experts` by `router`, then `shared_experts` and `dense_mlp` where the model has them."""
        groups = expert_groups(model)
        if self.per_token is not None and self.per_token > groups[0].n_columns:
            raise DipsimError(
                f"per_token: got {self.per_token}; '{model.name}' has {groups[0].n_columns} experts in a layer"
            )
        return replace(groups[0], per_token=self._k(groups[0])), *groups[1:]

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """The best by score."""
        kernels.reweighted_top_k(scores, resident, np.float32(1), self._k(group), kernels.ANY_THRESHOLD, mask)

    def as_top_k(self, group: Group) -> TopK | None:
        """What `select` does."""
        return TopK(self._k(group), in_full)

    def _k(self, group: Group) -> int:
        return self.per_token or group.per_token or group.n_columns


@register_method("experts-ca")
@dataclass(frozen=True)
class ExpertsCa(Experts):
    """Cache-aware routing: the groups of `experts`, with experts that are resident preferred.

    Source: as Skliar et al., arXiv 2412.00099, by the rules of arXiv 2412.01380.

    Example: dipsim estimate olmoe-1b-7b --method experts-ca --gamma 0.5 --dram 0.6x

    Args:
        per_token: how many; by default as many as the model uses.
        gamma: in [0, 1]; 1 is exactly `experts`. The rules `top-m` and `drop` have no use for it.
        rule: as of `dip-ca`, or `drop`: of the best, those that are not resident are left out where their share of the
            token's weight is below `threshold`.
        exempt_top: the best experts by raw score that are treated as if resident; `drop` never leaves out the first.
        top_m: m of the rule `top-m`, as a multiple of the experts of a token.
        threshold: of the rule `drop`, a share of the chosen experts' sum of scores, in [0, 1].
    """

    gamma: float = 0.2
    rule: Rule = "reweight"
    exempt_top: int = 0
    top_m: float = 2.0
    threshold: float = 0.1
    looks_at_residency: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gamma", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise DipsimError(f"{name}: got {getattr(self, name)}; must be in [0, 1]")
        choose("rule", self.rule, RULES)
        if self.exempt_top < 0:
            raise DipsimError(f"exempt_top: got {self.exempt_top}; must be at least 0 experts")
        if not 1 <= self.top_m < math.inf:
            raise DipsimError(f"top_m: got {self.top_m}; a multiple of the experts of a token, at least 1")
        for name, rule in (("top_m", "top-m"), ("threshold", "drop")):
            if self.rule != rule and getattr(self, name) != getattr(ExpertsCa, name):
                raise DipsimError(f"{name}: got {getattr(self, name)} with rule '{self.rule}'; only '{rule}' has it")

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """What the rule takes."""
        own = self.as_top_k(group)
        guess = np.full((kernels.N_SEARCHES, 2), kernels.ANY_THRESHOLD)
        kernels.choose_columns(scores, resident, np.float32(own.gamma_at(token)), *own.choice, guess, mask)

    def as_top_k(self, group: Group) -> TopK:
        """What `select` does."""
        k, n = self._k(group), group.n_columns
        least = self.threshold if self.rule == "drop" else self.gamma
        return TopK(k, lambda token: least, self.rule, min(self.exempt_top, n), math.floor(min(n, self.top_m * k)))
