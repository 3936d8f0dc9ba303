"""`dipsim table`: a sweep's results as a table for a page or a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dipsim.cli import options
from dipsim.cli.help_pages import OUTPUT


def table(
    results: Annotated[Path, typer.Argument(help="What 'dipsim sweep' wrote.")],
    y: Annotated[
        str, typer.Option(metavar="COLUMN,...", help="Quantities, by comma: columns of the results with numbers.")
    ] = "tok_per_s",
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN,...", help="Columns whose values are rows, by comma; by default the first that varies."
        ),
    ] = None,
    x: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column whose values are the table's columns; none by default.")
    ] = None,
    panels: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column whose values are groups of rows; none by default.")
    ] = None,
    over: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column over which runs are one cell, say trace: their median (least to greatest); none by default.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION",
            help="Which runs, as 'policy == \"lfu\" and density < 0.5'; a column with a dot in backticks; "
            "all by default.",
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="A pipe table, best in bold.", rich_help_panel=OUTPUT)
    ] = False,
    latex: Annotated[
        bool,
        typer.Option("--latex", help="A tabular with the rules of booktabs, best in bold.", rich_help_panel=OUTPUT),
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="A line for each cell, in SI units.", rich_help_panel=OUTPUT)
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it there, instead of to stdout.", rich_help_panel=OUTPUT),
    ] = None,
    force: options.Force = False,
) -> None:
    """Results as a table: rows, columns and groups of your choice, the best of each column marked.

    What varies in the results and has no place in the table must be fixed by --where: nothing is averaged.

    Example: dipsim table results --by method --x density --panels profile --latex
    """
    from dipsim import plots
    from dipsim.cli import terminal
    from dipsim.errors import DipsimError
    from dipsim.files import check_output, write_text
    from dipsim.sweeps import read_results

    forms = {"markdown": markdown, "latex": latex, "csv": csv}
    asked = [name for name, is_asked in forms.items() if is_asked]
    if len(asked) > 1:
        raise DipsimError(f"form: got --{' and --'.join(asked)}; choose one")
    if output is not None:
        check_output(output, force)
        asked = asked or [_form_of(output)]
    made = plots.table(read_results(results), _names(y), _names(by), x, panels, over, where)
    if not asked:
        columns, rows = made.text()
        terminal.table(columns, rows, left=len(made.by) + bool(panels))
        return
    text: str = getattr(made, asked[0])()
    if output is None:
        terminal.stdout.print(text, end="", soft_wrap=True, markup=False)
    else:
        write_text(output, text)


def _names(told: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (told or "").split(",") if name.strip())


def _form_of(output: Path) -> str:
    """What the name of a file asks for."""
    from dipsim.errors import DipsimError

    forms = {".md": "markdown", ".tex": "latex", ".csv": "csv"}
    if output.suffix not in forms:
        raise DipsimError(f"output: got '{output}'; its name must end in {', '.join(forms)}, or say which form")
    return forms[output.suffix]
