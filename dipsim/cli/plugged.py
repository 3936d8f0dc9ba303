"""`dipsim list` and `dipsim show` of whatever plugs in: one listing for all kinds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

from dipsim.cli.devices import list_shipped
from dipsim.cli.terminal import table

if TYPE_CHECKING:
    from dipsim.registry import Registry

# The folder, which is the registry's name there too, and the command of `dipsim list` -> what one is called, what they
# are, the option of a run that takes one, one of them.
PLUGGED = {
    "methods": ("method", "Masking methods", "method", "dip-ca"),
    "policies": ("policy", "Eviction policies", "policy", "s3-fifo"),
    "budgets": ("budget", "Ways to divide cache memory", "budget", "by-bytes"),
    "layouts": ("layout", "Orders of columns in the weight file", "layout", "coactivation"),
    "prefetchers": ("prefetcher", "Guesses of what the next layer will need", "prefetch", "previous-layer"),
    "loads": ("load", "Other users of the machine", "loads", "flash-reader"),
    "devices": ("device", "Devices that ship, and those to put in place of a profile's", "devices", None),
}


def add_listers(list_app: typer.Typer) -> None:
    """A command for every kind."""
    for word, (kind, what, *_) in PLUGGED.items():
        list_app.command(word, help=f"{what}, plug-ins too.")(_lister(word, kind))


def registry_of(word: str) -> Registry[Any]:
    """The registry of a kind, by its name in `PLUGGED`."""
    registry: Registry[Any] = getattr(import_module(f"dipsim.{word}"), word)
    return registry


def _lister(word: str, kind: str) -> Callable[[], None]:
    def listed() -> None:
        registry = registry_of(word)
        if word == "devices":
            list_shipped()
            if not [*registry]:
                return
        rows = [[name, *row.values()] for name, row in registry.listing().rows.items()]
        table([kind, "what it does", "source"], rows, left=3)

    return listed


def origin(registry: Registry[Any], name: str, entry: Any) -> str:
    """Built in, or whose: a package, a file."""
    module = entry.__module__
    if module.partition(".")[0] == "dipsim":
        return f"built in ({module})"
    if (package := registry.package_of(name)) is not None:
        return f"from the package {package}"
    try:
        return f"from {inspect.getfile(entry)}"
    except (OSError, TypeError):
        return f"from {module}"
