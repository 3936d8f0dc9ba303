"""How does compiled code call what somebody else has written? By its address, whoever wrote it: nothing else is
compiled anew."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import Any

import numba
import numpy as np
from numba import types
from numba.np.unsafe.ndarray import to_fixed_tuple

from dipsim.kernels.compiled_code import entry

CannotCompile: type[Exception] = numba.core.errors.NumbaError
_TOKENS = 2.0**26  # of a use count and a token's index in one number
_PRIORITY = _OPTIONS = types.float64[::1]
_MASK = types.boolean[::1]
# A policy's hook takes priorities, columns, the token and options; a method's `select` scores, what is resident, the
# token, the mask and options.
ON_COLUMNS = types.void(_PRIORITY, types.int64[::1], types.int64, _OPTIONS)
ON_SCORES = types.void(types.uint16[::1], _MASK, types.int64, _MASK, _OPTIONS)
_COMPILING = Lock()


def compile_once(function: Any, signature: Any) -> Any:
    """The function, compiled for one signature and no other, whichever thread comes first."""
    with _COMPILING:
        if not function.signatures:
            with warnings.catch_warnings():  # functions as arguments are new to numba
                warnings.simplefilter("ignore", numba.core.errors.NumbaExperimentalFeatureWarning)
                function.compile(signature)
            function.disable_compile()
    return function


@lru_cache(maxsize=64)
def hook_of(function: Callable[..., None], n_options: int, is_select: bool = False) -> Any:
    """The function in a form that `replay_hooked` takes.

    Args:
        function: takes what the signatures above have, but each of the options as an argument of its own.
        n_options: how many.
        is_select: whether it is a method's `select`, not a policy's hook.

    Raises:
        CannotCompile: numba cannot.
    """
    own = numba.njit(nogil=True)(function)
    hook: Any = _select(own, n_options) if is_select else _on_columns(own, n_options)
    return compile_once(hook, ON_SCORES if is_select else ON_COLUMNS)


def _on_columns(own: Any, n_options: int) -> Any:
    if not n_options:
        return numba.njit(nogil=True)(lambda priority, columns, token, options: own(priority, columns, token))

    def hook(priority, columns, token, options):  # type: ignore[no-untyped-def]
        own(priority, columns, token, *to_fixed_tuple(options, n_options))  # type: ignore[call-arg]

    return numba.njit(nogil=True)(hook)


def _select(own: Any, n_options: int) -> Any:
    if not n_options:
        return numba.njit(nogil=True)(lambda scores, resident, token, mask, options: own(scores, resident, token, mask))

    def hook(scores, resident, token, mask, options):  # type: ignore[no-untyped-def]
        own(scores, resident, token, mask, *to_fixed_tuple(options, n_options))  # type: ignore[call-arg]

    return numba.njit(nogil=True)(hook)


@entry
def nothing(priority, columns, token, options):  # type: ignore[no-untyped-def]
    """What a policy does that has no such hook."""


@entry
def stamp(priority, columns, token, options):  # type: ignore[no-untyped-def]
    """`lru` of what is used, `fifo` of what enters."""
    for column in columns:
        priority[column] = token


@entry
def count(priority, columns, token, options):  # type: ignore[no-untyped-def]
    """`lfu` of what is used."""
    for column in columns:
        priority[column] = (np.floor(priority[column] / _TOKENS) + 1.0) * _TOKENS + token


@entry
def forget(priority, columns, token, options):  # type: ignore[no-untyped-def]
    """`lfu-in-cache` of what leaves."""
    for column in columns:
        priority[column] = 0.0


@entry
def no_mask(scores, resident, token, mask, options):  # type: ignore[no-untyped-def]
    """What stands for `select` where a method is a top-k."""


def own_hook(hook: Any, is_select: bool = False) -> Any:
    """One of the functions above, as `hook_of` makes others."""
    return compile_once(hook, ON_SCORES if is_select else ON_COLUMNS)
