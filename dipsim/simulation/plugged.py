"""By name or as it is: how policies, layouts and prefetchers are given to a simulation."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import cast

from dipsim import policies
from dipsim.errors import DipsimError
from dipsim.policies import Policy


def policy_factory(policy: object) -> Callable[[], Policy]:
    """Makes the policy of one cache: a copy each.

    Raises:
        DipsimError: neither a name nor an instance.
    """
    return partial(copy.deepcopy, cast(Policy, named("policy", policy, policies.make)))


def named(kind: str, given: object, make: Callable[[str], object]) -> object:
    """What was given, or what has the given name.

    Raises:
        DipsimError: neither a name nor an instance.
    """
    if isinstance(given, str):
        return make(given)
    if inspect.isclass(given) or given is None:
        got = f"the class {given.__name__}" if inspect.isclass(given) else "None"
        raise DipsimError(f"{kind}: got {got}; give a registered name or an instance")
    return given
