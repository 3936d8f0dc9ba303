"""`dipsim simulate`: one run, its summary as a table and as JSON, and a timeline of what happened when."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.cli import options
from dipsim.cli.described import takes_simulation
from dipsim.cli.help_pages import OUTPUT
from dipsim.description import RUN
from dipsim.errors import DipsimError

if TYPE_CHECKING:
    from dipsim.simulation import Simulation


@takes_simulation("tokens")
def simulate(
    describe: "Callable[..., Simulation]",
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="N|A:B",
            help="Simulate only the first N tokens; as A:B, the first B, and draw A to B (exclusive) on "
            "the timeline; all "
            "by default.",
            rich_help_panel=RUN,
        ),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(help="Write what happened when, for ui.perfetto.dev or chrome://tracing.", rich_help_panel=OUTPUT),
    ] = None,
    json: options.Json = None,
    force: options.Force = False,
) -> None:
    """Replay a trace on a device and print tokens per second, hit rate and where the time goes.

    Example: dipsim simulate tiny --profile oneplus-12-ufs4 --method dip-ca --density 0.5 --policy lfu --dram 0.5x
    """
    from dipsim.cli.drift import certificate_line
    from dipsim.cli.terminal import progress, say, table
    from dipsim.files import check_output, write_text
    from dipsim.results.headline import headline, time_rows

    outputs = [path for path in (timeline, json) if path is not None]
    for path in outputs:
        check_output(path, force)
    if len(outputs) != len(set(outputs)):
        raise DipsimError(f"output: '{json}' is named twice; the timeline and the result are two files")
    first, stop = _window(tokens, timeline is not None)
    with progress("reading"):
        simulation = describe(tokens=stop)
    if (line := certificate_line(simulation.trace, simulation.config)) is not None:
        say(line)
    with progress("simulating", "tokens") as on_progress:
        result = simulation.run(on_progress, timeline, first)
    numbers = result.to_dict()
    table(["", ""], [list(row) for row in headline(numbers).items()], title=simulation.title, left=2)
    table(["", "time of a token", "seconds", "share"], time_rows(numbers), left=2)
    if json is not None:
        write_text(json, result.to_json())


def _window(tokens: str | None, is_drawn: bool) -> tuple[int, int | None]:
    """First token to draw, and tokens to simulate (None for all): of `N` or `A:B`.

    Raises:
        DipsimError: the text is neither, there is no token from A to B, or nobody draws.
    """
    if tokens is None:
        return 0, None
    match = re.fullmatch(r"(?:(?P<first>\d+):)?(?P<stop>\d+)", tokens.strip())
    if match is None:
        raise DipsimError(f"tokens: got '{tokens}'; must be N for the first N tokens, or A:B to draw A to B")
    if match["first"] is None:
        return 0, int(match["stop"])
    first, stop = int(match["first"]), int(match["stop"])
    if first >= stop:
        raise DipsimError(f"tokens: got '{tokens}'; there is no token from {first} to {stop}, which is exclusive")
    if not is_drawn:
        raise DipsimError(f"tokens: got '{tokens}' without --timeline, which alone begins at a token; give {stop}")
    return first, stop
