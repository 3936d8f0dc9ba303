"""`dipsim report`: one page of HTML to explore a sweep's results with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from dipsim.cli import options
from dipsim.description import OPTIONS, SPELLINGS
from dipsim.errors import DipsimError

if TYPE_CHECKING:
    from dipsim.report import Origins


def report(
    results: Annotated[Path, typer.Argument(help="What 'dipsim sweep' made.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write (.html).")],
    title: Annotated[str | None, typer.Option(help="Of the page; the results' name by default.")] = None,
    force: options.Force = False,
) -> None:
    """One HTML file to explore a sweep's results with, offline: to be mailed, or opened in any browser.

    Example: dipsim report RESULTS -o report.html --title "A phone with 4 GB"
    """
    from dipsim.cli.terminal import progress
    from dipsim.files import check_output, write_text
    from dipsim.report import page
    from dipsim.sweeps import read_results, read_specs

    if output.suffix not in (".html", ".htm"):
        raise DipsimError(f"output: got '{output}'; its name must end in .html")
    check_output(output, force)
    with progress(f"writing {output}"):
        frame = read_results(results)
        names = frame["profile"].dropna().unique() if "profile" in frame else ()
        made = page(frame, title or results.resolve().stem, read_specs(results), meanings(), origins_of(names))
    write_text(output, made)


def meanings() -> dict[str, str]:
    """Parameter -> what `dipsim simulate --help` says of it."""
    trace = get_args(options.Trace)[1]
    found = {OPTIONS[name].sets or spelling: OPTIONS[name].help for spelling, name in SPELLINGS.items()}
    return {"trace": str(trace.help)} | found


def origins_of(profiles: Iterable[str]) -> Origins:
    """Where the numbers of devices come from, by name; those whose files did not ship are left out."""
    from dipsim import shipped
    from dipsim.profile import origins, read

    known = shipped.names("hwprofiles", ".toml")
    return {name: origins(read(known[name])) for name in profiles if name in known}
