"""What a masking method is, and how one is found by name.

A method derives from `Method` and defines two things: `groups`, which weights move together, and `select`, which of a
group's columns one token uses. It is a dataclass: its fields are its options, which results and traces record. All
else in `Method` is a hook that has a safe default.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Float32Array, Uint16Array
from dipsim.model import ModelSpec
from dipsim.model.groups import Group
from dipsim.registry import Registry

Rule = Literal["reweight", "blend", "top-m", "drop"]
RULES: tuple[Rule, ...] = get_args(Rule)  # in the order of the kernels' numbers


def in_full(token: int) -> float:
    """gamma where it is the same to be resident or not."""
    return 1.0


@dataclass(frozen=True)
class TopK:
    """A mask of k columns by one of the rules of `dip-ca`.

    Attributes:
        k: how many; at most, under the rule `drop`.
        gamma_at: gamma, in [0, 1], at a token of its sequence; under the rule `drop` the least share.
        rule: `reweight` takes the k largest of `score if resident else gamma * score`; or `blend`, `top-m` or `drop`.
        exempt: so many of the best columns are treated as if resident.
        m: `top-m` prefers what is resident among so many of the best.
    """

    k: int
    gamma_at: Callable[[int], float]
    rule: Rule = "reweight"
    exempt: int = 0
    m: int = 0

    @property
    def choice(self) -> tuple[int, int, int, int]:
        """k, rule, exempt and m, as `kernels.choose_columns` takes them."""
        return self.k, RULES.index(self.rule), self.exempt, self.m

    def gammas(self, tokens: range) -> Float32Array:
        """gamma at each of some tokens in a row, not to be written to."""
        return _gammas(self.gamma_at, tokens.start, tokens.stop)


@lru_cache(maxsize=64)  # every layer asks for those of the same tokens
def _gammas(gamma_at: Callable[[int], float], first: int, stop: int) -> Float32Array:
    return np.array([gamma_at(token) for token in range(first, stop)], np.float32)


class Method:
    """A method: its groups, and the mask of one group from this token's scores and what is resident.

    Attributes:
        looks_at_residency: whether `select` reads `resident`. True unless a method says otherwise, which is safe. Set
            it to False and masks are chosen for many tokens at once, an oracle may look ahead, and a model may be
            captured under the method; `resident` is all False then.
    """

    looks_at_residency: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The name that it is registered under; its class's where it is not."""
        return methods.name_of(self)

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """The groups of every layer, in the order in which a token needs them; see `mlp_group`."""
        raise NotImplementedError

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """Sets `mask` (bool [column], False until then) for the columns that the token uses, at least one; see `top_k`.

        Args:
            group: one of `groups` that has a site.
            scores: float16 bit patterns [column], none of them negative: whole numbers in the order of the scores;
                `scores.view(np.float16)` are the scores themselves.
            resident: bool [column], what DRAM held before the token.
            token: index in its sequence, from 0.
            mask: to be filled.
        """
        raise NotImplementedError

    def in_layer(self, layer: int) -> Self:
        """The method as it is in one layer, where layers differ."""
        return self

    def added_weights(self, model: ModelSpec) -> float:
        """Weights that the method adds to each layer (a predictor's, for example): with the bits of the MLP's, pinned,
        and used by every token."""
        return 0

    def n_kept(self, group: Group) -> int | None:
        """Columns of a masked group that every token keeps; None where that varies or is not known."""
        return None

    def as_top_k(self, group: Group) -> TopK | None:
        """What `select` does in the form that is compiled, which is many times faster; None where it is something else.

        It is asked only while it says the same as `select` for certain: a class that changes anything a class above
        does has to define its own.
        """
        return None


M = TypeVar("M", bound=type[Any])
methods: Registry[type[Any]] = Registry("method", entry_point_group="dipsim.methods")


def register_method(name: str) -> Callable[[M], M]:
    """Decorator: the class is found under this name from now on.

    Raises:
        DipsimError: the name is taken, or the class is no method.
    """

    def add(kind: M) -> M:
        check_kind(name, kind)
        methods.register(name)(kind)
        return kind

    return add


def check_kind(name: str, kind: object) -> None:
    """Refuses a class that is no method.

    Raises:
        DipsimError: it does not derive from `Method`, lacks `groups` or `select`, or its options are no dataclass's.
    """
    if not isinstance(kind, type) or not issubclass(kind, Method):
        raise DipsimError(f"method '{name}': got {kind!r}; must be a class that derives from dipsim.Method")
    if lacks := [own for own in ("groups", "select") if getattr(kind, own) is getattr(Method, own)]:
        raise DipsimError(f"method '{name}': {kind.__name__} has no {' and no '.join(lacks)}; a method has both")
    for own in kind.__mro__[: kind.__mro__.index(Method)]:
        told = {key: str(value) for key, value in inspect.get_annotations(own).items()}
        options = [key for key, value in told.items() if "ClassVar" not in value]
        if "name" in options:
            raise DipsimError(f"method '{name}': option 'name': taken by the method's own name; choose another")
        if options and "__dataclass_fields__" not in vars(own):
            raise DipsimError(
                f"method '{name}': {own.__name__} has options ({', '.join(options)}) and is no dataclass; "
                "write @dataclass above it"
            )


def make(name: str, **options: object) -> Method:
    """A method by name; options that are None count as not given.

    Raises:
        DipsimError: unknown method, an option it does not have or lacks, or a value out of range.
    """
    check_kind(name, methods[name])
    made: Method = methods.make(name, {key: value for key, value in options.items() if value is not None})
    return made


def options(masking: Method) -> dict[str, object]:
    """The method as plain data: `make(**options(masking))` is the same method."""
    name, own = methods.name_and_options(masking)
    return {"name": name, **own}


def top_k(scores: np.ndarray[Any, np.dtype[Any]], k: int, mask: BoolArray) -> None:
    """Sets `mask` to the k columns of largest score, at least one and at most all; equal scores go to the lower index.

    Args:
        scores: what `select` is given, or floats [column] that were made of them (compared as float32).
        k: how many.
        mask: bool [column], to be filled.

    Raises:
        DipsimError: scores of another kind, not one for each column, or one that is NaN.
    """
    if scores.shape != mask.shape or scores.dtype.kind not in "uf" or np.isnan(scores).any():
        raise DipsimError(
            f"top_k: scores: got {scores.dtype} of shape {scores.shape}; must be a number for each of {mask.size} "
            "columns, and none of them NaN"
        )
    if scores.dtype.kind == "f":
        patterns = (scores.astype(np.float32) + np.float32(0)).view(np.int32)  # there is but one zero
        # Of negative floats the larger has the smaller pattern.
        scores = np.where(patterns < 0, patterns ^ np.int32(0x7FFFFFFF), patterns)
    kernels.top_k(scores, max(1, min(k, scores.size)), mask)


def check_layers(name: str, values: tuple[float, ...], model: ModelSpec) -> None:
    """Refuses values that are not one for each layer."""
    if len(values) != model.n_layers:
        raise DipsimError(f"{name}: got {len(values)} values; '{model.name}' has {model.n_layers} layers")


def check_share(name: str, value: float | None) -> None:
    """Refuses what is no share of columns.

    Raises:
        DipsimError: not in (0, 1].
    """
    if value is not None and not 0 < value <= 1:
        raise DipsimError(f"{name}: got {value}; must be above 0 and at most 1")
