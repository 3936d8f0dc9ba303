"""Which columns does a token use: each weight cache is a SimPy process that chooses the mask from what it holds now."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from dipsim.engine.workload import GroupUse, Inputs, Work
from dipsim.trace.reading import Block


class CacheProcess:
    """The weight cache of one (layer, group).

    Args:
        env: where time passes.
        use: the cache, and what is read for it.
    """

    def __init__(self, env: simpy.Environment, use: GroupUse) -> None:
        self.use = use
        self._env = env
        self._asked = env.event()
        env.process(self._serve())

    def choose(self, token: Block, inputs: Inputs, work: Work) -> simpy.Event:
        """Asks for the mask of a token, one after another.

        Args:
            token: one of the trace, as a block.
            inputs: its scores and whatever else the cache is given.
            work: where what is used and read is filled in.

        Returns:
            The answer's event, whose value is a `Usage` of that one token.
        """
        chosen = self._env.event()
        self._asked.succeed((token, inputs, work, chosen))
        return chosen

    def _serve(self) -> Generator[simpy.Event, Any, None]:
        while True:
            token, inputs, work, chosen = yield self._asked
            self._asked = self._env.event()
            usage = self.use.use(token, inputs)
            self.use.fetch(token, inputs, usage, work)
            chosen.succeed(usage)
