"""Which plug-ins do runs use, and how do they come to workers that lack them?"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import cloudpickle

from dipsim.budgets import budgets
from dipsim.devices import devices
from dipsim.errors import DipsimError
from dipsim.layouts import layouts
from dipsim.loads import loads
from dipsim.methods import methods
from dipsim.plugin_files import is_users_own
from dipsim.policies import policies
from dipsim.prefetchers import prefetchers
from dipsim.registry import Registry, told_of
from dipsim.sweeps.code import code_of

# By the key of a configuration that names some: one name, a list of names, or a table of them.
_REGISTRIES: dict[str, Registry[Any]] = {
    "method": methods,
    "policy": policies,
    "budget": budgets,
    "layout": layouts,
    "prefetch": prefetchers,
    "loads": loads,
    "devices": devices,
}
Entry = tuple[str, str, Any]  # key of a configuration, name, and what is registered under it


def used_by(config: dict[str, Any]) -> Iterator[Entry]:
    """What a run uses that dipsim does not bring."""
    for key, registry in _REGISTRIES.items():
        named = config.get(key) or []
        names = [named] if isinstance(named, str) else named.values() if isinstance(named, dict) else named
        for name in names:
            entry = registry[name]
            if not entry.__module__.startswith("dipsim."):
                yield key, name, entry


def codes_of(config: dict[str, Any]) -> list[object]:
    """The code of what a run uses that dipsim does not bring."""
    return [[key, name, code_of(entry)] for key, name, entry in used_by(config)]


def registered_here(configs: Iterable[dict[str, Any]]) -> list[Entry]:
    """What runs use that is neither dipsim's nor offered by an installed package: workers lack it."""
    used = {(key, name): entry for config in configs for key, name, entry in used_by(config)}
    return [(key, name, used[key, name]) for key, name in used if name not in _REGISTRIES[key].offered]


def packed(entries: list[Entry]) -> bytes:
    """The entries with the code of their author's modules, which other machines do not have, or have as it was.

    Raises:
        DipsimError: something that they hold cannot be sent.
    """
    if not entries:
        return b""
    try:
        with _by_value({module for _, _, entry in entries for module in _modules(entry)}):
            data: bytes = cloudpickle.dumps(entries)
    except Exception as error:  # whatever objects of other people's raise
        names = ", ".join(f"{_REGISTRIES[key].kind} '{name}'" for key, name, _ in entries)
        raise DipsimError(
            f"{names}: cannot be sent to workers: {told_of(error)}; keep out of it what cannot be pickled"
        ) from None
    return data


def register(data: bytes) -> None:
    """Files what was packed, in place of what an earlier sweep may have left in this process."""
    for key, name, entry in cloudpickle.loads(data) if data else ():
        _REGISTRIES[key].replace(name, entry)


def _modules(entry: Any) -> set[str]:
    """Where its author wrote it and the classes that it builds on, as far as there are such modules."""
    names = {one.__module__ for one in getattr(entry, "__mro__", (entry,))}
    return {name for name in names if name in sys.modules and name != "__main__" and is_users_own(name)}


@contextmanager
def _by_value(names: set[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for name in names - cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(sys.modules[name])
            stack.callback(cloudpickle.unregister_pickle_by_value, sys.modules[name])
        yield
