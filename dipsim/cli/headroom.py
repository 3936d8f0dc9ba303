"""`dipsim headroom`: what is left to be had, and what is to blame."""

import json as json_format
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.cli import options
from dipsim.cli.described import takes_simulation
from dipsim.cli.help_pages import OUTPUT
from dipsim.cli.outputs import check_outputs
from dipsim.version import __version__

if TYPE_CHECKING:
    from dipsim.simulation import Simulation

NOTE = """
The run's own masks are replayed at each step, also those that followed the cache. A step keeps what the one before has;
what it saves is due to the thing it changes. The shared cache serves most bytes, which may be fewer columns."""


@takes_simulation()
def headroom(
    describe: "Callable[[], Simulation]",
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Draw the waterfall (.svg, .pdf or .png); its data go beside it as CSV.", rich_help_panel=OUTPUT
        ),
    ] = None,
    json: options.Json = None,
    force: options.Force = False,
) -> None:
    """Replay a run's masks under oracles, one shared cache and no limit: is the policy, the admission, the split or the
    hardware to blame?

    Example: dipsim headroom tiny --method dip --density 0.4 --policy lfu --dram 0.6x --figure headroom.svg
    """
    from dipsim.cli.terminal import progress, stdout, table
    from dipsim.files import write_text
    from dipsim.units import scaled, three_digits

    check_outputs(figure, json, force)
    with progress("reading"):
        simulation = describe()
    with progress("replaying masks", "tokens") as on_progress:
        found = simulation.headroom(on_progress)
    steps = found.steps.to_dict(orient="records")
    rows = [
        [
            step["step"],
            step["changes"],
            three_digits(step["tok_per_s"]),
            f"{step['hit_rate']:.3f}",
            f"{step['byte_hit_rate']:.3f}",
            scaled(step["tpot_s"], "s"),
            scaled(step["saved_s"], "s") if step["changes"] else "",
        ]
        for step in steps
    ]
    columns = ["replay", "better in", "tok/s", "hit rate", "byte hit rate", "per token", "saved"]
    table(columns, rows, title=found.run, left=2)
    stdout.print(f"{NOTE}\n\n{found.verdict}", soft_wrap=True, markup=False)
    if figure is not None:
        from dipsim import plots

        plots.headroom_waterfall(found.steps, found.run).save(figure)
    if json is not None:
        text = {
            "steps": steps,
            "verdict": found.verdict,
            "config": simulation.config,
            "dipsim_version": __version__,
        }
        write_text(json, json_format.dumps(text, indent=2) + "\n")
