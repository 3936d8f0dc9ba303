"""What do all figures look like: style, colours, markers, panels."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from matplotlib import RcParams, rcParams, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from dipsim.documents import read_text
from dipsim.errors import DipsimError

STYLE = Path(__file__).with_name("plots.mplstyle")
COLUMN_WIDTH_INCHES = 8.5 / 2.54
PAGE_WIDTH_INCHES = 17.8 / 2.54
# Two panels stand beside each other in a column of a paper.
_PANEL_WIDTH_INCHES = COLUMN_WIDTH_INCHES / 2
_MOST_BYTES = 2**18  # of a style
# Of a style: what makes matplotlib run other programs.
_PROGRAMS = ("text.usetex", "text.latex.", "pgf.", "animation.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", ":")
_HATCHES = ("", "///", "...", "\\\\\\", "xxx", "+++", "ooo")
_LEAST_CM, _MOST_CM = 5, 60
_own: ContextVar[Path | None] = ContextVar("_own", default=None)
_asked: ContextVar[float | None] = ContextVar("_asked", default=None)  # inches, of the figures inside


class Look(NamedTuple):
    """How one of several lines or areas is told apart, without colour too."""

    colour: str
    marker: str
    line: str
    hatch: str


def look(index: int) -> Look:
    """Colours come from the style's cycle; when they are used up, they come with other lines and markers."""
    colours = rcParams["axes.prop_cycle"].by_key().get("color", ["black"])
    turn, place = divmod(index, len(colours))
    marker, hatch = _MARKERS[(place + turn) % len(_MARKERS)], _HATCHES[(place + turn) % len(_HATCHES)]
    return Look(colours[place], marker, _LINES[turn % len(_LINES)], hatch)


def looks_of(names: Sequence[str]) -> dict[str, Look]:
    """A look for each name; of names of two parts, as `dip, lru`, the first has the colour and the second the mark."""
    pairs = [name.partition(", ")[::2] for name in names]
    firsts, seconds = (list(dict.fromkeys(own)) for own in zip(*pairs, strict=True))
    most = min(len(_MARKERS), len(rcParams["axes.prop_cycle"]))
    if len(seconds) == 1 or len({*pairs}) < len(names) or max(len(firsts), len(seconds)) > most:
        return {name: look(index) for index, name in enumerate(names)}
    places = [(firsts.index(first), seconds.index(second)) for first, second in pairs]
    return {
        name: Look(look(one).colour, _MARKERS[other], _LINES[other % len(_LINES)], _HATCHES[other])
        for name, (one, other) in zip(names, places, strict=True)
    }


@contextmanager
def looks(own: Path | str | None = None, width: float | None = None) -> Iterator[None]:
    """Figures drawn and saved inside have dipsim's style, whatever the user's matplotlibrc says.

    Args:
        own: a style file of matplotlib's; what it leaves out stays dipsim's. It holds for all `looks` inside this one.
        width: of the figures, in cm; letters stay as they are. By the style, unless given. It holds likewise.

    Raises:
        DipsimError: the file cannot be used, or no figure is so wide.
    """
    if width is not None and not _LEAST_CM <= width <= _MOST_CM:
        raise DipsimError(f"width: got {width:g}; must be from {_LEAST_CM} to {_MOST_CM} (cm)")
    if own is not None:
        _check_style(Path(own))
    token = _own.set(_own.get() if own is None else Path(own))
    asked = _asked.set(_asked.get() if width is None else width / 2.54)
    try:
        files = [STYLE] if (replaced := _own.get()) is None else [STYLE, replaced]
        with style.context([str(file) for file in files], after_reset=True):
            yield
    finally:
        _own.reset(token)
        _asked.reset(asked)


