"""The engine that is the authority: devices, loads and the token loop live in simulated time, event by event.

Read `loop` for what a token does, `stages` for how devices share a stage, and `devices` for how one serves its users.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

import simpy

from dipsim.engine.blocks import Done
from dipsim.engine.processes.contract import Clock, Watch, answer_of
from dipsim.engine.processes.devices import Device
from dipsim.engine.processes.job import Job
from dipsim.engine.processes.loop import Loop, Part
from dipsim.engine.processes.machine import Machine
from dipsim.engine.processes.roles import ComputeDevice, DramDevice, FlashDevice
from dipsim.engine.processes.stages import Overlaps
from dipsim.engine.seconds import Formulas
from dipsim.engine.workload import uses_of
from dipsim.loads import loads
from dipsim.planning.future import Future
from dipsim.planning.setup import Setup

__all__ = ["ComputeDevice", "Device", "DramDevice", "FlashDevice", "Job", "Machine", "Processes"]


class Processes:
    """Runs the tokens of a setup.

    Args:
        setup: the run.
        on_tokens: called with the tokens of each block of a pass that looks ahead of the simulation.

    Raises:
        DipsimError: a device or a load cannot be made.
    """

    def __init__(self, setup: Setup, on_tokens: Callable[[int], None]) -> None:
        is_shared = bool(setup.loads or setup.devices)  # with other people's code, which is watched
        self._env = env = Clock() if is_shared else simpy.Environment()
        self._watch = Watch(env, setup)
        formulas = Formulas(setup)
        machine = Machine(env, setup, formulas)
        future = Future(setup, on_tokens) if setup.new_policy().needs_future else None
        uses, _ = uses_of(setup, formulas.flash, future)
        overlaps = Overlaps(env, machine, setup.overlap)
        self._loop = Loop(env, setup, formulas, overlaps, uses, self._watch)
        for load in setup.loads:
            name = loads.name_of(load)
            # A copy: what it keeps to itself does not go from one run into the next.
            own = answer_of(f"load '{name}': cannot be copied", partial(copy.deepcopy, load))
            env.process(self._watch.load(name, partial(own.run, env, machine)))

    def blocks(self) -> Iterator[Done]:
        """Prompts and blocks of tokens, in the order of the trace. What a device still does for a block when its tokens
        have ended (it was read ahead for nothing) is waited for, while the next block goes on."""
        waiting: deque[Part] = deque()
        for part in self._loop.parts():
            self._watch.run_until(self._env.process(self._loop.run(part)))
            waiting.append(part)
            while waiting and not waiting[0].unfinished:
                yield self._loop.done(waiting.popleft())
        for part in waiting:
            for job in part.unfinished:
                if (end := job.end(self._env)) is not None:
                    self._watch.run_until(end)
            yield self._loop.done(part)
