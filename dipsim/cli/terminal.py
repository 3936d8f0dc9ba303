"""What the terminal shows: tables on stdout, one-line complaints, warnings and progress on stderr."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from dipsim.errors import DipsimWarning
from dipsim.progress import HowFar
from dipsim.units import three_digits

# Characters that make a terminal do something else than show them: controls, and what turns the reading direction.
_CONTROLS = {*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {ord("\t"), ord("\n")}
_SHOWN = dict.fromkeys(_CONTROLS, "\N{REPLACEMENT CHARACTER}")


def harmless(text: str) -> str:
    """Text that may come from a stranger, as it may be printed."""
    return text.translate(_SHOWN)


class _Console(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(harmless(text), **options)


# A pipe has no width of its own; tables must not be cut there.
stdout = _Console(width=None if sys.stdout is not None and sys.stdout.isatty() else 160, highlight=False)
stderr = _Console(stderr=True, highlight=False)
_warned: set[str] = set()

# In a pipe: seconds before a phase's first line of progress, and the longest pause between two; each is twice the last.
FIRST_LINE_S, LONGEST_PAUSE_S = 10.0, 300.0
_last_line_s = time.monotonic()  # or, before there is one, when the command began


@contextmanager
def own_terminal() -> Iterator[None]:
    """What is shown is ours alone, and whatever can be shown: of letters that the terminal does not know, question
    marks; of warnings and logs of libraries, nothing, unless the user asks for warnings (`PYTHONWARNINGS`). What nobody
    takes, since stdout was closed or is full, is forgotten at the end."""
    global _last_line_s
    _last_line_s = time.monotonic()
    warnings.showwarning = show_warning
    logging.getLogger().addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        yield
    finally:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python, at its end, would complain of it


def complain(message: str) -> NoReturn:
    """Prints one line and leaves with exit code 2."""
    say(f"error: {' '.join(message.split())}")
    sys.exit(2)


def say(message: str) -> None:
    """One line on stderr, whatever the terminal's width."""
    stderr.print(f"dipsim: {message}", markup=False, soft_wrap=True)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings in one line and once each; those of libraries as Python shows them, if the user asks for any."""
    if issubclass(category, DipsimWarning):
        if str(message) not in _warned:
            say(f"warning: {message}")
        _warned.add(str(message))
    elif sys.warnoptions:
        stderr.print(warnings.formatwarning(message, category, filename, lineno, line), markup=False, end="")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None, left: int = 1) -> None:
    """Prints a table on stdout; the first `left` columns are text, the others numbers. Names may come from strangers:
    nothing in them is taken for markup or reaches the terminal as a control."""
    made = Table(
        title=None if title is None else Text(harmless(title)),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(harmless(cell)) for cell in row))
    stdout.print(made)


def _is_watched() -> bool:
    """Whether stderr is a terminal; being asked for colours in a pipe is no wish for a bar that moves."""
    return stderr.is_terminal and sys.stderr is not None and sys.stderr.isatty()


class Rate(ProgressColumn):
    """How many of a unit are done in a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """`12.3 runs/s`."""
        return Text("" if task.speed is None else f"{three_digits(task.speed)} {self._unit}/s")


@contextmanager
def progress(title: str, unit: str = "") -> Iterator[Callable[..., None]]:
    """How far a phase is, on stderr: a bar on a terminal, elsewhere a line now and then, and none in a command's first
    10 s. Yields what is to be called with done, total and, if there is something to say beside the title, a note; one
    that is never called says how long it has taken. With a unit, a bar shows the rate too."""
    if not _is_watched():
        lines = _Lines(title, unit)
        lines.start()
        try:
            yield lines.update
        finally:
            lines.stop()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *((Rate(unit),) if unit else ()),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, description=f"{title} {note}".rstrip())

        yield update


class _Lines(threading.Thread):
    """Says now and then how far a phase is, by a clock of its own: what is silent for minutes is told of too."""

    def __init__(self, title: str, unit: str) -> None:
        super().__init__(daemon=True)
        self._how_far = HowFar(title, unit)
        self.update = self._how_far.update
        self._ended = threading.Event()

    def run(self) -> None:
        """Says a line whenever the pause since the last one, of whatever phase, is over."""
        global _last_line_s
        pause_s, own_s = FIRST_LINE_S, self._how_far.begun_s + FIRST_LINE_S / 5  # no word of what is over at once
        while not self._ended.wait(max(0.0, max(_last_line_s + pause_s, own_s) - time.monotonic())):
            with suppress(OSError, ValueError):  # nobody reads it any more
                say(self._how_far.line(time.monotonic()))
            _last_line_s = time.monotonic()
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def stop(self) -> None:
        """The phase is over."""
        self._ended.set()
        self.join()