def _check_style(path: Path) -> None:
    """Matplotlib only logs what it does not understand, in many lines."""
    lines = read_text(path, f"style: got '{path}'; a text file of lines 'KEY: VALUE'", _MOST_BYTES).splitlines()
    for number, line in enumerate(lines, 1):
        # A # in quotes is a colour, as matplotlib reads it too.
        text = line.strip() if '"' in line else line.partition("#")[0].strip()
        key, colon, value = (part.strip() for part in text.partition(":"))
        if not text or text.startswith("#"):
            continue
        if not colon or key not in rcParams:
            raise DipsimError(
                f"style: '{path}', line {number}: got '{text}'; must be 'KEY: VALUE', a key of matplotlib"
            )
        if key.startswith(_PROGRAMS):
            raise DipsimError(f"style: '{path}', line {number}: {key}: runs other programs; leave it out")
        if "*" in re.sub("""'[^']*'|"[^"]*\"""", "", value):  # a few letters that make more than memory holds
            raise DipsimError(f"style: '{path}', line {number}: {key}: a product; write it out")
        try:
            RcParams({key: value.strip('"') if not value.startswith("cycler") else value})
        except Exception as error:  # whatever matplotlib makes of a stranger's value
            raise DipsimError(f"style: '{path}', line {number}: {(str(error).splitlines() or ['?'])[0]}") from None


def small() -> float:
    """Points of the smallest letters, that stand beside lines and in legends."""
    return FontProperties(size=rcParams["legend.fontsize"]).get_size_in_points()


def page_inches(usual: float) -> float:
    """How wide a figure is: as asked, or as usual."""
    return _asked.get() or usual


def figure_with(
    panels: Sequence[str], panel_inches: float | None = None, free: Collection[str] = ()
) -> tuple[Figure, list[Axes]]:
    """A figure as wide as asked, or as the style says, and axes for each panel, with the panels' names as titles; one
    has none.

    Args:
        panels: their names.
        panel_inches: height of each with its axis; by the style, unless given.
        free: of `x` and `y`, those that panels have to themselves.

    Raises:
        DipsimError: too many panels to be read.
    """
    if len(panels) > 16:
        raise DipsimError(f"panels: got {len(panels)}; at most 16 can be read: choose some with --where")
    usual, height = rcParams["figure.figsize"]
    width = page_inches(usual)
    n_columns = min(len(panels), max(1, round(width / _PANEL_WIDTH_INCHES)))
    n_rows = -(-len(panels) // n_columns)
    n_columns = -(-len(panels) // n_rows)  # rows of equal length, or nearly
    if panel_inches is None:
        stretch = (width / usual) ** 0.5 if len(panels) == 1 else 1
        panel_inches = height * (stretch if n_rows == 1 else 0.6)
    figure = Figure(figsize=(width, n_rows * panel_inches + (0.5 if n_rows > 1 else 0)), layout="constrained")
    made = figure.subplots(n_rows, n_columns, sharex="x" not in free, sharey="y" not in free, squeeze=False)
    grid = list(made.flat)
    for axes, name in zip(grid, panels, strict=False):
        axes.set_title(name)
    for place, axes in enumerate(grid[len(panels) :], len(panels)):
        axes.remove()
        grid[place - n_columns].tick_params(labelbottom=True)
    return figure, grid[: len(panels)]


def most_ticks(panels: Sequence[Axes]) -> int:
    """How many numbers fit below a panel."""
    return 7 if len(panels) == 1 else 4


def name_axes(figure: Figure, panels: list[Axes], x: str, y: str) -> None:
    """The axes' names: of a single panel at its axes, of several once for all."""
    if len(panels) == 1:
        panels[0].set_xlabel(x)
        panels[0].set_ylabel(y)
    else:
        figure.supxlabel(x, fontsize=rcParams["font.size"])
        figure.supylabel(y, fontsize=rcParams["font.size"])


def title_of(figure: Figure, panels: list[Axes], title: str) -> None:
    """What all that is shown has in common, above it."""
    if title and len(panels) == 1:
        panels[0].set_title(title)
    elif title:
        figure.suptitle(title, fontsize=FontProperties(size=rcParams["axes.titlesize"]).get_size_in_points())
