"""`dipsim import`: traces of what other engines recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.cli import options
from dipsim.cli.help_pages import OUTPUT, Group

if TYPE_CHECKING:
    from dipsim.trace import Trace

import_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Make a trace of the routes that another engine recorded.",
)
Out = Annotated[
    Path,
    typer.Option("--output", "-o", help="NAME.zarr (a folder) or NAME.zarr.zip (one file).", rich_help_panel=OUTPUT),
]


@import_app.command()
def bigmoe(
    routes: Annotated[Path, typer.Argument(help="A route trace of BigMoeOnEdge: CSV that begins '# route_trace v1'.")],
    out: Out,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A name of 'dipsim list models', a .gguf, a config.json or a ModelSpec as JSON; by default the preset "
            "of the file's architecture, layers and experts.",
        ),
    ] = None,
    force: options.Force = False,
) -> None:
    """Import a route trace of BigMoeOnEdge: chosen experts of prompt and decoding, and their bytes; each of its turns
    becomes a sequence.

    Example: dipsim import bigmoe qwen.route.csv -o qwen.zarr.zip
    """
    from dipsim.model import ModelSpec
    from dipsim.routes import import_bigmoe

    own = None if model is None else ModelSpec.load(model)
    _import(lambda **how: import_bigmoe(routes, out, own, force=force, **how), out)


@import_app.command("routes")
def general(
    routes: Annotated[
        Path,
        typer.Argument(
            help="CSV, or a name in .parquet, with columns sequence, token, layer, expert, weight and, if there are "
            "prompts, prompt (1 or 0); a row for each expert that a token uses in a layer."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="A name of 'dipsim list models', a .gguf, a config.json or a ModelSpec as JSON."
        ),
    ],
    out: Out,
    force: options.Force = False,
) -> None:
    """Import routes of any engine from one general form.

    Example: dipsim import routes mine.csv --model qwen3-30b-a3b -o mine.zarr.zip
    """
    from dipsim.model import ModelSpec
    from dipsim.routes import import_routes

    own = ModelSpec.load(model)
    _import(lambda **how: import_routes(routes, out, own, force=force, **how), out)


def _import(work: Callable[..., Trace], out: Path) -> None:
    from dipsim.cli.terminal import progress, say

    with progress("importing") as on_progress:
        made = work(
            on_read=lambda done, total: on_progress(done, total, "(reading)"),
            on_written=lambda done, total: on_progress(done, total, "(writing)"),
        )
    n_prompt = sum(own.prompt_length for own in made.sequences) if made.has_prompt else 0
    say(
        f"{made.n_tokens} tokens and {n_prompt} of prompts in {len(made.sequences)} sequences, "
        f"{made.chosen_per_token} experts each, of {made.model.name} in {out}"
    )
