"""Options that several commands share and that are no part of a run: one name, one meaning, one help text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dipsim.cli.completion import completing
from dipsim.cli.help_pages import OUTPUT
from dipsim.description import METHOD
from dipsim.errors import DipsimError

TORCH, TEXT = "Model", "Text"  # topics of `--help`

Trace = Annotated[
    str,
    typer.Argument(
        help="Trace (.zarr or .zarr.zip), or 'tiny' for the one that ships.", autocompletion=completing("trace")
    ),
]
PredictorFile = Annotated[
    Path | None,
    typer.Option(
        "--predictor",
        help="What 'dipsim train-predictor' wrote for this model, instead of --rank.",
        rich_help_panel=METHOD,
    ),
]
TextTokens = Annotated[
    int | None,
    typer.Option(
        "--tokens",
        help="Use only the first N tokens of the text, in whole windows; all by default.",
        rich_help_panel=TEXT,
    ),
]
WindowTokens = Annotated[
    int, typer.Option(help="Tokens of a window; each is a sequence with cold caches.", rich_help_panel=TEXT)
]
PromptTokens = Annotated[
    int, typer.Option(help="First tokens of each window that are run dense and not scored.", rich_help_panel=TEXT)
]
Bos = Annotated[
    Literal["auto", "yes", "no"],
    typer.Option(
        help="Begin every window with the token for the beginning of a sequence; by default where the tokenizer does.",
        rich_help_panel=TEXT,
    ),
]
Batch = Annotated[int, typer.Option(help="Sequences in one forward pass.", rich_help_panel=TORCH)]
Device = Annotated[
    str, typer.Option(metavar="cpu|cuda|mps|...", help="Where torch runs the model.", rich_help_panel=TORCH)
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="auto|float32|bfloat16|float16",
        help="Kind of numbers that torch computes with; auto is the checkpoint's own.",
        rich_help_panel=TORCH,
    ),
]
Json = Annotated[Path | None, typer.Option(help="Write the result as JSON.", rich_help_panel=OUTPUT)]
Compact = Annotated[
    bool,
    typer.Option(
        "--compact",
        help="Keep scores in 9 bits instead of 16: 43 % fewer bytes, and hit rates to within .0001.",
        rich_help_panel=OUTPUT,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.", rich_help_panel=OUTPUT)]


def parse_pairs(option: str, pairs: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE each; numbers, true, false, null and lists are such (as in JSON), anything else is text.

    Args:
        option: whose values these are.
        pairs: None where the option was not given.

    Raises:
        DipsimError: no name, no `=`, or a name twice.
    """
    parsed: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not name or not equals or name in parsed:
            raise DipsimError(f"{option}: got '{pair}'; must be NAME=VALUE, each name once")
        try:
            parsed[name] = json.loads(value)
        except (ValueError, RecursionError):
            parsed[name] = value
    return parsed
