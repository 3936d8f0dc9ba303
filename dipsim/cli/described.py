"""Which run do the options describe: what `simulate`, `headroom`, `evaluate` and others have in common.

The options are those of the record `Description`. (Annotations are read here, so that commands do not postpone them.)
"""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dipsim.cli import options
from dipsim.cli.completion import completing
from dipsim.cli.values import VALUES
from dipsim.description import OPTIONS, Description, default_of, flag_of, kinds_of

if TYPE_CHECKING:
    from dipsim.simulation import Simulation
    from dipsim.trace import Trace


def described(**given: Any) -> Description:
    """What the options say.

    Args:
        given: by name, as the command line has them; None for what is not given.

    Raises:
        DipsimError: a value of the wrong kind.
    """
    told = {name: _plain(name, value) for name, value in given.items() if value is not None}
    return Description.parse(told, "options")


def described_simulation(trace: "str | Trace", **others: Any) -> "Simulation":
    """The simulation that the options describe.

    Raises:
        DipsimError: as `described` and `Simulation`.
    """
    from dipsim.simulation import Simulation
    from dipsim.trace import Trace

    opened = trace if isinstance(trace, Trace) else Trace.open(trace)
    return Simulation.from_description(described(**others), opened)


def takes_simulation(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: the command takes a trace and the options of a run where it has its parameter `describe`, and calls
    that to make the simulation.

    Args:
        left_out: options that the command does not take; it gives them to `describe`, or leaves them as they are.
    """
    trace = inspect.Parameter("trace", inspect.Parameter.KEYWORD_ONLY, annotation=options.Trace)
    shared = [trace, *map(_parameter, OPTIONS)]
    return _takes([own for own in shared if own.name not in left_out], described_simulation)


def takes_search(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: as `takes_simulation` without a trace; what is searched has no default, and `describe` gives a
    `Description`."""
    return _takes([_searched(_parameter(name)) for name in OPTIONS if name not in left_out], described)


def takes_description(*names: str, **defaults: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: as `takes_simulation` with some options alone, and `describe` gives a `Description`.

    Args:
        names: the options.
        defaults: other defaults than those of a run.
    """
    shared = [_parameter(name) for name in names]
    return _takes([own.replace(default=defaults.get(own.name, own.default)) for own in shared], described)


def _parameter(name: str) -> inspect.Parameter:
    """The option of the command line: a table is `NAME=VALUE` several times, and of kinds that go the first."""
    kind, default = OPTIONS[name].kind or kinds_of(Description.model_fields[name].annotation)[0], default_of(name)
    if kind not in (str, int, float, bool, Path):
        kind, default = list[str], None
    shown: Any = kind if default is not None else kind | None
    annotation = Annotated[shown, _told(name, OPTIONS[name].help, default)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _searched(parameter: inspect.Parameter) -> inspect.Parameter:
    """The option where not to give it means to search it."""
    option = OPTIONS[parameter.name]
    if option.searched is None or parameter.default is None:
        return parameter
    kind, help_text = parameter.annotation.__origin__, f"{option.help.removesuffix('.')}; searched by default."
    return parameter.replace(annotation=Annotated[kind | None, _told(parameter.name, help_text)], default=None)


def _told(name: str, help_text: str, default: Any = None) -> Any:
    option, flag = OPTIONS[name], f"--{flag_of(name)}"
    flags = f"{flag}/--no-{flag[2:]}" if default is True else flag
    return typer.Option(
        flags, help=help_text, metavar=VALUES.get(name), rich_help_panel=option.panel, autocompletion=completing(name)
    )


def _plain(name: str, value: Any) -> Any:
    """A list of `NAME=VALUE` as a table, a path as text."""
    if isinstance(value, Path):
        return str(value)
    kind = kinds_of(Description.model_fields[name].annotation)[0]
    is_table = isinstance(value, list | tuple) and getattr(kind, "__origin__", None) is dict
    return options.parse_pairs(flag_of(name), value) if is_table else value


def _takes(
    shared: Iterable[inspect.Parameter], make: Callable[..., Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The command with the shared options where its parameter `describe` stands."""
    names = [own.name for own in shared]

    def with_shared(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_options(**given: Any) -> None:
            told = {name: given.pop(name) for name in names}
            command(describe=lambda **others: make(**(told | others)), **given)

        parameters: list[inspect.Parameter] = []
        for own in inspect.signature(command).parameters.values():
            parameters += shared if own.name == "describe" else [own.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return with_options

    return with_shared
