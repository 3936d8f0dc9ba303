"""Which columns does a token use: each weight cache is a SimPy process that chooses the mask from what it holds now."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import simpy

from dipsim.cache import Usage
from dipsim.engine.workload import GroupUse, Inputs, Work
from dipsim.trace.reading import Block


class Request(NamedTuple):
    """What the token loop asks a cache.

    Attributes:
        token: one of the trace, as a block.
        inputs: its scores and whatever else the cache is given.
        work: where what is used and read is filled in.
        chosen: the answer's event; its value is the usage.
    """

    token: Block
    inputs: Inputs
    work: Work
    chosen: simpy.Event


class CacheProcess:
    """The weight cache of one (layer, group).

    Args:
        env: where time passes.
        use: the cache, and what is read for it.
    """

    def __init__(self, env: simpy.Environment, use: GroupUse) -> None:
        self.use = use
        self._env = env
        self._queue = simpy.Store(env)
        env.process(self._serve())

    def choose(self, token: Block, inputs: Inputs, work: Work) -> simpy.Event:
        """Asks for the mask of a token; the event's value is a `Usage` of that one token."""
        chosen = self._env.event()
        self._queue.put(Request(token, inputs, work, chosen))
        return chosen

    def _serve(self) -> Generator[simpy.Event, Any, None]:
        while True:
            request: Request = yield self._queue.get()
            usage: Usage = self.use.use(request.token, request.inputs)
            self.use.fetch(request.token, request.inputs, usage, request.work)
            request.chosen.succeed(usage)
