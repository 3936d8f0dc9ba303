"""`dipsim stats`: what a trace's scores are like."""

from __future__ import annotations

import json as json_format
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dipsim.cli import options
from dipsim.cli.help_pages import OUTPUT
from dipsim.cli.outputs import check_outputs
from dipsim.errors import DipsimError
from dipsim.version import __version__

if TYPE_CHECKING:
    import pandas as pd

SHOWN = {
    "rms": "RMS",
    "q25": "q25",
    "q75": "q75",
    "q90": "q90",
    "q95": "q95",
    "q99": "q99",
    "top_quarter_share": "top 25 %",
    "columns_for_80": "for 80 %",
    "overlap_1": "lag 1",
    "overlap_10": "10",
    "overlap_100": "100",
    "overlap_other": "other",
    "static_hit_rate": "static hits",
}
NOTE = """
q25 to q99 are quantiles over the median. The best columns of each token are selected: 'top 25 %' is the share of
selections that goes to the quarter of columns selected most, 'for 80 %' the share of columns that gets 80 % of them,
'lag 1' to '100' and 'other' the share of a token's that is selected again so many tokens later or in another
sequence, and 'static hits' the hit rate of half the columns, chosen by other sequences."""


def stats(
    trace: options.Trace,
    keep: Annotated[float, typer.Option(metavar="SHARE", help="Share of the columns that is active, in (0, 1).")] = 0.5,
    layers: Annotated[
        str | None, typer.Option(metavar="N,...|all", help="Which; eight at equal distances by default.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Draw them (.svg, .pdf or .png); the data go beside it as CSV.", rich_help_panel=OUTPUT),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write them as JSON.", rich_help_panel=OUTPUT)] = None,
    force: options.Force = False,
) -> None:
    """Statistics of a trace, recorded or synthetic: sizes of scores, skew between columns, locality in time.

    Example: dipsim stats tiny --keep 0.5 --figure tiny.svg
    """
    from dipsim.cli.terminal import progress, stdout
    from dipsim.files import write_text
    from dipsim.trace import Trace
    from dipsim.trace.statistics import trace_statistics

    check_outputs(figure, json, force)
    opened = Trace.open(trace)
    with progress("reading scores", "layers") as on_progress:
        found = trace_statistics(opened, keep, _layers(layers, opened.model.n_layers), on_progress)
    _print(found)
    stdout.print(NOTE, soft_wrap=True, markup=False)
    if figure is not None:
        from dipsim import plots

        plots.statistics_by_depth(found, f"{trace}, {opened.model.name}, keep {keep:g}").save(figure)
    if json is not None:
        rows: list[dict[Any, Any]] = found.to_dict(orient="records")
        plain = [{name: None if _is_missing(value) else value for name, value in row.items()} for row in rows]
        text = {"trace": trace, "model": opened.model.name, "keep": keep, "statistics": plain}
        write_text(json, json_format.dumps(text | {"dipsim_version": __version__}, indent=2) + "\n")


def _print(found: pd.DataFrame) -> None:
    from dipsim.cli.terminal import table
    from dipsim.units import three_digits

    rows = [
        [row["site"], str(row["layer"]), *("" if _is_missing(row[name]) else three_digits(row[name]) for name in SHOWN)]
        for row in found.to_dict(orient="records")
    ]
    table(["site", "layer", *SHOWN.values()], rows)


def _is_missing(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _layers(text: str | None, n_layers: int) -> list[int] | None:
    """The layers that are named; None where it was left to us.

    Raises:
        DipsimError: something else than numbers and commas.
    """
    if text is None:
        return None
    if text == "all":
        return list(range(n_layers))
    try:
        return sorted({int(layer) for layer in text.split(",")})
    except ValueError:
        raise DipsimError(f"layers: got '{text}'; must be 'all', or numbers as 0,10,39") from None
