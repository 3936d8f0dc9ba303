"""What does `--help` say, at 80 columns: usage, what it is for, an example, then arguments and options by topic."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.core import TyperCommand, TyperGroup

from dipsim.cli.mistakes import check_once

OUTPUT, OTHER = "Output", "Other"  # topics of what many commands have
SETTINGS = {"max_content_width": 100}
_WORDS: dict[Any, str] = {int: "N", float: "NUMBER", Path: "FILE", str: "TEXT"}
_NAMES_WIDTH = 28


class Command(TyperCommand):
    """A command whose page names what each value is."""

    def __init__(self, name: str | None, *, callback: Callable[..., Any] | None = None, **others: Any) -> None:
        super().__init__(name, callback=callback, **others)
        annotations = (
            {p.name: p.annotation for p in inspect.signature(callback).parameters.values()} if callback else {}
        )
        for parameter in self.params:
            if parameter.metavar is None:
                is_argument = parameter.param_type_name == "argument"
                name = str(parameter.name)
                parameter.metavar = name.upper() if is_argument else word_of(annotations.get(name))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As ever, but that no option with one value is given twice."""
        if not ctx.resilient_parsing:
            check_once(self.params, args)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments, what must be given, and that there are others."""
        pieces = [f"[{p.metavar}]" if not p.required else _several(p) for p in self.params if not _is_option(p)]
        must = [f"{_shortest(p)} {p.metavar}" for p in self.params if _is_option(p) and p.required]
        return [*pieces, *must, "[OPTIONS]"]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """What it is for, and the example, to be copied."""
        for paragraph in inspect.cleandoc(self.help or "").split("\n\n"):
            formatter.write_paragraph()
            with formatter.indentation():
                if not paragraph.startswith("Example: "):
                    formatter.write_text(" ".join(paragraph.split()))
                    continue
                formatter.write("  Example:\n")
                for line in broken(" ".join(paragraph.removeprefix("Example: ").split())):
                    formatter.write(f"    {line}\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then options by topic."""
        _write_topics(self.get_params(ctx), formatter)


class Group(TyperGroup):
    """Commands, each in a sentence."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Its commands, then its options."""
        self.format_commands(ctx, formatter)
        _write_topics(self.get_params(ctx), formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The first sentence of each."""
        rows = [(name, _sentence(command)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def word_of(annotation: Any) -> str:
    """What stands for a value of that kind."""
    from dipsim.description import kinds_of

    kind = kinds_of(annotation)[0] if annotation is not None else str
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    return _WORDS.get(kind, "TEXT")


def broken(line: str, width: int = 72) -> list[str]:
    """A command line, broken where it is long, an option and its value together."""
    together = re.sub(r" (?!-)", "\0", line)
    pieces = textwrap.wrap(together, width - 2, break_on_hyphens=False, break_long_words=False)
    return [
        (piece if first else f"  {piece}").replace("\0", " ") + (" \\" if piece is not pieces[-1] else "")
        for piece in pieces
        for first in [piece is pieces[0]]
    ]


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _several(parameter: Any) -> str:
    return f"{parameter.metavar}{'' if parameter.nargs == 1 else '...'}"


def _shortest(parameter: Any) -> str:
    return str(min(parameter.opts, key=len))


def _sentence(command: Any) -> str:
    text = " ".join((command.short_help or command.help or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) ", text)[0]


def _write_topics(parameters: list[Any], formatter: Any) -> None:
    """A section for each topic; what has none comes first, what every command has comes last."""
    topics: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in parameters:
        if getattr(parameter, "hidden", False):
            continue
        named = "Arguments" if not _is_option(parameter) else getattr(parameter, "rich_help_panel", None)
        is_for_all = parameter.name in ("help", "plugin", "install_completion", "show_completion")
        topic = OTHER if is_for_all else named or "Options"
        topics.setdefault(topic, []).append((_names(parameter), _told(parameter)))
    topics[OTHER] = topics.pop(OTHER, [])
    for topic, rows in topics.items():
        if rows:
            with formatter.section(topic):
                formatter.write_dl(rows, col_max=_NAMES_WIDTH)


def _names(parameter: Any) -> str:
    """`-o, --output PATH`, or `--x / --no-x`."""
    if not _is_option(parameter):
        return _several(parameter)
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.is_flag:
        return " / ".join([names, *parameter.secondary_opts])
    return f"{names} {parameter.metavar or 'TEXT'}"


def _told(parameter: Any) -> str:
    """Its help, and what it is where it is not given."""
    text = parameter.help or ""
    if parameter.required and _is_option(parameter):
        return f"{text} [required]"
    default = parameter.default
    if isinstance(default, bool):
        default = parameter.opts[0] if default else None
    return text if default in (None, [], ()) else f"{text} [default: {default}]"
