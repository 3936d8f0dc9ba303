"""`dipsim synth`: a trace of a model that nobody has recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dipsim.cli import options
from dipsim.cli.help_pages import OUTPUT


def synth(
    model: Annotated[
        str, typer.Argument(help="A name of 'dipsim list models', a .gguf, a config.json or a ModelSpec as JSON.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="NAME.zarr (a folder, faster) or NAME.zarr.zip (one file).", rich_help_panel=OUTPUT
        ),
    ],
    tokens: Annotated[int, typer.Option("--tokens", "-n", help="Tokens in all.")] = 256,
    seed: Annotated[int, typer.Option(help="Number that the random scores begin with: same seed, same trace.")] = 0,
    preset: Annotated[
        str, typer.Option(metavar="low|default|high", help="How much locality; show results at all three.")
    ] = "default",
    sites: Annotated[
        str | None,
        typer.Option(
            metavar="SITE,...",
            help="Scores to make, of mlp_input and glu; both by default, and router for a mixture of experts.",
        ),
    ] = None,
    sequence_tokens: Annotated[
        int | None, typer.Option(help="Length of a document; all tokens are one by default.")
    ] = None,
    prompt_tokens: Annotated[
        int, typer.Option(help="Tokens before each document: not recorded, counted as KV positions.")
    ] = 0,
    tau: Annotated[
        float | None,
        typer.Option(help="Tokens over which a document drifts; by default the preset's, or what fits --like."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|TRACE",
            help="Imitate a model of 'dipsim list fitted', or a trace, layer by depth, instead of a preset.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads; one per core by default. The trace is the same.")
    ] = None,
    compact: options.Compact = False,
    force: options.Force = False,
) -> None:
    """Make a trace of random scores with realistic sizes, skew and locality, for a model of any size.

    Example: dipsim synth phi-3-medium -n 256 --preset high -o phi-3-medium.zarr
    """
    from dipsim import shipped
    from dipsim.cli.terminal import progress, say
    from dipsim.model import ModelSpec
    from dipsim.synthetic import synthesize
    from dipsim.trace import Trace

    is_trace = like is not None and (
        ".zarr" in like or Path(like).exists() or like in shipped.names("traces", ".zarr.zip")
    )
    imitated = Trace.open(like) if like is not None and is_trace else like
    with progress(f"making {tokens} tokens", "blocks") as on_progress:
        made = synthesize(
            out,
            ModelSpec.load(model),
            tokens,
            seed=seed,
            sites=None if sites is None else [site.strip() for site in sites.split(",")],
            preset=preset,
            tau_tokens=tau,
            like=imitated,
            sequence_tokens=sequence_tokens,
            prompt_tokens=prompt_tokens,
            workers=workers,
            force=force,
            compact=compact,
            on_progress=on_progress,
        )
    say(f"{made.n_tokens} tokens of {made.model.name} in {len(made.sequences)} sequences in {out}")
