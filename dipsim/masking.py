"""Which columns does a token use: the methods, their groups of weights and the mask from scores and residency."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, cast

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError, choose, suggestion
from dipsim.groups import Group, Site, mlp_group
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.model import ModelSpec
from dipsim.registry import Registry


class Masking(Protocol):
    """A method: its groups, and the mask of one group from this token's scores and what is resident.

    Implement it as a dataclass: its fields are the options that results and traces record. Set `looks_at_residency` if
    `select` reads `resident`; an oracle cannot look ahead of such a method.
    """

    name: ClassVar[str]
    looks_at_residency: ClassVar[bool]

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """The groups of every layer, in the order in which a token needs them."""

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """Sets `mask` (bool [column], at least one column) for a masked group.

        Args:
            group: one of `groups` that has a site.
            scores: float16 bit patterns [column].
            resident: bool [column], what DRAM held before the token.
            token: index in its sequence, from 0.
            mask: to be filled.
        """


methods: Registry[type[Any]] = Registry("method")


def make(name: str, **options: object) -> Masking:
    """A method by name; options that are None count as not given.

    Raises:
        DipsimError: unknown method, an option it does not have, or a value out of range.
    """
    kind = methods[name]
    given = {key: value for key, value in options.items() if value is not None}
    known = [field.name for field in dataclasses.fields(kind)]
    for key in given:
        if key not in known:
            raise DipsimError(f"{key}: method '{name}' has no such option{suggestion(key, known)}")
    masking: Masking = kind(**given)
    return masking


def options(masking: Masking) -> dict[str, object]:
    """The method as plain data: `make(**options(masking))` is the same method."""
    return {"name": masking.name, **dataclasses.asdict(masking)}  # type: ignore[call-overload]


def n_kept(keep: float, n_columns: int) -> int:
    """Columns a top-k keeps: max(1, floor(keep * n))."""
    return min(n_columns, max(1, math.floor(keep * n_columns)))


def split_density(density: float) -> tuple[float, float]:
    """The keeps (mlp_input, glu) of `dip` for one density: logit(keep_in) = 0.98499 logit(D) + 0.29976 and
    keep_glu = 3 D - 2 keep_in (arXiv 2412.01380, density allocation)."""
    if density >= 1:
        return 1.0, 1.0
    logit = 0.98499 * math.log(density / (1 - density)) + 0.29976
    keep_input = 1 / (1 + math.exp(-logit))
    return keep_input, max(0.0, 3 * density - 2 * keep_input)


def _check_share(name: str, value: float | None) -> None:
    if value is not None and not 0 < value <= 1:
        raise DipsimError(f"{name}: got {value}; must be above 0 and at most 1")


@methods.register("dense")
@dataclass(frozen=True)
class Dense:
    """All columns of every matrix: the baseline that streams what is not resident."""

    name: ClassVar[str] = "dense"
    looks_at_residency: ClassVar[bool] = False

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """`up_gate` and `down`, both dense."""
        return mlp_group(model, "up_gate", None), mlp_group(model, "down", None)

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """Every column."""
        mask[:] = True


@dataclass(frozen=True)
class _OneSite:
    """A dense group, then one masked by top-k at a single site."""

    density: float | None = None
    keep: float | None = None
    name: ClassVar[str]
    dense_group: ClassVar[str]
    masked_group: ClassVar[str]
    site: ClassVar[Site]
    looks_at_residency: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_share("density", self.density)
        _check_share("keep", self.keep)
        if (self.density is None) == (self.keep is None):
            raise DipsimError(
                f"method '{self.name}': give a density above {self._dense_share:.4f} (some matrices stay dense), "
                "or else a keep, but not both"
            )
        if self.density is not None and self.density <= self._dense_share:
            raise DipsimError(
                f"density: got {self.density}; method '{self.name}' keeps {self.dense_group.replace('_', ' and ')} "
                f"dense, so its density is above {self._dense_share:.4f}"
            )

    @property
    def _dense_share(self) -> float:
        return len(self.dense_group.split("_")) / 3

    @property
    def masked_keep(self) -> float:
        """Share of columns kept at the masked group."""
        if self.density is None:
            return cast(float, self.keep)
        return (self.density - self._dense_share) / (1 - self._dense_share)

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """The dense group, then the masked one."""
        return mlp_group(model, self.dense_group, None), mlp_group(model, self.masked_group, self.site)

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """The top-k of the scores."""
        kernels.top_k(scores, n_kept(self.masked_keep, group.n_columns), mask)


@methods.register("glu")
@dataclass(frozen=True)
class Glu(_OneSite):
    """Up and gate dense; `down` by the magnitude of what it multiplies."""

    name: ClassVar[str] = "glu"
    dense_group: ClassVar[str] = "up_gate"
    masked_group: ClassVar[str] = "down"
    site: ClassVar[Site] = "glu"


@methods.register("gate")
@dataclass(frozen=True)
class Gate(_OneSite):
    """Gate dense; `up` and `down` by the gate's activation."""

    name: ClassVar[str] = "gate"
    dense_group: ClassVar[str] = "gate"
    masked_group: ClassVar[str] = "up_down"
    site: ClassVar[Site] = "gate"


