"""`dipsim calibrate`: a profile from measured numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dipsim.cli import options
from dipsim.cli.help_pages import OUTPUT, Group

calibrate_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Make a profile of measured numbers: of this machine (host), or of another whose storage fio has read (fio).",
    epilog="A phone: take what 'dipsim calibrate job' prints and a static fio there, and the result.json back here.",
)
Out = Annotated[Path, typer.Option("--output", "-o", help="The profile, NAME.toml.", rich_help_panel=OUTPUT)]


@calibrate_app.command()
def job() -> None:
    """Print the job file for fio, whose head says how to run it where dipsim is not.

    Example: dipsim calibrate job > flash.fio
    """
    from dipsim.calibration import job_text

    typer.echo(job_text(), nl=False)


@calibrate_app.command()
def fio(
    results: Annotated[list[Path], typer.Argument(help="What 'fio --output-format=json --output=RESULT.json' wrote.")],
    out: Out,
    extends: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="The profile, by name or file, whose DRAM, compute and energy are taken."
        ),
    ] = "oneplus-12-ufs4",
    force: options.Force = False,
) -> None:
    """Make a profile whose Flash is what fio measured, on any device; all else comes from another profile.

    Several results are one measurement; a size and depth that is there twice counts with its mean.

    Example: dipsim calibrate fio result.json -o my-device.toml --extends oneplus-12-ufs4
    """
    from dipsim.calibration import calibrate_fio, numbers, write
    from dipsim.cli.terminal import say
    from dipsim.files import check_output

    check_output(out, force)
    made = calibrate_fio(results, out, extends)
    write(made, out)
    _show(numbers(made))
    say(f"fio measures Flash alone: DRAM, compute and energy in {out} are those of {extends}; put in what you know")


@calibrate_app.command()
def host(
    out: Out,
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the storage to be measured is; takes one file for a while.")
    ] = Path(),
    file_bytes: Annotated[
        str,
        typer.Option(metavar="BYTES", help="Length of that file; a small one makes storage look faster than it is."),
    ] = "4GB",
    seconds_per_point: Annotated[
        float, typer.Option(help="How long each block size and depth, and each loop, is measured.")
    ] = 2.0,
    force: options.Force = False,
) -> None:
    """Measure this machine: its storage by fio, DRAM, matrix-vector products and top-k by loops of its own.

    Needs Linux and fio, and some two minutes in which nothing else runs.

    Example: dipsim calibrate host -o my-host.toml --folder /data --file-bytes 16GB
    """
    from dipsim.calibration import calibrate_host, check_host, numbers, write
    from dipsim.cli.terminal import progress, say
    from dipsim.files import check_output
    from dipsim.units import parse_bytes, scaled

    check_output(out, force)
    n_bytes = parse_bytes(file_bytes, "file-bytes")
    storage = check_host(folder, n_bytes, seconds_per_point)
    say(f"reads a file of {scaled(n_bytes, 'B')}, made in '{folder}' ({storage}) and removed at the end")
    with progress("measuring", "points") as on_progress:
        made = calibrate_host(folder, n_bytes, seconds_per_point, on_progress)
    write(made, out)
    _show(numbers(made))


def _show(found: list[tuple[str, Any, str]]) -> None:
    """Numbers with place and origin, and the curve as a grid."""
    from dipsim.cli.terminal import stdout, table
    from dipsim.units import scaled

    rows = [[place, origin, _readable(place, value)] for place, value, origin in found if not isinstance(value, list)]
    table(["number", "origin", "value"], rows, left=2)
    rates = {(size, depth): rate for _, value, _ in found if isinstance(value, list) for size, rate, depth in value}
    sizes, depths = (sorted(set(axis)) for axis in zip(*rates, strict=True))
    grid = [
        [f"{size} B", *(scaled(rates[size, depth], "B/s") if (size, depth) in rates else "" for depth in depths)]
        for size in sizes
    ]
    stdout.print()
    table(["random reads", *(f"depth {depth}" for depth in depths)], grid)


def _readable(place: str, value: float) -> str:
    """A number in the unit that its name ends with."""
    from dipsim.units import scaled

    units = {"ops_per_s": "op/s", "bytes_per_s": "B/s", "bytes": "B", "_s": "s", "_s_per_column": "s"}
    unit = next((unit for end, unit in units.items() if place.endswith(end)), "")
    if isinstance(value, int) and value < 1e6:
        return f"{str(value).lower()} {unit}".rstrip()
    return scaled(value, unit).rstrip()
