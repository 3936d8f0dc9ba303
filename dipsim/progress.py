"""How far is what takes long: in words; and in a notebook by itself, as a bar."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from html import escape
from typing import Any, ParamSpec, TypeVar

from dipsim.units import three_digits

Given = ParamSpec("Given")
Made = TypeVar("Made")
# What is over sooner shows no bar; and seconds between two looks of one.
FIRST_BAR_S, LOOK_S = 0.5, 0.25
# Whether somebody is told of the work around this: parts of it have no bar of their own.
_is_told: ContextVar[bool] = ContextVar("_is_told", default=False)


class HowFar:
    """How far a phase of that title is, by what its `update` was told.

    Args:
        title: what is being done.
        unit: of what is done.
    """

    def __init__(self, title: str, unit: str = "") -> None:
        self._title, self._unit = title, f" {unit}" if unit else ""
        self._begun_s = time.monotonic()
        self._first: tuple[float, int] | None = None  # when it was first told how much was done, and how much that was
        self._now: tuple[int, int, str] | None = None

    @property
    def begun_s(self) -> float:
        """When it began, by the monotonic clock."""
        return self._begun_s

    @property
    def done_and_total(self) -> tuple[int, int] | None:
        """How much is done and how much there is, once it is known."""
        return None if self._now is None else self._now[:2]

    def update(self, done: int, total: int, note: str = "") -> None:
        """Takes note of how far it is."""
        self._first = self._first or (time.monotonic(), done)
        self._now = done, total, note

    def line(self, now_s: float) -> str:
        """What to say at that moment."""
        so_far = f"{duration(now_s - self._begun_s)} so far"
        if self._now is None or self._first is None:
            return f"{self._title}: {so_far}"
        (first_s, n_first), (done, total, note) = self._first, self._now
        told = f"{f'{self._title} {note}'.rstrip()}: {done:,} of {total:,}{self._unit}"
        if done >= total:
            return f"{told}, finishing, {so_far}"
        rate = (done - n_first) / max(now_s - first_s, 1e-9)
        if not rate:
            return f"{told}, {so_far}"
        return f"{told}, {three_digits(rate)}{self._unit}/s, about {duration((total - done) / rate)} left"


def duration(seconds: float) -> str:
    """As one says it: `95 s`, `12 min`, `3.4 h`."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"


def shown_in_notebooks(
    title: str, unit: str = "", tells: str = "on_progress"
) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Decorator of a function that tells how far it is: in a notebook, where nobody asks for that, it shows a bar,
    which goes when the work is over; elsewhere nothing. What such a function calls shows no bar beside its.

    Args:
        title: what it does.
        unit: of what it says is done.
        tells: its parameter that is called with what is done, what there is and perhaps a note.
    """

    def decorate(work: Callable[Given, Made]) -> Callable[Given, Made]:
        place = list(inspect.signature(work).parameters).index(tells)

        @functools.wraps(work)
        def telling(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            if _is_told.get() or not _in_notebook():
                return work(*args, **kwargs)
            told = _is_told.set(True)
            try:
                if tells in kwargs or len(args) > place:
                    return work(*args, **kwargs)
                bar = _Bar(title, unit)
                bar.start()
                try:
                    own: Any = {tells: bar.how_far.update}
                    return work(*args, **kwargs, **own)
                finally:
                    bar.stop()
            finally:
                _is_told.reset(told)

        return telling

    return decorate


def _in_notebook() -> bool:
    """Whether a kernel runs this, whose outputs are pages."""
    ipython: Any = sys.modules.get("IPython")  # where nobody has loaded it, there is no notebook
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class _Bar:
    """Shows how far a phase is, by a clock of its own: what is silent for long is told of too."""

    def __init__(self, title: str, unit: str) -> None:
        self.how_far = HowFar(title, unit)
        self._ended = threading.Event()
        # In the context of the cell, which is how a kernel knows whose output it is.
        self._thread = threading.Thread(target=copy_context().run, args=(self._show,), daemon=True)

    def start(self) -> None:
        """From now on."""
        self._thread.start()

    def stop(self) -> None:
        """The phase is over, and the bar goes."""
        self._ended.set()
        self._thread.join()

    def _show(self) -> None:
        if self._ended.wait(FIRST_BAR_S):
            return
        display: Any = sys.modules["IPython"].display.display
        handle = display(self._looks(), raw=True, display_id=True)
        while not self._ended.wait(LOOK_S):
            handle.update(self._looks(), raw=True)
        handle.update({"text/html": "", "text/plain": ""}, raw=True)

    def _looks(self) -> dict[str, str]:
        line, known = self.how_far.line(time.monotonic()), self.how_far.done_and_total
        numbers = "" if known is None else f' value="{known[0]}" max="{max(known[1], 1)}"'
        bar = f'<progress{numbers} style="width:240px;max-width:50%;vertical-align:middle"></progress>'
        return {"text/html": f"<div>{bar} <small>{escape(line)}</small></div>", "text/plain": line}
