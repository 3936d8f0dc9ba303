"""May a command write its files: asked before any work."""

from __future__ import annotations

from pathlib import Path

from dipsim.errors import DipsimError
from dipsim.files import check_output


def check_outputs(figure: Path | None, json: Path | None, force: bool) -> None:
    """Formats are known, and no output overwrites another or what is there.

    Args:
        figure: its data go beside it as CSV.
        json: what else is written.
        force: whether files that are there may be replaced.

    Raises:
        DipsimError: one may not be written.
    """
    outputs = [] if json is None else [json]
    if figure is not None:
        from dipsim.plots import check_format

        check_format(figure)
        outputs += [figure, figure.with_suffix(".csv")]
    for output in outputs:
        if outputs.count(output) > 1:
            raise DipsimError(f"output: '{output}' is named twice; the figure's data go to '{outputs[-1]}'")
        check_output(output, force)
