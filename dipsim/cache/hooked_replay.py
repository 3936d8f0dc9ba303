"""One (layer, group) with a policy or a method of somebody's own, whose hooks are compiled: equal to `PlainReplay`."""

from __future__ import annotations

from typing import Any

import numpy as np

from dipsim import kernels
from dipsim.cache.replay import Replay, Tokens, Usage, arrays_for
from dipsim.cache.weight_cache import Admission, ranking_by_priority
from dipsim.hooks import compiled, compiled_hook
from dipsim.kernels import Float64Array, Int64Array, Uint64Array, hooks
from dipsim.kernels.hooked_replay import EMPTY_MASK, NO_NUMBER
from dipsim.methods import Method, TopK, check_mask
from dipsim.model.groups import Group
from dipsim.policies import Fifo, Lfu, LfuInCache, Lru, Place, Policy, ScorePolicy, priority_of, wrong_priority
from dipsim.registry import blaming

_HOOKS = ("on_access", "on_insert", "on_evict")
# The hooks of these very classes, where a method of somebody's own meets them.
_KNOWN: dict[type, dict[str, Any]] = {
    Lru: {"on_access": hooks.stamp},
    Lfu: {"on_access": hooks.count},
    LfuInCache: {"on_access": hooks.count, "on_evict": hooks.forget},
    Fifo: {"on_insert": hooks.stamp},
}
_NO_OPTIONS: Float64Array = np.empty(0)


class HookedReplay(Replay):
    """A policy and a method that compiled code calls; a method without a compiled `select` is a top-k or dense."""

    def __init__(
        self, place: Place, policy: ScorePolicy, admission: Admission, masking: Method, group: Group, top_k: TopK | None
    ) -> None:
        self._place, self._policy, self._masking, self._group = place, policy, masking, group
        self._bypasses = admission == "priority"
        self._top_k = top_k
        self._select = None if top_k is not None or group.site is None else compiled_hook(masking, "select")
        self._hooks = {name: hook for name in _HOOKS if (hook := compiled_hook(policy, name)) is not None}
        self._resident: Uint64Array = np.zeros((place.n_columns + 63) // 64, np.uint64)
        self._guess: Int64Array = np.full((1 + kernels.N_SEARCHES, 2), kernels.ANY_THRESHOLD, np.int64)
        self._span: Int64Array = np.zeros(2, np.int64)
        self._called = self._compiled()
        told = {*self._hooks, *_KNOWN.get(type(policy), {})}
        self._tells = tuple(name in told for name in _HOOKS)
        self.start()

    def _compiled(self) -> tuple[Any, ...]:
        """`select`, then the policy's hooks, as kernels take them."""
        known = _KNOWN.get(type(self._policy), {})
        called = [
            self._hooks[name].hook if name in self._hooks else hooks.own_hook(known.get(name, hooks.nothing))
            for name in _HOOKS
        ]
        return hooks.own_hook(hooks.no_mask, True) if self._select is None else self._select.hook, *called

    def start(self) -> None:
        """The cache is empty."""
        self._n_before = 0
        self._resident[:] = 0
        with blaming(self._policy, lambda: f"policy {type(self._policy).__name__}: start"):
            self._policy.start(self._place)

    def run(self, tokens: Tokens) -> Usage:
        """See `Replay`."""
        n_columns, selects = self._place.n_columns, self._select is not None and tokens.masks is None
        if tokens.first_token < 0:
            self._n_before = 1
        arrays = arrays_for(tokens, n_columns, self._top_k)
        self._policy.priority = priority_of(self._policy, n_columns)
        blamed = self._policy if self._hooks else self._masking
        with blaming(blamed, self._who):
            found = kernels.replay_hooked(
                *(*self._called, selects, *self._tells, _options(self._select, self._masking)),
                *(_options(self._hooks.get(name), self._policy) for name in _HOOKS),
                *(np.require(arrays.scores, requirements=("C", "W")), arrays.gammas, *arrays.choice),
                *(self._policy.priority, self._bypasses, self._place.slots, tokens.first_token, self._n_before),
                *(self._resident, self._guess, self._span, *arrays.filled),
            )
        if found == EMPTY_MASK:
            check_mask(self._masking, self._group, np.zeros(n_columns, np.bool_))
        if found == NO_NUMBER:
            raise wrong_priority(self._policy, n_columns)
        return arrays.usage(n_columns)

    def _who(self) -> str:
        """Whose code runs, in messages."""
        return f"policy {type(self._policy).__name__}" if self._hooks else f"method '{self._masking.name}': select"


def _options(hook: compiled | None, owner: object) -> Float64Array:
    return _NO_OPTIONS if hook is None else hook.options(owner)


def hooked_replay(
    place: Place, policy: Policy, admission: Admission, masking: Method, group: Group, top_k: TopK | None
) -> HookedReplay | None:
    """None where a hook is Python code that has to be called."""
    own = ranking_by_priority(policy)
    if own is None or own.needs_future or own.needs_scores or hasattr(own, "outdated"):
        return None
    if not (type(own) in _KNOWN or all(_is_called(own, name) for name in _HOOKS)):
        return None
    if group.site is not None and top_k is None and compiled_hook(masking, "select") is None:
        return None
    return HookedReplay(place, own, admission, masking, group, top_k)


def _is_called(policy: ScorePolicy, name: str) -> bool:
    """Whether compiled code can call the hook, or need not."""
    is_inherited = getattr(type(policy), name) is getattr(ScorePolicy, name) and name not in vars(policy)
    return is_inherited or compiled_hook(policy, name) is not None
