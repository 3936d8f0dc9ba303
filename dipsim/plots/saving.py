"""How is a figure saved: in which formats, with its data beside it."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib import rcParams
from matplotlib.figure import Figure

from dipsim.errors import DipsimError
from dipsim.files import replacing
from dipsim.plots.look import looks

FORMATS = (".svg", ".pdf", ".png")
_MOST_PIXELS = 10**8
_SIZES = re.compile(r'\b(width|height)="([0-9.]+)pt"')  # of the whole, where it begins


def check_format(path: Path) -> None:
    """Refuses a path whose ending is no format of figures.

    Raises:
        DipsimError: it is none of `FORMATS`.
    """
    if path.suffix not in FORMATS:
        raise DipsimError(f"figure: got '{path}'; its name must end in {', '.join(FORMATS)}")


@dataclass(frozen=True)
class Plot:
    """A figure and what it shows.

    Attributes:
        figure: matplotlib's.
        data: tidy: a row for each thing that is drawn, in SI units, under the names of the results.
    """

    figure: Figure
    data: pd.DataFrame

    def save(self, path: Path | str) -> None:
        """Writes the figure (its format by the path's ending) and its data as CSV beside it.

        Raises:
            DipsimError: the ending is no format of figures, or a style asks for more pixels than fit into memory.
        """
        path = Path(path)
        check_format(path)
        with replacing(path) as temporary, looks():
            _check_pixels(self.figure)
            metadata = {"Date": None} if path.suffix == ".svg" else None
            self.figure.savefig(temporary, metadata=metadata)
        with replacing(path.with_suffix(".csv")) as temporary:
            self.data.to_csv(temporary, index=False)

    def _repr_svg_(self) -> str:
        """What notebooks show: twice as wide as in print."""
        written = io.StringIO()
        with looks():
            self.figure.savefig(written, format="svg", metadata={"Date": None})
        return _SIZES.sub(lambda size: f'{size[1]}="{2 * float(size[2]):g}pt"', written.getvalue(), count=2)


def _check_pixels(figure: Figure) -> None:
    wanted = rcParams["savefig.dpi"]
    dpi = figure.dpi if wanted == "figure" else float(wanted)
    width, height = figure.get_size_inches()
    if not width * height * dpi**2 <= _MOST_PIXELS:
        raise DipsimError(f"figure: got {width:g} x {height:g} inches at {dpi:g} dpi; at most {_MOST_PIXELS:,} pixels")
