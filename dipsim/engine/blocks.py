"""What has been simulated: a block of tokens or a prompt, with what was used and when the devices did what."""

from __future__ import annotations

from dataclasses import dataclass

from dipsim.engine.jobs import Jobs
from dipsim.engine.prompts import Prompt
from dipsim.engine.seconds import Stages, Timed
from dipsim.engine.workload import Work


@dataclass(frozen=True)
class Done:
    """Tokens of one block, or the prompt of a sequence.

    Attributes:
        sequence: index in the trace.
        work: what the tokens used; None for a prompt, which is one row of all that follows.
        stages: what was asked of the devices.
        timed: the same in seconds, each part alone.
        jobs: what the devices did.
        prompt: what a prompt used that warms the caches; None of any other.
    """

    sequence: int
    work: Work | None
    stages: Stages
    timed: Timed
    jobs: Jobs
    prompt: Prompt | None = None
