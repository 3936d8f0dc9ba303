"""By name or as it is: how policies, layouts, prefetchers, loads and devices are given to a simulation."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from dipsim.devices.registry import devices
from dipsim.errors import DipsimError, choose
from dipsim.loads import Load, loads
from dipsim.model import ModelSpec
from dipsim.planning.setup import ROLES
from dipsim.policies import Policy, policies
from dipsim.registry import Registry

Made = TypeVar("Made")


def policy_factory(policy: object) -> Callable[[], Policy]:
    """Makes the policy of one cache: a copy each.

    Raises:
        DipsimError: neither a name nor an instance.
    """
    return partial(copy.deepcopy, named("policy", policy, policies))


def named(kind: str, given: object, registry: Registry[Callable[..., Made]]) -> Made:
    """What was given, or what has the given name.

    Raises:
        DipsimError: neither a name nor an instance.
    """
    if isinstance(given, str):
        return cast(Made, registry.make(given, {}))
    if inspect.isclass(given) or given is None:
        got = f"the class {given.__name__}" if inspect.isclass(given) else "None"
        raise DipsimError(f"{kind}: got {got}; give a registered name or an instance")
    return cast(Made, given)


def named_model(given: object) -> ModelSpec | None:
    """The model, if any was given.

    Raises:
        DipsimError: an unknown name, or neither a name nor a model.
    """
    if isinstance(given, str):
        return ModelSpec.load(given)
    if given is not None and not isinstance(given, ModelSpec):
        raise DipsimError(f"model: got {given!r}; must be a ModelSpec, or the name of one")
    return given


def named_loads(given: object) -> tuple[Load, ...]:
    """The loads of a run.

    Raises:
        DipsimError: no list of names and instances, something that cannot run, or a name twice.
    """
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list | tuple):
        raise DipsimError(f"loads: got {given!r}; must be a list of registered names and instances")
    made = [named("loads", one, loads) for one in listed]
    for one in made:
        if not callable(getattr(one, "run", None)):
            raise DipsimError(f"loads: got {one!r}; must have run(env, machine)")
    names = [loads.name_of(one) for one in made]
    for name in names:
        if names.count(name) > 1:
            raise DipsimError(f"loads: got '{name}' twice; each once, since a configuration knows them by name")
    return tuple(made)


def named_devices(given: object) -> dict[str, type]:
    """Role -> class of the devices of a run that are not dipsim's own.

    Raises:
        DipsimError: no table, an unknown role, or neither a registered name nor a class.
    """
    if not isinstance(given, Mapping):
        raise DipsimError(f"devices: got {given!r}; must be a table of role and registered name or class")
    made: dict[str, Any] = {}
    for role, one in given.items():
        choose("devices", role, ROLES)
        made[role] = devices[one] if isinstance(one, str) else one
        if not inspect.isclass(made[role]):
            raise DipsimError(f"devices: {role}: got {one!r}; give a registered name or a class")
    return made