@methods.register("up")
@dataclass(frozen=True)
class Up(_OneSite):
    """Up dense; `gate` and `down` by the up projection."""

    name: ClassVar[str] = "up"
    dense_group: ClassVar[str] = "up"
    masked_group: ClassVar[str] = "gate_down"
    site: ClassVar[Site] = "up"


@methods.register("dip")
@dataclass(frozen=True)
class Dip:
    """Dynamic Input Pruning: `up_gate` by the MLP's input, `down` by the product that enters it.

    Args:
        density: active share of the three matrices, split into two keeps by `split_density`.
        keep_input, keep_glu: the two keeps, given instead of a density.
    """

    density: float | None = None
    keep_input: float | None = None
    keep_glu: float | None = None
    name: ClassVar[str] = "dip"
    looks_at_residency: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("density", "keep_input", "keep_glu"):
            _check_share(name, getattr(self, name))
        keeps = (self.keep_input, self.keep_glu)
        if (self.density is None) == (None in keeps) or (self.density is not None and any(keeps)):
            raise DipsimError(f"method '{self.name}': give density, or else both keep_input and keep_glu")

    @property
    def keeps(self) -> tuple[float, float]:
        """The keeps at `mlp_input` and `glu`."""
        if self.density is None:
            return cast(float, self.keep_input), cast(float, self.keep_glu)
        return split_density(self.density)

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """`up_gate` by `mlp_input`, `down` by `glu`."""
        return mlp_group(model, "up_gate", "mlp_input"), mlp_group(model, "down", "glu")

    def n_kept(self, group: Group) -> int:
        """Columns of the group that every token keeps."""
        return n_kept(self.keeps[group.site == "glu"], group.n_columns)

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """The top-k of the scores."""
        kernels.top_k(scores, self.n_kept(group), mask)


@methods.register("dip-ca")
@dataclass(frozen=True)
class DipCa(Dip):
    """Cache-aware DIP: the groups of `dip`, with columns that are resident preferred.

    Args:
        gamma: in [0, 1]; 1 is exactly `dip`, 0.2 the published setting. The rule `top-m` has no use for it.
        rule: `reweight` (score if resident else gamma * score), `blend` (gamma * score / max(score) +
            (1 - gamma) * resident) or `top-m` (resident columns among the best m are taken before others).
        exempt_top: the best columns by raw score that are treated as if resident.
        warm_up: let gamma start at 1 and decay: 1 - (1 - gamma)(1 - gamma ** (t / 4)) at token t of a sequence.
        top_m: m of the rule `top-m`, as a multiple of k.
    """

    gamma: float = 0.2
    rule: Literal["reweight", "blend", "top-m"] = "reweight"
    exempt_top: int = 0
    warm_up: bool = False
    top_m: float = 2.0
    name: ClassVar[str] = "dip-ca"
    looks_at_residency: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gamma <= 1:
            raise DipsimError(f"gamma: got {self.gamma}; must be in [0, 1]")
        choose("rule", self.rule, ("reweight", "blend", "top-m"))
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
        """The top-k of the reweighted scores."""
        k = self.n_kept(group)
        if self.rule == "top-m":
            kernels.top_k(self._class_keys(scores, resident, k), k, mask)
            return
        keys = np.empty(scores.size, np.int32)
        reweigh = kernels.reweighted_keys if self.rule == "reweight" else kernels.blended_keys
        reweigh(scores, self._favoured(scores, resident), np.float32(self.gamma_at(token)), keys)
        kernels.top_k(keys, k, mask)

    def _favoured(self, scores: Uint16Array, resident: BoolArray) -> BoolArray:
        return resident | _best(scores, self.exempt_top) if self.exempt_top else resident

    def _class_keys(self, scores: Uint16Array, resident: BoolArray, k: int) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Places in order: exempt, top-k and resident, top-m and resident, top-k not resident, the rest."""
        in_k = _best(scores, k)
        in_m = _best(scores, math.floor(min(scores.size, self.top_m * k)))
        classes = in_k.astype(np.uint8)
        classes[in_m & resident] = 2
        classes[in_k & resident] = 3
        classes[_best(scores, self.exempt_top)] = 4
        keys = np.empty(scores.size, np.int32)
        kernels.ranked_keys(scores, classes, keys)
        return keys


def _best(scores: Uint16Array, n: int) -> BoolArray:
    chosen = np.empty(scores.size, np.bool_)
    kernels.top_k(scores, min(n, scores.size), chosen)
    return chosen
