"""`dipsim list` and `dipsim show` of whatever plugs in: one listing for all kinds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dipsim.cli.terminal import harmless, table
from dipsim.errors import DipsimError

if TYPE_CHECKING:
    from dipsim.registry import Registry

# The folder, which is the registry's name there too, and the command of `dipsim list` -> one of them, what they are.
_KINDS = {
    "methods": ("method", "Masking methods"),
    "policies": ("policy", "Eviction policies"),
    "budgets": ("budget", "Ways to divide cache memory"),
    "layouts": ("layout", "Orders of columns in the weight file"),
    "prefetchers": ("prefetcher", "Guesses of what the next layer will need"),
    "loads": ("load", "Other users of the machine"),
    "devices": ("device", "Devices to put in place of a profile's"),
}


def add_plugged(list_app: typer.Typer, show_app: typer.Typer) -> None:
    """A command of each for every kind."""
    for word, (kind, what) in _KINDS.items():
        list_app.command(word, help=f"{what}, plug-ins too.")(_lister(word, kind))
        show_app.command(kind, help=f"A {kind}: what it does, its options with their defaults, where it comes from.")(
            _shower(word, kind)
        )


def _registry(word: str) -> Registry[Any]:
    registry: Registry[Any] = getattr(import_module(f"dipsim.{word}"), word)
    return registry


def _lister(word: str, kind: str) -> Callable[[], None]:
    def listed() -> None:
        registry = _registry(word)
        rows = [[name, *_told(registry, name)] for name in registry]
        table([kind, "what it does", "source"], rows, left=3)

    return listed


def _told(registry: Registry[Any], name: str) -> list[str]:
    """What it does and its source; of a package that is broken, what is wrong with it."""
    try:
        entry = registry[name]
    except DipsimError as error:
        return [str(error), ""]
    return [" ".join(_docstring(entry).split("\n\n")[0].split()), _source(entry)]


def _shower(word: str, kind: str) -> Callable[..., None]:
    def shown(name: Annotated[str, typer.Argument(help=f"A name of 'dipsim list {word}'.")]) -> None:
        registry = _registry(word)
        entry = registry[name]
        typer.echo(harmless(f"{kind} '{name}': {_origin(registry, name, entry)}\n\n{_docstring(entry)}\n"))
        if rows := _options(entry):
            table(["option", "kind", "default"], rows, left=3)

    shown.__annotations__ = {"name": Annotated[str, typer.Argument(help=f"A name of 'dipsim list {word}'.")]}
    return shown


def _options(entry: Any) -> list[list[str]]:
    """Name, kind and default of each."""
    from dipsim.registry import is_missing, options_of

    kinds: dict[str, Any] = {field.name: field.type for field in fields(entry)} if is_dataclass(entry) else {}
    written = {name: kind if isinstance(kind, str) else inspect.formatannotation(kind) for name, kind in kinds.items()}
    return [
        [name, written[name], "must be given" if is_missing(default) else str(default)]
        for name, default in options_of(entry).items()
    ]


def _docstring(entry: Any) -> str:
    """Its own: what a base class says is no description of it."""
    return inspect.cleandoc(entry.__doc__ or "")


def _source(entry: Any) -> str:
    """What a docstring's line `Source: ...` says."""
    lines = _docstring(entry).splitlines()
    return next((line.removeprefix("Source: ").rstrip(".") for line in lines if line.startswith("Source: ")), "")


def _origin(registry: Registry[Any], name: str, entry: Any) -> str:
    """Built in, or whose: a package, a file."""
    module = entry.__module__
    if module.partition(".")[0] == "dipsim":
        return "built in"
    if (package := registry.package_of(name)) is not None:
        return f"from the package {package}"
    try:
        return f"from {inspect.getfile(entry)}"
    except (OSError, TypeError):
        return f"from {module}"
