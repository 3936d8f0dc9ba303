"""What a cache asks of its eviction policy, and how a policy is found by name.

A cache calls its policy in this order for every token (the access loop is written once, in `dipsim.cache`), and one
that all layers share for every (token, layer, group):

    foresee    only if `needs_future`
    on_scores  only if `needs_scores`, and where the group has scores
    on_access  all active columns, resident or not
    on_insert  the missed columns, all of which want to enter
    outdated   only if there is such a method: who leaves though there be room
    victims    which of the candidates leave, where room is short
    on_evict   the columns that leave, and the missed ones that were refused

A policy that ranks columns by one number derives from `ScorePolicy` and fills `priority`; one that keeps a queue
implements the protocol `Policy` itself. Either may be plain Python or call compiled code. A policy with options is a
dataclass: its fields are what `--policy-option` sets and what a result's configuration records.

In a cache that all layers share, columns are those of all layers side by side, `token` and the next uses count batches
(`place.n_batches` of them to a token), and scores of other layers are their latest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array
from dipsim.registry import Registry


@dataclass(frozen=True)
class Place:
    """Where a cache is: columns and slots of one group in one layer, or of all of them.

    Attributes:
        n_columns: columns that may be in it.
        slots: how many fit at once; as many of mean bytes, where columns differ.
        layer, group: whose they are; 0 and `shared` where all layers share the cache.
        parts: of a cache that all layers share: layer, group and number of columns, in the order of look-ups.
    """

    n_columns: int
    slots: int
    layer: int = 0
    group: str = ""
    parts: tuple[tuple[int, str, int], ...] = ()

    @property
    def n_batches(self) -> int:
        """How often a token looks columns up."""
        return max(1, len(self.parts))

    @cached_property
    def edges(self) -> tuple[int, ...]:
        """Where each part's columns begin, and where the last one's end."""
        return tuple(accumulate((n for _, _, n in self.parts), initial=0)) if self.parts else (0, self.n_columns)

    def part_at(self, token: int) -> slice:
        """The columns that are looked up at this `token`, as a policy is told it."""
        part = token % self.n_batches
        return slice(self.edges[part], self.edges[part + 1])


class Policy(Protocol):
    """What a cache asks of its policy. One instance serves one cache: that of one (layer, group), or of all.

    One that sets `keeps_nothing = True` gets no slots; no other need have that. One with a method `outdated(token)` is
    asked after `on_insert` which columns leave whether or not there is room, bool [column]; those that the token uses
    stay.
    """

    needs_future: ClassVar[bool]
    needs_scores: ClassVar[bool]

    def start(self, place: Place) -> None:
        """A new sequence: the cache is empty and nothing has been seen."""

    def foresee(self, next_use: Int32Array | Int64Array) -> None:
        """The token at which each column is next active, after this one; only called if `needs_future`. A cache of all
        layers counts look-ups instead, in int64."""

    def on_scores(self, scores: Float32Array, token: int) -> None:
        """The scores of all columns at this token, active or not; only called if `needs_scores`."""

    def on_access(self, columns: Int64Array, token: int) -> None:
        """These columns (ascending) are active at this token of the sequence, resident or not."""

    def on_insert(self, columns: Int64Array, token: int) -> None:
        """These missed columns (ascending) want to enter."""

    def on_evict(self, columns: Int64Array, token: int) -> None:
        """These columns leave the cache, or wanted to enter and were refused."""

    def victims(self, candidates: BoolArray, n_victims: int, out: BoolArray) -> None:
        """Sets `out` to exactly `n_victims` of the candidates (bool [column])."""


class ScorePolicy:
    """Evicts the lowest `priority` first; of equal ones the lower index.

    Attributes:
        priority: float64 [column], zeros at the start of a sequence. Columns outside the cache keep theirs.
    """

    needs_future: ClassVar[bool] = False
    needs_scores: ClassVar[bool] = False
    priority: Float64Array

    def start(self, place: Place) -> None:
        """Forget everything."""
        self.priority = np.zeros(place.n_columns)

    def foresee(self, next_use: Int32Array | Int64Array) -> None:
        """Ignored."""

    def on_scores(self, scores: Float32Array, token: int) -> None:
        """Ignored."""

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Update `priority` for active columns."""

    def on_insert(self, columns: Int64Array, token: int) -> None:
        """Update `priority` for entering columns."""

    def on_evict(self, columns: Int64Array, token: int) -> None:
        """Update `priority` for leaving columns."""

    def victims(self, candidates: BoolArray, n_victims: int, out: BoolArray) -> None:
        """The candidates of lowest priority.

        Raises:
            DipsimError: `priority` is no longer one number per column.
        """
        priority = priority_of(self, candidates.size)
        if np.isnan(priority).any():
            raise wrong_priority(self, candidates.size)
        kernels.choose_victims(priority, candidates, n_victims, out)


def priority_of(policy: ScorePolicy, n_columns: int) -> Float64Array:
    """A policy's priorities.

    Raises:
        DipsimError: they are no longer one number per column.
    """
    priority: Float64Array = np.ascontiguousarray(policy.priority, np.float64)
    if priority.shape != (n_columns,):
        raise wrong_priority(policy, n_columns)
    return priority


def wrong_priority(policy: ScorePolicy, n_columns: int) -> DipsimError:
    """What is said of priorities that rank nothing."""
    return DipsimError(
        f"policy {type(policy).__name__}: priority: got shape {np.shape(policy.priority)}; must be one number for each "
        f"of {n_columns} columns, and none of them NaN"
    )


_HOOKS = ("start", "foresee", "on_scores", "on_access", "on_insert", "on_evict", "victims")
_NEEDS = ("needs_future", "needs_scores", *_HOOKS)
policies: Registry[Callable[..., Policy]] = Registry("policy", entry_point_group="dipsim.policies", needs=_NEEDS)
P = TypeVar("P", bound=Callable[..., Policy])


def register_policy(name: str) -> Callable[[P], P]:
    """Decorator: the class is found under this name from now on.

    Raises:
        DipsimError: the name is taken.
    """
    return policies.register(name)  # type: ignore[return-value]


def make(name: str, **options: object) -> Policy:
    """A policy by name.

    Raises:
        DipsimError: unknown policy, an option it does not have, or a value out of range.
    """
    policy: Policy = policies.make(name, options)
    return policy


def name_and_options(policy: Policy) -> tuple[str, dict[str, Any]]:
    """The policy as plain data, such that `make(name, **options)` is the same; the class's own name where it is not
    registered."""
    return policies.name_and_options(policy)
