"""What comes of a run: its blocks are simulated one after another, measured, logged and drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dipsim.engine import blocks_of
from dipsim.engine.blocks import Done
from dipsim.engine.workload import Work
from dipsim.kernels import BoolArray, Float64Array
from dipsim.planning.setup import Setup
from dipsim.results import TokenLog
from dipsim.timeline.critical_path import critical_path
from dipsim.timeline.drawing import Timeline
from dipsim.timeline.measured import Measure

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Looked:
    """A block whose tokens have been simulated, for who looks at it.

    Attributes:
        done: what was simulated.
        work: what its tokens used.
        path: seconds of each stage by part of the critical path, [token, stage].
        is_warm_up: which of its tokens do not count, [token].
    """

    done: Done
    work: Work
    path: dict[str, Float64Array]
    is_warm_up: BoolArray


OnBlock = Callable[[Looked], None]


def log_of(
    setup: Setup, on_progress: OnProgress, timeline: Timeline | None = None, look: OnBlock | None = None
) -> TokenLog:
    """Simulates every token.

    Args:
        setup: the run.
        on_progress: called now and then with the tokens done and the tokens to do.
        timeline: draws what happens; None for nobody.
        look: looks at every block when its tokens are done; None for nobody.
    """
    log, measure = TokenLog(setup.groups, setup.model), Measure(setup)
    n_done, n_to_do = 0, setup.n_tokens * setup.n_passes

    def advance(n_tokens: int) -> None:
        nonlocal n_done
        n_done += n_tokens
        on_progress(n_done, n_to_do)

    for done in blocks_of(setup, advance):
        if timeline is not None:
            timeline.draw(done)
        if done.work is None:
            counts = None if done.prompt is None else (done.prompt.n_active[0], done.prompt.n_missed[0])
            log.add_prompt(measure.prompt(done), counts)
            continue
        block = done.work.use.block
        positions = np.arange(block.start, block.stop) - setup.trace.sequences[block.sequence].start
        is_warm_up, path = positions < setup.n_warm_up, critical_path(setup.overlap, done)
        log.add(done.work.use, positions, is_warm_up, measure.tokens(done, done.work, path))
        if look is not None:
            look(Looked(done, done.work, path, is_warm_up))
        advance(positions.size)
    if timeline is not None:
        timeline.close()
    return log
