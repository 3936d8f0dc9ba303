"""How is a figure saved: in which formats, with its data beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from dipsim.errors import DipsimError
from dipsim.files import replacing
from dipsim.plots.look import STYLE

FORMATS = (".svg", ".pdf", ".png")


def check_format(path: Path) -> None:
    """Refuses a path whose ending is no format of figures.

    Raises:
        DipsimError: it is none of `FORMATS`.
    """
    if path.suffix not in FORMATS:
        raise DipsimError(f"figure: got '{path}'; its name must end in {', '.join(FORMATS)}")


def save(figure: Figure, frame: pd.DataFrame, path: Path) -> None:
    """Writes the figure (its format by the path's ending) and its data as CSV beside it.

    Raises:
        DipsimError: the ending is no format of figures.
    """
    check_format(path)
    with replacing(path) as temporary, style.context(STYLE):
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(temporary, bbox_inches="tight", metadata=metadata)
    with replacing(path.with_suffix(".csv")) as temporary:
        frame.to_csv(temporary, index=False)
