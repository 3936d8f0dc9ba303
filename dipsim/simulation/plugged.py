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


def policy_factory(policy: object, options: dict[str, Any]) -> Callable[[], Policy]:
    """Makes the policy of one cache: a copy each.

    Raises:
        DipsimError: as `named`.
    """
    return partial(copy.deepcopy, named("policy", policy, policies, options))


def named(kind: str, given: object, registry: Registry[Callable[..., Made]], options: dict[str, Any]) -> Made:
    """What was given, or what has the given name, with its options.

    Raises:
        DipsimError: neither a name nor an instance, an instance with options beside it, or options that it has not.
    """
    if isinstance(given, str):
        return cast(Made, registry.make(given, options))
    if options:
        raise DipsimError(f"{kind}_options: got {options} beside {given!r}; an instance holds its own, give a name")
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


def named_loads(given: object, options: Mapping[str, dict[str, Any]]) -> tuple[Load, ...]:
    """The loads of a run.

    Args:
        given: names and instances.
        options: of those that are given by name.

    Raises:
        DipsimError: no list of names and instances, something that cannot run, a name twice, or options of none of
            the names.
    """
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list | tuple):
        raise DipsimError(f"loads: got {given!r}; must be a list of registered names and instances")
    if unused := [name for name in options if name not in listed]:
        raise DipsimError(f"load_options: got some for '{unused[0]}', which is no load of this run; name it by load")
    made = [named("loads", one, loads, options.get(one, {}) if isinstance(one, str) else {}) for one in listed]
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
