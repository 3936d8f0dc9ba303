"""`dipsim plot`: a figure of a sweep's results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.cli import options
from dipsim.cli.completion import completing
from dipsim.cli.outputs import check_outputs

if TYPE_CHECKING:
    import pandas as pd


def plot(
    results: Annotated[Path, typer.Argument(help="What 'dipsim sweep' wrote, or 'devices', which has no KIND.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Figure (.svg, .pdf or .png); its data go beside it as CSV.")
    ],
    kind: Annotated[
        str | None,
        typer.Argument(help="Which figure: a name of 'dipsim list figures'.", autocompletion=completing("figure")),
    ] = None,
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
            help="Whose values are compared (lines, marks, bars, areas of a map), or 'method,policy'; the figure's own "
            "by default.",
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
    over: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="pareto: in which runs of one mark may differ, as alternatives; none by default.",
        ),
    ] = None,
    at: Annotated[
        float | None,
        typer.Option(help="regimes: the perplexity, or MLP error, at which methods are compared; none by default."),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="AXES", help="Logarithmic ones: x, y, xy or none; by default those whose values span a decade."
        ),
    ] = None,
    free_axes: Annotated[
        bool | None,
        typer.Option(
            "--free-axes/--shared-axes",
            help="Axes of each panel's own, or common; by default own where panels differ 10 times.",
        ),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(help="In cm, such as 17 for two columns; letters stay as they are; 8.5 by default."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Above the figure; none by default.")] = None,
    style: Annotated[
        Path | None, typer.Option(help="A style file of matplotlib's (.mplstyle), instead of lines of dipsim's own.")
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="devices: one of those to compare, given again for each; by default all that ship.",
            autocompletion=completing("profile"),
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="devices: the model that each runs, as of 'dipsim estimate'; llama-3-8b by default.",
            autocompletion=completing("model"),
        ),
    ] = None,
    force: options.Force = False,
) -> None:
    """Draw results for a paper: 8.5 cm wide, for grey prints too, the data beside.

    What varies in the results and is neither x, by nor panels must be fixed by --where: nothing is averaged.

    Example: dipsim plot results dram -o dram.svg --by policy --panels method --where 'density == 0.5'
    """
    from dipsim import plots
    from dipsim.cli.devices import asked
    from dipsim.cli.terminal import progress
    from dipsim.errors import DipsimError, choose

    if kind not in plots.KINDS and kind is not None and str(results) in plots.KINDS:
        raise DipsimError(f"plot: got '{results} {kind}'; results come first: dipsim plot {kind} {results} ...")
    kind, read_results = asked(results, kind, profile or (), model)
    choose("kind", kind, list(plots.KINDS))
    check_outputs(output, None, force)
    chosen = {"x": x, "y": y, "by": by, "panels": panels, "over": over, "at": at, "log": log, "free_axes": free_axes}
    with plots.looks(style, width), progress(f"drawing {output}"):
        frame = read_results(results)
        devices = _shipped() if plots.KINDS[kind].marks_devices else None
        plots.draw(frame, kind, where, devices=devices, title=title, **chosen).save(output)


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
