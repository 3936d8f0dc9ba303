"""`dipsim simulate`: one run, its summary as a table and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# Other methods keep some matrices dense, so that no density suits them all.
DEFAULT_DENSITY = {"dip": 0.5, "dip-ca": 0.5}
METHOD = "Method"
CACHE = "DRAM and cache"
RUN = "Run"


def simulate(
    trace: Annotated[str, typer.Argument(help="Trace (.zarr or .zarr.zip), or 'tiny' for the one that ships.")],
    profile: Annotated[
        str, typer.Option(help="Device: a name of 'dipsim list profiles' or a TOML file.")
    ] = "a18-paper",
    method: Annotated[str, typer.Option(help="A name of 'dipsim list methods'.", rich_help_panel=METHOD)] = "dip-ca",
    density: Annotated[
        float | None,
        typer.Option(
            help="Active share of the three MLP matrices, in (0, 1]; for dip and dip-ca 0.5 by default.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option(
            help="dip-ca: weight of columns that are not resident, in [0, 1]; 1 is dip, 0.2 the default.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    keep_input: Annotated[
        float | None,
        typer.Option(help="dip, dip-ca: share kept at the MLP's input, instead of --density.", rich_help_panel=METHOD),
    ] = None,
    keep_glu: Annotated[
        float | None,
        typer.Option(
            help="dip, dip-ca: share kept at the down projection, instead of --density.", rich_help_panel=METHOD
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(help="dip-ca: reweight (default), blend or top-m.", rich_help_panel=METHOD),
    ] = None,
    exempt_top: Annotated[
        int | None,
        typer.Option(help="dip-ca: this many best columns escape the penalty.", rich_help_panel=METHOD),
    ] = None,
    warm_up: Annotated[
        bool, typer.Option("--warm-up", help="dip-ca: let gamma start at 1 in each sequence.", rich_help_panel=METHOD)
    ] = False,
    top_m: Annotated[
        float | None,
        typer.Option(help="dip-ca, rule top-m: m as a multiple of k; 2 by default.", rich_help_panel=METHOD),
    ] = None,
    policy: Annotated[
        str, typer.Option(help="Eviction: a name of 'dipsim list policies'.", rich_help_panel=CACHE)
    ] = "lfu",
    admission: Annotated[
        str,
        typer.Option(
            help="'always': active columns enter; 'priority': only what beats the resident ones.", rich_help_panel=CACHE
        ),
    ] = "always",
    dram: Annotated[
        str | None,
        typer.Option(
            help="Memory for this model: 4GB, 512MiB, or 0.5x = half of attention + LM head + KV cache + MLP bytes; "
            "the device's own by default.",
            rich_help_panel=CACHE,
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            help="Positions the KV cache is sized for; the trace's longest sequence by default.", rich_help_panel=CACHE
        ),
    ] = None,
    stream_pinned: Annotated[
        bool,
        typer.Option(
            "--stream-pinned/--no-stream-pinned",
            help="Stream attention and LM head from Flash where DRAM is too small for them, or refuse.",
            rich_help_panel=CACHE,
        ),
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(
            help="Same shape, other numbers (such as bits): a preset, a config.json or a ModelSpec as JSON.",
            rich_help_panel=RUN,
        ),
    ] = None,
    overlap: Annotated[
        str, typer.Option(help="How devices overlap: none, io or pipelined.", rich_help_panel=RUN)
    ] = "pipelined",
    tokens: Annotated[int | None, typer.Option(help="Simulate only the first N tokens.", rich_help_panel=RUN)] = None,
    warmup: Annotated[
        int, typer.Option(help="Tokens at the start of each sequence that are not counted.", rich_help_panel=RUN)
    ] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the result as JSON.", rich_help_panel=RUN)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.", rich_help_panel=RUN)] = False,
) -> None:
    """Replay a trace on a device and print tokens per second, hit rate and where the time goes.

    Example: dipsim simulate tiny --profile oneplus-12-ufs4 --method dip-ca --density 0.5 --policy lfu --dram 0.5x
    """
    from dipsim import masking
    from dipsim.cli.terminal import progress, table
    from dipsim.files import check_output, write_text
    from dipsim.model import ModelSpec
    from dipsim.profile import HardwareProfile
    from dipsim.results.result import headline
    from dipsim.simulation import Simulation
    from dipsim.trace import Trace

    if json is not None:
        check_output(json, force)
    if density is None and keep_input is None and keep_glu is None:
        density = DEFAULT_DENSITY.get(method)
    chosen = masking.make(
        method,
        density=density,
        gamma=gamma,
        keep_input=keep_input,
        keep_glu=keep_glu,
        rule=rule,
        exempt_top=exempt_top,
        warm_up=warm_up or None,
        top_m=top_m,
    )
    simulation = Simulation(
        HardwareProfile.load(profile),
        Trace.open(trace),
        chosen,
        policy,
        admission=admission,
        dram=dram,
        overlap=overlap,
        stream_pinned=stream_pinned,
        model=None if model is None else ModelSpec.load(model),
        context=context,
        tokens=tokens,
        warmup=warmup,
    )
    with progress("simulating tokens") as on_progress:
        result = simulation.run(on_progress)
    title = f"{simulation.config['model']['name']} on {simulation.config['profile']['name']}, {method}, {policy}"
    table(["", ""], [list(row) for row in headline(result.to_dict()).items()], title=title, left=2)
    if json is not None:
        write_text(json, result.to_json())
