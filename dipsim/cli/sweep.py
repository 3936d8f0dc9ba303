"""`dipsim sweep`: many runs, in parallel, resumable."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dipsim.cli.help_pages import OUTPUT
from dipsim.errors import DipsimError

if TYPE_CHECKING:
    import pandas as pd

    from dipsim.sweeps import Plan, Spec

FAILED = 1
_MOST_LISTED = 12  # values of an axis
_N_BEST = 5


def sweep(
    spec: Annotated[
        Path,
        typer.Argument(
            help="TOML: the names of simulate's options; a list is an axis. 'dipsim show guide sweep' has them all."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Of the results, for pandas.read_parquet, plot and report; needed unless --dry-run.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes, one core each; all cores (or all of the cluster) by default.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Scheduler that carries out the runs: tcp://HOST:PORT (Dask) or ray://HOST:PORT (Ray); "
            "this machine by "
            "default.",
        ),
    ] = None,
    best: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column of the results whose five best runs are shown at the end.")
    ] = "tok_per_s",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell how many runs there are and about how long they take; run none.")
    ] = False,
) -> None:
    """Run all that a spec describes, on all cores or a cluster; the same command goes on where it was interrupted.

    Example: dipsim sweep spec.toml -o results
    """
    from dipsim import sweeps
    from dipsim.cli.ending import keeping
    from dipsim.cli.terminal import progress, say
    from dipsim.results.columns import meaning_of

    read = sweeps.Spec.load(spec)
    if not meaning_of(best).better:
        raise DipsimError(f"best: got '{best}'; of it, neither more nor less is better: tok_per_s, hit_rate ...")
    if dry_run:
        with progress("reading") as on_progress:
            planned = sweeps.plan(read, out, on_progress)
        _tell(read, planned, workers)
        return
    if out is None:
        raise DipsimError("output: missing; give -o RESULTS, or --dry-run")
    try:
        with keeping("finished runs", out), progress("running", "runs") as on_progress:
            frame = sweeps.sweep(read, out, workers=workers, cluster=cluster, on_progress=on_progress)
    except OSError as error:
        raise DipsimError(
            f"{error.filename or out}: {error.strerror or error}; finished runs are kept, the same command goes on"
        ) from None
    _show_best(frame, list(read.axes), best)
    failed = frame[frame["error"].notna()]
    say(f"{len(frame) - len(failed)} of {len(frame)} runs in {out}")
    if len(failed) < len(frame):
        figure = f"dipsim plot {out} pareto -o pareto.svg{_competing(read)}"
        say(f"next: dipsim report {out} -o report.html, dipsim table {out} or {figure}")
    if len(failed):
        say(f"{len(failed)} failed; the first: {failed['error'].iloc[0]}")
        raise typer.Exit(FAILED)


def _competing(spec: "Spec") -> str:
    """Of a figure's command: axes whose values are amounts, neither names to be told apart nor a method's numbers."""
    from dipsim.description import METHOD, OPTIONS

    others = [name for name in spec.axes if name not in OPTIONS or OPTIONS[name].panel != METHOD]
    amounts = [name for name in others if name == "dram" or not any(isinstance(v, str) for v in spec.axes[name])]
    return f" --over {','.join(amounts)}" if amounts else ""


def _show_best(frame: "pd.DataFrame", axes: list[str], column: str) -> None:
    """The best runs, by what varies."""
    from dipsim.cli.terminal import table
    from dipsim.results.columns import meaning_of
    from dipsim.units import scaled, three_digits

    if column not in frame or not frame[column].notna().any():
        return
    is_higher, beside = meaning_of(column).better == "higher", [column, "tok_per_s", "hit_rate", "mlp_error"]
    shown = [name for name in dict.fromkeys(beside) if name in frame]
    ranked = frame[frame[column].notna()].sort_values(column, ascending=not is_higher, kind="stable").head(_N_BEST)

    def cell(name: str, value: float) -> str:
        meaning = meaning_of(name)
        if value is None or value != value:
            return ""
        return scaled(value, meaning.unit) if meaning.is_prefixed else three_digits(value)

    rows = [
        [*(_listed([value]) for value in run[axes]), *(cell(name, run[name]) for name in shown)]
        for _, run in ranked.iterrows()
    ]
    table([*axes, *shown], rows, title=f"the best by {column}", left=len(axes))


def _tell(spec: "Spec", planned: "Plan", workers: int | None) -> None:
    """What would be done."""
    from dipsim import sweeps
    from dipsim.cli.terminal import progress, say, table
    from dipsim.progress import duration

    rows = [[name, str(len(values)), _listed(values)] for name, values in spec.axes.items()]
    table(["axis", "values", ""], rows, left=3)
    with progress("trying some"):
        seconds = sweeps.estimate_s(planned.left, workers)
    n_done = len(planned.runs) - len(planned.left)
    if len(spec.points) > len(planned.runs):
        say(
            f"{len(spec.points)} points: what a method lacks is left out, and points that are then the same are one run"
        )
    say(f"{len(planned.runs)} runs, {n_done} of them done; the rest takes about {duration(seconds)}")
    if planned.refused:
        say(f"{len(planned.refused)} of them cannot be made; the first: {planned.refused[0].error}")


def _listed(values: Sequence[object]) -> str:
    shown = [
        "(not given)" if value is None or value != value else f"{value:g}" if isinstance(value, float) else str(value)
        for value in values[:_MOST_LISTED]
    ]
    return ", ".join([*shown, "..."] if len(values) > _MOST_LISTED else shown)
