"""`dipsim plot`: a figure of a sweep's results."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.cli import options
from dipsim.cli.completion import completing
from dipsim.cli.outputs import check_outputs

if TYPE_CHECKING:
    import pandas as pd


def plot(
    results: Annotated[Path, typer.Argument(help="What 'dipsim sweep' wrote.")],
    kind: Annotated[
        str, typer.Argument(help="Which figure: a name of 'dipsim list figures'.", autocompletion=completing("figure"))
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Figure (.svg, .pdf or .png); its data go beside it as CSV.")
    ],
    x: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="On the axis below; the figure's own by default.")
    ] = None,
    y: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="On the axis at the left; the figure's own by default.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Whose values are compared: lines, marks, bars, areas of the map; the figure's own by default.",
        ),
    ] = None,
    panels: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Whose values are panels; none by default.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION",
            help="Which runs, as 'policy == \"lfu\" and density < 0.5'; a column with a dot in backticks; all by "
            "default.",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Above the figure; none by default.")] = None,
    style: Annotated[
        Path | None, typer.Option(help="A style file of matplotlib's (.mplstyle), instead of lines of dipsim's own.")
    ] = None,
    force: options.Force = False,
) -> None:
    """Draw results for a paper: 8.5 cm wide, for grey prints too, the data beside.

    What varies in the results and is neither x, by nor panels must be fixed by --where: nothing is averaged.

    Example: dipsim plot results dram -o dram.svg --by policy --panels method --where 'density == 0.5'
    """
    from dipsim import plots
    from dipsim.cli.terminal import progress
    from dipsim.errors import DipsimError, choose
    from dipsim.sweeps import read_results

    if kind not in plots.KINDS and str(results) in plots.KINDS:
        raise DipsimError(f"plot: got '{results} {kind}'; results come first: dipsim plot {kind} {results} ...")
    choose("kind", kind, list(plots.KINDS))
    check_outputs(output, None, force)
    chosen = {"x": x, "y": y, "by": by, "panels": panels, "title": title}
    with nullcontext() if style is None else plots.looks(style), progress(f"drawing {output}"):
        frame = read_results(results)
        devices = _shipped() if plots.KINDS[kind].marks_devices else None
        plots.draw(frame, kind, where, devices=devices, **chosen).save(output)


def _shipped() -> pd.DataFrame:
    """Numbers of the devices that ship, named as in results; what their models may use is what is not reserved."""
    import pandas as pd

    from dipsim import shipped
    from dipsim.profile import HardwareProfile

    rows = []
    for name in shipped.names("hwprofiles", ".toml"):
        profile = HardwareProfile.load(name)
        numbers = pd.json_normalize(profile.model_dump()).add_prefix("profile.").iloc[0].to_dict()
        free_bytes = profile.dram.capacity_bytes - profile.dram.reserved_bytes
        rows.append(numbers | {"profile": name, "dram.capacity_bytes": free_bytes})
    return pd.DataFrame(rows)
