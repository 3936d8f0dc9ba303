"""What must a load or a device keep to: whatever other people's code does wrong is one line that names it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeVar

import numpy as np
import simpy
from simpy.core import EmptySchedule
from simpy.events import NORMAL

from dipsim.errors import DipsimError
from dipsim.planning.setup import Setup
from dipsim.registry import is_fault_of_ours, told_of

Made = TypeVar("Made")

# Without a step of the model that ends: more is taken for users of its devices who never let it get on.
_MOST_EVENTS = 2_000_000
_MOST_AT_ONCE = 100_000  # while no time passes
# Beside a time so long, the microseconds of a read are lost to rounding.
_MOST_S = 1e9


def amount_of(value: object, where: str) -> float:
    """Seconds, bytes or operations that somebody's code gives.

    Raises:
        DipsimError: no number, negative, or not finite.
    """
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= sys.float_info.max:  # type: ignore[operator]
        raise DipsimError(f"{where}: got {value!r}; must be a number, at least 0 and finite")
    return float(value)  # type: ignore[arg-type]


def answer_of(where: str, call: Callable[[], Made]) -> Made:
    """What somebody's code answers.

    Raises:
        DipsimError: it raises something.
    """
    try:
        return call()
    except DipsimError as error:
        raise DipsimError(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever other people's code raises
        raise DipsimError(f"{where}: {told_of(error)}") from error


class Clock(simpy.Environment):
    """Simulated time, in which nothing happens at no time."""

    def schedule(self, event: simpy.Event, priority: Any = NORMAL, delay: float = 0) -> None:
        """See SimPy.

        Raises:
            ValueError: a delay that is no number, which would be in no order with others.
        """
        if delay != delay:
            raise ValueError(f"delay: got {delay}; must be a number of seconds")
        super().schedule(event, priority, delay)


class Watch:
    """Lets simulated time pass, and sees who keeps the model from getting on.

    Args:
        env: where time passes.
        setup: the run, with the loads and devices that are not dipsim's own.
    """

    def __init__(self, env: simpy.Environment, setup: Setup) -> None:
        self._env = env
        self._devices = ", ".join(kind.__name__ for kind in setup.devices.values())
        self._most_s = _MOST_S if setup.loads or setup.devices else math.inf
        self._now_s, self._n_at_once = 0.0, 0
        self._n_events = 0
        self._active = ""  # the load that was heard of last

    def got_on(self) -> None:
        """A step of the model has ended.

        Raises:
            DipsimError: others have let more time pass than clocks can tell.
        """
        self._n_events = self._n_at_once = 0
        if self._env.now > self._most_s:
            told = f"got {self._env.now:.3g} s of simulated time; must be {self._most_s:.0e} at most"
            raise DipsimError(f"{self._who}: {told}")

    def run_until(self, event: simpy.Event) -> None:
        """Event after event, until this one has happened.

        Raises:
            DipsimError: it never will, or other people's code raises.
        """
        if math.isinf(self._most_s):  # nobody else's code runs
            self._env.run(event)
            return
        while event.callbacks is not None:
            try:
                self._env.step()
            except EmptySchedule:
                raise DipsimError(f"{self._who}: a job never ends, and nothing else is going on") from None
            except DipsimError:
                raise
            except (Exception, SystemExit) as error:
                raised = error.__cause__ or error  # SimPy raises a copy of what a process or an event fails with
                if is_fault_of_ours(raised):
                    raise
                raise DipsimError(f"{self._who}: {told_of(raised)}") from error
            self._n_events += 1
            self._n_at_once = self._n_at_once + 1 if self._env.now == self._now_s else 0
            self._now_s = self._env.now
            if self._n_events > _MOST_EVENTS or self._n_at_once > _MOST_AT_ONCE:
                raise DipsimError(
                    f"{self._who}: no step of the model has ended in {self._n_events:,} events; let time pass (yield "
                    "env.timeout(seconds)), wait for what is asked of a device, or make the profile's slice_bytes more"
                )

    @property
    def _who(self) -> str:
        """Who may have done it."""
        return f"load '{self._active}': run" if self._active else f"devices: {self._devices}"

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
        go_on: Callable[[], object] = partial(next, events)
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
            except Exception as error:  # what it waits for has failed, or it is interrupted
                go_on = partial(events.throw, error)
