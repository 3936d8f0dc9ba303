"""What happens when: the tokens of a run on its devices, in simulated time, by one of two engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dipsim.engine.blocks import Done
from dipsim.engine.compiled import Compiled
from dipsim.engine.processes import Processes
from dipsim.planning.setup import Setup

__all__ = ["blocks_of"]


def blocks_of(setup: Setup, on_tokens: Callable[[int], None]) -> Iterator[Done]:
    """Prompts and blocks of tokens, in the order of the trace, as they are simulated.

    Args:
        setup: the run.
        on_tokens: called with the tokens of each block of a pass that looks ahead of the simulation.
    """
    if setup.engine == "processes" or setup.loads or setup.devices:
        return Processes(setup, on_tokens).blocks()
    return Compiled(setup, on_tokens).blocks()
