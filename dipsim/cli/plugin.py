"""`--plugin FILE`, which every command takes: what the files register is there before the command begins."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

_Plugin = Annotated[
    list[str] | None,
    typer.Option(
        help="A Python file with methods, policies or others of your own, which it registers by name; may be given "
        "several times.",
        metavar="FILE",
    ),
]


def take_plugins(app: typer.Typer) -> None:
    """Gives every command of the application, and of those below it, the option."""
    for command in _commands(app):
        if command.callback is not None:
            command.callback = _taking_plugins(command.callback)


def _commands(app: typer.Typer) -> Iterator[Any]:
    yield from app.registered_commands
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _commands(group.typer_instance)


def _taking_plugins(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def with_plugins(plugin: list[str] | None, **given: Any) -> None:
        from dipsim import plugin_files

        for path in plugin or []:
            plugin_files.load(path)
        command(**given)

    hints = get_type_hints(command, include_extras=True)
    own = [
        p.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, p in inspect.signature(command).parameters.items()
    ]
    option = inspect.Parameter("plugin", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_Plugin)
    with_plugins.__signature__ = inspect.Signature([*own, option])  # type: ignore[attr-defined]
    with_plugins.__annotations__ = {p.name: p.annotation for p in (*own, option)}
    return with_plugins
