"""What must a load or a device keep to: whatever other people's code does wrong is one line that names it."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from functools import partial
from itertools import dropwhile
from traceback import walk_tb
from typing import Any, TypeVar

import numpy as np
import simpy
from simpy.core import EmptySchedule

from dipsim.errors import DipsimError

Made = TypeVar("Made")

# Without a step of the model that ends: more is taken for users of its devices who never let it get on.
_MOST_EVENTS = 2_000_000


def amount_of(value: object, where: str) -> float:
    """Seconds, bytes or operations that somebody's code gives.

    Raises:
        DipsimError: no number, negative, or not finite.
    """
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:  # type: ignore[operator]
        raise DipsimError(f"{where}: got {value!r}; must be a number, at least 0 and finite")
    return float(value)  # type: ignore[arg-type]


def answer_of(where: str, call: Callable[[], Made]) -> Made:
    """What somebody's code answers.

    Raises:
        DipsimError: it raises something.
    """
    try:
        return call()
    except DipsimError:
        raise
    except Exception as error:  # whatever other people's code raises
        raise DipsimError(f"{where}: {type(error).__name__}: {error}") from error


def _is_ours(error: BaseException) -> bool:
    """Whether what SimPy called is dipsim's own, so that it is a fault of ours; else it is of a process that a load has
    begun and does not wait for. What a process raises, SimPy raises as a copy whose cause tells where."""
    trace = (error.__cause__ or error).__traceback__
    rooms = [frame.f_globals.get("__name__", "").split(".")[0] for frame, _ in walk_tb(trace)]
    if error.__cause__ is None:  # a callback's, from the loop below on
        rooms = [*dropwhile("simpy".__ne__, rooms)]
    return next(dropwhile("simpy".__eq__, rooms), "dipsim") == "dipsim"


class Watch:
    """Lets simulated time pass, and sees who keeps the model from getting on.

    Args:
        env: where time passes.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._n_events = 0
        self._active = ""  # the load that was heard of last

    def got_on(self) -> None:
        """A step of the model has ended."""
        self._n_events = 0

    def run_until(self, event: simpy.Event) -> None:
        """Event after event, until this one has happened.

        Raises:
            DipsimError: it never will, or other people's code raises.
        """
        while event.callbacks is not None:
            try:
                self._env.step()
            except EmptySchedule:
                raise DipsimError("devices: a job never ends, and nothing else is going on; see service_s") from None
            except DipsimError:
                raise
            except Exception as error:
                if _is_ours(error):
                    raise
                raise DipsimError(f"load '{self._active}': {type(error).__name__}: {error}") from error
            self._n_events += 1
            if self._n_events > _MOST_EVENTS:
                raise DipsimError(
                    f"load '{self._active}': run: no step of the model has ended in {_MOST_EVENTS:,} events; let time "
                    "pass (yield env.timeout(seconds)), or wait for what is asked of a device"
                )

    def load(self, name: str, run: Callable[[], object]) -> Generator[simpy.Event, Any, None]:
        """The process of a load: what its `run` yields, checked.

        Args:
            name: of the load.
            run: calls its method of that name.

        Raises:
            DipsimError: that is no generator, yields something else than events, or raises.
        """
        where = f"load '{name}': run"
        events = answer_of(where, run)
        if not isinstance(events, Generator):
            raise DipsimError(f"{where}: got {events!r}; must be a generator of SimPy events: use yield")
        go_on: Callable[[], Any] = partial(next, events)
        while True:
            self._active = name
            try:
                event = answer_of(where, go_on)
            except DipsimError as error:
                if isinstance(error.__cause__, StopIteration):
                    return
                raise
            if not isinstance(event, simpy.Event):
                raise DipsimError(f"{where}: yields {event!r}; must be a SimPy event, such as env.timeout(seconds)")
            try:
                go_on = partial(events.send, (yield event))
            except Exception as error:  # an interrupt, or what it waited for has failed: it may know what to do
                go_on = partial(events.throw, error)
